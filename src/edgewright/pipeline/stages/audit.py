"""The audit of artifacts and of calibration images: one stored stage each, which runs in a child."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgewright import tasks
from edgewright.bench import accuracy, domain
from edgewright.bench import audit as checks
from edgewright.bench.audit import Precision
from edgewright.bench.device import DESCRIBED
from edgewright.bench.results import Finding
from edgewright.core import child, samples
from edgewright.core.errors import EdgewrightError
from edgewright.core.spec import Input, ModelSpec, convert
from edgewright.core.store import Entry
from edgewright.data import sets
from edgewright.data.sets import ImageSet
from edgewright.pipeline.images import Images
from edgewright.pipeline.stages.model import MODEL
from edgewright.pipeline.stages.runner import StageRunner, made_by
from edgewright.runtimes import artifact as artifacts
from edgewright.runtimes import registry
from edgewright.runtimes.options import Options
from edgewright.targets.target import Isa

if TYPE_CHECKING:
    import onnx

FILE = "audit.json"
IMAGES = 32
"""Outputs are compared on this many images, evenly spaced in the list."""

ROWS = 3
"""The batch size to try with a model for one image."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The subject of an audit: an ONNX file, the artifact that was compiled from it, and its outputs on `images`.

    `isa`: the instruction sets of the target. `answered_with`: those of the machine that computed the outputs.
    `described`: what the runtime reports on its execution. `runs_here`: whether this machine can run other batches.
    """

    model: Entry
    artifact: Entry
    options: Options
    spec: ModelSpec
    answers: Entry
    images: ImageSet
    isa: Sequence[Isa]
    answered_with: Sequence[Isa]
    described: Mapping[str, Any]
    runs_here: bool
    count: int = IMAGES


def audit(runner: StageRunner, what: str, subject: Subject) -> Entry:
    """``audit.json``: the findings on one artifact, including passed checks."""
    places = list(sets.spread(range(len(subject.images.items)), subject.count))
    images = subject.images.only(subject.images.items[place] for place in places)
    rooms = ("bench", "quantize", "runtimes", "graph", "pipeline")
    how = {
        "options": msgspec.to_builtins(subject.options), "spec": msgspec.to_builtins(subject.spec),
        "isa": list(subject.isa), "answered_with": list(subject.answered_with),
        "described": {name: subject.described.get(name) for name in ("layers", "reorders", "unfused")},
        "runs_here": subject.runs_here, "places": places,
    }  # fmt: skip
    inputs = {
        "model": subject.model.key, "artifact": subject.artifact.key, "answers": subject.answers.key,
        "images": images.digests, **how, "made_by": made_by("measure", *rooms),
    }  # fmt: skip
    return runner.run(
        "audit", what, inputs, f"{__name__}:examine",
        request={
            "model": str(subject.model.path / MODEL), "artifact": str(subject.artifact.path),
            "answers": str(subject.answers.path), "images": images.paths, **how,
        },
    )  # fmt: skip


def audit_images(runner: StageRunner, images: Images, spec: ModelSpec) -> Entry:
    """``audit.json``: the findings on the calibration images."""
    size = (spec.input.width, spec.input.height) if spec.takes_image else (0, 0)
    inputs = {
        "calibration": images.calibration.digests, "evaluation": images.evaluation.digests, "size": size,
        "made_by": made_by("measure", "bench", "pipeline"),
    }  # fmt: skip
    return runner.run(
        "audit", "images", inputs, f"{__name__}:examine_images",
        calibration=images.calibration.paths,
        evaluation=images.evaluation.paths, size=size,
        different=len(set(images.calibration.digests)),
    )  # fmt: skip


def described(artifact: Entry, evaluation: Entry | None) -> dict[str, Any]:
    """The properties of the compiled artifact, as its compilation or the device that ran it reported them."""
    found = artifacts.read(artifact.path).described
    reported = Path(evaluation.path, DESCRIBED) if evaluation else None
    if reported is None or not reported.is_file():
        return found
    found.pop("unfused", None)  # the machine that built it reported this; the kernels of the other may be right
    return {**found, **msgspec.json.decode(reported.read_bytes())}


def read(entry: Entry) -> list[Finding]:
    """The findings of a stage."""
    return msgspec.json.decode((entry.path / FILE).read_bytes(), type=list[Finding])


def unaudited(reason: str) -> Finding:
    """The finding on a failed audit."""
    return Finding(level="warning", code="audit", text=f"The audit failed: {reason}")


def examine_images(
    calibration: list[str], evaluation: list[str], size: tuple[int, int], different: int, folder: str
) -> None:
    """Compare the two sets. Runs in a child."""
    apart = f"None of {different} calibration images is among the {len(evaluation)} evaluation images."
    found = [
        Finding(level="ok", code="calibration-leak", text=apart),
        domain.few(different),
    ]
    if not any(map(samples.is_sample, (*calibration, *evaluation))):
        found.append(domain.look(calibration, evaluation, (size[0] or 224, size[1] or 224)))
    _write(found, folder)


class ExamineRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request to the child: a `Subject` as plain data. `images` are those at `places` in the whole list."""

    model: str
    artifact: str
    answers: str
    images: list[str]
    options: Options
    spec: dict[str, Any]
    isa: list[str]
    answered_with: list[str]
    described: dict[str, Any]
    runs_here: bool
    places: list[int]


def examine(request: dict[str, Any], folder: str, progress: child.Progress | None = None) -> None:
    """Run every check on one artifact. Runs in a child."""
    from edgewright.graph import census, names
    from edgewright.graph import files as onnx_files
    from edgewright.quantize import saturation

    asked = msgspec.convert(request, ExamineRequest)
    options, spec = asked.options, convert(asked.spec, ModelSpec)
    step = progress or (lambda *_: None)
    graph = onnx_files.load(Path(asked.model))
    names.name_nodes(graph)
    layers = census.layers(graph)
    precisions: list[Precision] = [*(["int8"] if "int8" in layers else []), options.precision]  # type: ignore[list-item]
    found = [checks.census(layers, asked.described)] if asked.described.get("layers") else []
    with tempfile.TemporaryDirectory(prefix="edgewright-audit-") as scratch:
        step(0, 3, "exact outputs")
        exact = expected = _emulated(graph, asked, "", Path(scratch, "exact"))
        kernels = registry.traits(options.runtime).saturation
        if kernels and "int8" in layers and _adds_in_16_bits(asked.isa):
            step(1, 3, "outputs without VNNI")
            copy = onnx_files.copy(graph)
            pairs = sum(saturation.apply(copy, kernels).values())
            without = _emulated(copy, asked, options.runtime, Path(scratch, "saturated")) if pairs else exact
            found.append(checks.saturation(without, exact, pairs, spec))
            expected = without if _adds_in_16_bits(asked.answered_with) else exact
        answered = tasks.of(spec).metric.chosen(accuracy.load_outputs(Path(asked.answers)), asked.places)
        found.append(checks.parity(answered, expected, precisions, spec))
        if asked.runs_here:
            step(2, 3, "batches")
            found += _batches(graph, asked, spec, precisions, Path(scratch, "batch"))
    _write(found, folder)


def _adds_in_16_bits(isa: Sequence[str]) -> bool:
    return "avx2" in isa and "vnni" not in isa


def _write(found: list[Finding], folder: str) -> None:
    Path(folder, FILE).write_bytes(msgspec.json.encode(found))


_answered: dict[tuple[str, str, bytes], np.ndarray] = {}
"""The outputs of the model that this process audited last: several artifacts are compiled from one model."""


def _emulated(graph: onnx.ModelProto, asked: ExamineRequest, runtime: str, folder: Path) -> np.ndarray:
    """The outputs of the graph, computed node by node; `runtime`: with the saturation of that runtime."""
    from edgewright.bench import worker
    from edgewright.graph import files as onnx_files

    images, spec = asked.images, convert(asked.spec, ModelSpec)
    key = (asked.model, runtime, msgspec.json.encode([images, asked.spec]))
    if key in _answered:
        return _answered[key]
    if not any(model == asked.model for model, *_ in _answered):
        _answered.clear()
    folder.mkdir()
    onnx_files.save(graph, folder / "source.onnx")
    artifacts.build(folder / "source.onnx", spec, Options(runtime="onnxruntime", emulate=True), folder / "artifact")
    worker.open_artifact(path=str(folder / "artifact"), images=images[:1])
    worker.predict(images, str(folder / accuracy.OUTPUTS))
    found = _answered[key] = np.array(accuracy.load_outputs(folder))
    return found


def _batches(
    graph: onnx.ModelProto, asked: ExamineRequest, spec: ModelSpec, precisions: list[Precision], folder: Path
) -> list[Finding]:
    """Check that equal rows of a batch get equal outputs, and that batches of one and of several agree."""
    from edgewright.graph import batch
    from edgewright.graph import files as onnx_files
    from edgewright.runtimes import session
    from edgewright.vision import feeds

    images, artifact, options = asked.images, Path(asked.artifact), asked.options
    if any(not isinstance(one, Input) and not one.batched for one in spec.inputs):
        return [Finding(level="note", code="batch-size", text="Not checked: an input has no batch axis.")]
    fixed = spec.batch
    rows = fixed if fixed and fixed > 1 else ROWS
    other = 1 if fixed and fixed > 1 else rows
    paths = [images[index % len(images)] for index in range(rows)]
    x = feeds.batch(paths, spec)
    again = tuple(np.repeat(array[:1], rows, axis=0) for array in x)
    with session.open(artifact) as opened:
        if fixed is None:
            one, several, same = _in_rows(opened, x), opened.run(*x), opened.run(*again)
        else:
            folder.mkdir()
            try:
                batch.apply(graph, other)
                onnx_files.save(graph, folder / "source.onnx")
                about = spec.with_batch(other)
                artifacts.build(folder / "source.onnx", about, options, folder / "artifact")
            except EdgewrightError:
                text = f"Not checked: the batch of {fixed} is fixed in the graph."
                return [Finding(level="note", code="batch-size", text=text)]
            with session.open(folder / "artifact") as changed:
                single, many = (opened, changed) if fixed == 1 else (changed, opened)
                one, several, same = _in_rows(single, x), many.run(*x), many.run(*again)
    equal = [np.repeat(output[:1], len(output), axis=0) for output in same]
    stable = tasks.of(spec).loss.stable
    pairs = [stable(a, b, spec) for a, b in zip(equal, same)]
    alike = checks.batch("batch-rows", pairs, precisions, f"One image {rows} times in a batch")
    if alike.level != "ok":  # then batches and single images differ, too
        return [alike]
    pairs = [stable(a, b, spec) for a, b in zip(one, several)]
    return [alike, checks.batch("batch-size", pairs, precisions, f"{rows} images one by one and in a batch")]


def _in_rows(opened: Any, x: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs for each row of `x`, computed separately and concatenated."""
    every = [opened.run(*(array[index : index + 1] for array in x)) for index in range(len(x[0]))]
    return [np.concatenate(parts) for parts in zip(*every)]
