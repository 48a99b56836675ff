"""The export stage: from a source and its weights to model.onnx with its spec, checked against the original.

Writes to one folder: ``model.onnx`` (spec in its metadata), ``spec.json``, ``parity.json`` and, for torch sources,
``reference.pt2`` (the original in float32 with a dynamic batch, for the torch runtime). The same input gives the same
bytes of model.onnx. Runs in a child, since it runs the source's code and reads foreign files.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgewright import tasks
from edgewright.core import description, files, samples
from edgewright.core.child import Progress
from edgewright.core.errors import InvalidInput, RuntimeFailed, UsageError
from edgewright.core.lazy import version
from edgewright.core.spec import AnyInput, Input, ModelSpec, TensorInput, encode
from edgewright.graph import batch as batch_pass
from edgewright.graph import cells, clean, compare, cut, inputs, metadata, slim, space_to_depth
from edgewright.graph import files as onnx_files
from edgewright.runtimes import torch as torch_reference
from edgewright.vision import feeds
from edgewright.vision.feeds import Feeds, Source

from . import overrides, parity, scores
from .sources.loaded import Loaded
from .sources.parse import ParsedSource, parse

if TYPE_CHECKING:
    import onnx
    import torch

MODEL, SPEC, PARITY, REFERENCE = "model.onnx", "spec.json", "parity.json", torch_reference.MODEL
RANDOM_IMAGES = 8
"""The number of seeded random images that are used without real ones."""
_SLIM_LIMIT = 1e-3
_STEPS = 6
OPSET = 20
"""The operator set of torch's export."""


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The details of an export.

    `spec_file`: a TOML that overrides the spec (default: ``<stem>.toml`` next to the checkpoint or .onnx). `images`:
    files for the parity check; without any, seeded random images, as parity.json says. `batch` None: a dynamic batch.
    """

    checkpoint: str | None = None
    trust_checkpoint: bool = False
    spec_file: str | None = None
    images: Sequence[str] = ()
    batch: int | None = 1


def export(
    source: str, folder: str | Path, request: ExportRequest | None = None, progress: Progress | None = None
) -> ModelSpec:
    """Export `source` to `folder` (see the module) and return its spec.

    Raises `UsageError`, `InvalidInput`, `IntegrityError`, `Unavailable`, and `RuntimeFailed` if the export or its
    parity check fails.
    """
    request = msgspec.convert(request or {}, ExportRequest)
    step = _steps(progress)
    step("loading the model")
    parsed = parse(source)
    _check_arguments(parsed, request)
    loaded, spec, said = _load(parsed, request)
    folder = files.absolute(folder)
    folder.mkdir(parents=True, exist_ok=True)
    step("exporting to ONNX")
    model, reference_batch, notes = _to_onnx(parsed, loaded, spec, folder / REFERENCE)
    if spec.task.ANY:
        spec = tasks.of(spec).fit.complete(compare.run(model, *compare.random_feeds(model)), spec)
    step("simplifying")
    metadata.set_spec(model, spec)
    notes += _simplify(model, spec)
    step("checking")
    onnx_files.check(model, MODEL)
    step("comparing with the original")
    report, answers = _prove(parsed, loaded, spec, model, request.images)
    final = metadata.get_spec(model) or spec
    ending = scores.ending(model, final.outputs[0])
    table = said.get(description.table_of(final.task.kind), {})
    final, more = tasks.of(final).fit.settle(answers, final, ending, table, certain=not parsed.is_graph)
    metadata.set_spec(model, final)
    step("writing")
    onnx_files.save(model, folder / MODEL)
    files.write(folder / SPEC, encode(final))
    report = msgspec.structs.replace(report, reference_batch=reference_batch, notes=notes + more)
    files.write(folder / PARITY, encode(report))
    return final


def _steps(progress: Progress | None) -> Any:
    done = iter(range(_STEPS + 1))

    def step(what: str) -> None:
        number = next(done)
        if progress is not None:
            progress(number, _STEPS, what)

    return step


def _check_arguments(source: ParsedSource, request: ExportRequest) -> None:
    if request.batch is not None and request.batch < 1:
        why = "It must be a number of images from 1, or none for a dynamic batch."
        raise UsageError(f"The batch is {request.batch}.", why, "Correct it.")
    if source.is_graph and (request.checkpoint or source.options):
        raise UsageError(
            f"{source.name} was given with {'a checkpoint' if request.checkpoint else 'options'}.",
            "The file contains its own weights and architecture.",
            "Leave that out, or name the library's source instead of the file.",
        )


def _load(source: ParsedSource, request: ExportRequest) -> tuple[Loaded, ModelSpec, dict[str, Any]]:
    """The model, its complete spec (the library's, overridden by the user's TOML), and the fields of the TOML."""
    from .sources import arrays, onnx, trainable, ultralytics

    toml = overrides.find(request.checkpoint or ultralytics.own_file(source), request.spec_file)
    over = overrides.read(toml, named=request.spec_file is not None) if toml else {}
    if source.is_graph:
        size, first = over.get("input", {}), next(iter(request.images), "")
        asked = onnx.Asked(
            (size.get("height"), size.get("width")), over.pop("outputs", ()), over.get("task"), over.get("inputs", {}),
            "preprocess" in over, {name: a.shape for name, a in samples.read(first).items()} if _is_file(first) else {},
        )  # fmt: skip
        loaded = onnx.load(source.name, asked)
    else:
        loaded = trainable(source, request.checkpoint, request.trust_checkpoint).load()
    fields = overrides.merge(loaded.spec, over)
    overrides.settle_bytes(fields, over)
    fields["source"] = source.text
    if "input" in fields:
        fields["input"] = {**fields["input"], "batch": request.batch}
    if tables := fields.get("inputs"):
        batch = request.batch if all(table.get("batched", True) for table in tables.values()) else 1
        fields["inputs"] = {name: {**table, "batch": batch} for name, table in tables.items()}
    spec = overrides.build(fields, source.text)
    if source.is_graph:
        scores.require_classes(loaded, over)
        _require_same_inputs(loaded, spec)
    elif spec.task.ANY:
        loaded, spec = arrays.settled(loaded, spec, "outputs" in fields)
    if loaded.spec.get("classes", spec.classes) != spec.classes:
        raise InvalidInput(
            f"The description has {spec.classes} classes, but the model has {loaded.spec['classes']}.",
            "The model gives one score per class.",
            "Correct `classes`, or build the model with that number: ?num_classes=N",
        )
    return loaded, spec, over


def _is_file(path: str) -> bool:
    return samples.is_sample(path)


def _require_same_inputs(loaded: Loaded, spec: ModelSpec) -> None:
    """Raise `InvalidInput` if the user's description changes an input of an ONNX file."""
    tables = loaded.spec.get("inputs") or {loaded.spec["input"]["name"]: loaded.spec["input"]}
    for one, (name, table) in zip(spec.inputs, tables.items(), strict=True):
        now = {**msgspec.to_builtins(one), "name": one.name}
        for key in ("height", "width", "channels", "name", "dtype", "layout", "shape"):
            was = {**table, "name": name}.get(key)
            if was is not None and was != (list(now[key]) if isinstance(now.get(key), tuple) else now.get(key)):
                raise InvalidInput(
                    f"The description has input {key} {now.get(key)}, but {spec.source} has {was}.",
                    "A description cannot change the graph's input.",
                    f"Correct or remove [input] {key}.",
                )


def _to_onnx(
    source: ParsedSource, loaded: Loaded, spec: ModelSpec, reference: Path
) -> tuple[onnx.ModelProto, int | None, tuple[str, ...]]:
    """The model as ONNX with the batch of `spec`; the reference's batch (None: dynamic, or no reference); notes."""
    if source.is_graph:
        return loaded.model, None, loaded.notes + _rebatch(loaded.model, spec)
    model, batch = _from_torch(loaded.model, spec, reference)
    notes = ("torch.export cannot make the batch dynamic: the reference takes 1 image at a time.",) if batch else ()
    return model, batch, loaded.notes + notes


def _from_torch(module: torch.nn.Module, spec: ModelSpec, reference: Path) -> tuple[onnx.ModelProto, int | None]:
    """The ONNX model of `module`, and the reference's batch (None: dynamic). Writes `reference`."""
    import torch

    batch = spec.batch
    several = _zeros(spec, 2)
    open_sizes = all(len(one.shape(1)) and one.shape(2)[0] != one.shape(1)[0] for one in spec.inputs)
    with torch.no_grad():
        _check_outputs(module(*several), spec, 2 if open_sizes else 1)
    with _quiet():
        try:
            each = tuple({0: torch.export.Dim("batch")} for _ in several)
            sizes: Any = (each,) if spec.task.ANY else each  # `arrays` takes them as *given
            dynamic = torch.export.export(module, several, dynamic_shapes=sizes) if open_sizes else None
        except Exception as error:  # the errors of torch.export have no common class
            if batch is None:
                raise RuntimeFailed(
                    f"{spec.name} cannot be exported with a dynamic batch: {' '.join(str(error).split())[:200]}",
                    "Its code depends on the number of images.",
                    "Export it with a fixed batch: --batch 1",
                ) from error
            dynamic = None
        reference_program = dynamic or _fixed(module, spec, 1)
        torch_reference.save(reference_program, reference.parent)
        program = dynamic if batch is None else _fixed(module, spec, batch)
        onnx_program = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, external_data=False, verbose=False,
            input_names=[one.name for one in spec.inputs], output_names=list(spec.outputs),
        )  # fmt: skip
    model = onnx_program.model_proto
    clean.apply(model)
    if batch is None:
        # torch numbers its symbols by the history of the process; a fixed name keeps the bytes the same.
        batch_pass.rename(model)
    return model, None if dynamic is not None else 1


def _rebatch(model: onnx.ModelProto, spec: ModelSpec) -> tuple[str, ...]:
    """Give an ONNX source the batch of `spec`. Returns notes. Raises `InvalidInput` if its own batch is fixed."""
    known = [one for one in spec.inputs if not isinstance(one, TensorInput) or one.batched]
    shapes = {value.name: inputs.shape(value) for value in inputs.real(model)}
    fixed, batch = shapes[known[0].name][0] if known else 1, spec.batch
    before = type(model)()
    before.CopyFrom(model)
    batch_pass.apply(model, batch, spec.inputs)
    if fixed is None or fixed == batch:
        return ()
    ones = [feeds.one(source, spec) for source in _random_sources(spec, 2 * fixed)]
    try:
        onnx_files.check(model, spec.name)
        first, second = compare.answers(before, ones, spec.outputs), compare.answers(model, ones, spec.outputs)
        names = [f"random image {i}" for i in range(len(ones))]
        parity.require(parity.measure_each(first, second, names, spec), spec.name)
    except (InvalidInput, RuntimeFailed) as error:
        raise InvalidInput(
            f"The batch of {spec.source} is {fixed} and cannot be changed to {batch or 'any'}: {error.what}",
            "The number of images is fixed in its graph.",
            f"Export it with --batch {fixed}, or export the original model again with another batch.",
        ) from error
    return (f"The batch was fixed to {fixed} in the source.",)


def _fixed(module: torch.nn.Module, spec: ModelSpec, batch: int) -> torch.export.ExportedProgram:
    import torch

    try:
        return torch.export.export(module, _zeros(spec, batch))
    except Exception as error:  # as above
        raise RuntimeFailed(
            f"torch.export cannot trace {spec.name}: {' '.join(str(error).split())[:200]}",
            "Its forward() does something that a graph cannot express, such as branching on values.",
            "Change the model's code, or export it to ONNX yourself and pass that file.",
        ) from error


def _zeros(spec: ModelSpec, batch: int) -> tuple[torch.Tensor, ...]:
    import torch

    return tuple(torch.from_numpy(array) for array in feeds.zeros(spec, batch))


def _check_outputs(output: Any, spec: ModelSpec, images: int = 2) -> None:
    """Raise `InvalidInput` if the module's output for `images` images does not fit `spec`."""
    import torch

    outputs = [output] if isinstance(output, torch.Tensor) else list(output)
    if odd := next((type(array).__name__ for array in outputs if not isinstance(array, torch.Tensor)), ""):
        raise InvalidInput(
            f"{spec.name} has {odd} among its outputs.",
            "edgewright exports one tensor of class scores, or a detector's raw head (also a tuple of tensors).",
            "Return only these from forward(), or name a source of a supported library, e.g. ultralytics:yolo11n. "
            'Any other outputs: task = "tensors" in the TOML.',
        )
    tasks.of(spec).fit.require([array.numpy() for array in outputs], spec, spec.name, images, real=False)


def _simplify(model: onnx.ModelProto, spec: ModelSpec) -> tuple[str, ...]:
    """Simplify `model` in place, checked on random input. Returns notes.

    A graph stays unchanged if onnxslim fails on it or changes its outputs.
    """
    notes: tuple[str, ...] = ()
    for work, what in ((slim.apply, f"onnxslim {version('onnxslim')}"), (_plain, "A pass of edgewright")):
        after = onnx_files.copy(model)
        try:
            work(after)
            align = functools.partial(tasks.of(spec).loss.align, spec=spec)
            gap = compare.difference(model, after, compare.random_feeds(model), align)
        except (RuntimeFailed, InvalidInput) as error:
            notes += (f"The graph is not simplified: {error.what} {error.why}",)
            continue
        if gap > _SLIM_LIMIT:
            notes += (f"The graph is not simplified: {what} changes its outputs by {gap:.3g} of the largest value.",)
            continue
        model.CopyFrom(after)
    return notes


def _plain(model: onnx.ModelProto) -> None:
    space_to_depth.apply(model)
    cells.apply(model)
    clean.apply(model)


def _prove(
    source: ParsedSource, loaded: Loaded, spec: ModelSpec, model: onnx.ModelProto, images: Sequence[str]
) -> tuple[parity.Parity, np.ndarray]:
    """Compare `model` with the original on `images`, each with its own preprocessing. Returns also the outputs of
    `model` as an array (images, values).

    Raises `RuntimeFailed`, and `InvalidInput` if `spec` does not fit the outputs of an ONNX source.
    """
    given: Sequence[Any] = images or _random_sources(spec)
    names = tuple(images) or tuple(f"random image {i}" for i in range(len(given)))
    truth = _original(loaded, spec, [feeds.one(one, spec) for one in given])
    final = metadata.get_spec(model) or spec
    ones = [feeds.one(one, final) for one in given]
    if source.is_graph:  # a torch module was checked before the export
        size = final.batch or 1
        x = feeds.joined([ones[k % len(ones)] for k in range(size)], final)
        tasks.of(final).fit.require(compare.run(model, *x), final, source.name, size)
    found = compare.answers(model, ones, final.outputs)
    half = loaded.original is not None and loaded.original.half
    measures = parity.measure_each(truth, found, names, spec, half)
    candidate = f"{MODEL} in onnxruntime {version('onnxruntime')}"
    parity.require(measures, candidate)
    eager = f"torch {version('torch')}, eager, float32, CPU"
    report = parity.Parity(
        reference=loaded.original.words if loaded.original is not None else eager,
        candidate=candidate,
        weights=loaded.weights,
        images=tuple(images) or "random",
        measures=measures,
    )
    return report, np.concatenate(found, axis=1)


def _original(loaded: Loaded, spec: ModelSpec, ones: Sequence[Feeds]) -> list[np.ndarray]:
    """The original model's outputs for the samples `ones`, each (samples, values): eager torch, or the original ONNX
    file."""
    if loaded.original is not None:
        model = loaded.original.model
        if not {value.name for value in model.graph.output}.issuperset(spec.outputs):
            size = (spec.input.height, spec.input.width)
            batch_pass.apply(model, inputs.image(model, size).batch, spec.inputs)
            cut.apply(model)  # as the source did: both sides have the same outputs
        return compare.answers(model, ones, spec.outputs)
    import torch

    rows, at_once = [], 1 if spec.task.ANY else 8
    for start in range(0, len(ones), at_once):
        part = ones[start : start + at_once]
        with torch.no_grad():
            found = loaded.model(*map(torch.from_numpy, feeds.joined(part, spec)))
        outputs = [found] if isinstance(found, torch.Tensor) else list(found)
        rows.append([array.reshape(len(part), -1).numpy() for array in outputs])
    return [np.concatenate(column) for column in zip(*rows)]


def _random_sources(spec: ModelSpec, count: int = RANDOM_IMAGES) -> list[Source]:
    """Seeded random images, or samples of random arrays: floats are normal, integers 0 or 1 (they may be indices)."""
    random = np.random.default_rng(0)

    def drawn(one: AnyInput) -> np.ndarray:
        if isinstance(one, Input):
            return random.integers(0, 256, (one.height, one.width, 3), np.uint8)
        if one.dtype == "float32":
            return random.standard_normal(one.dims, np.float32)
        return random.integers(0, 2, one.dims).astype(one.dtype)

    if spec.takes_image:
        return [drawn(spec.input) for _ in range(count)]
    return [{one.name: drawn(one) for one in spec.inputs} for _ in range(count)]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's messages about its own rewriting out of the log; its errors are raised anyway."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
