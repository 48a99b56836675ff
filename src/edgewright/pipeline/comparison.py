"""Single steps on single files, and bundles measured beside each other: the same stages as the main job's."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgewright.bench import accuracy, audit, detection_accuracy
from edgewright.bench import budget as budgets
from edgewright.bench.budget import Budget
from edgewright.bench.chance import at_chance
from edgewright.bench.choice import choose
from edgewright.bench.latency import Rules, Timing, measure_interleaved
from edgewright.bench.results import (
    Accuracy,
    DataInfo,
    Finding,
    Load,
    Measurement,
    ModelInfo,
    Reference,
    Report,
    Sensitivity,
    TargetInfo,
)  # fmt: skip
from edgewright.core import child, files
from edgewright.core.errors import EdgewrightError, InvalidInput, RuntimeFailed, Unavailable, UsageError
from edgewright.core.spec import ModelSpec
from edgewright.core.store import Entry, key_of
from edgewright.data import sets
from edgewright.data.sets import ImageSet
from edgewright.pipeline import hosts as places
from edgewright.pipeline import images as image_sets
from edgewright.pipeline import stages
from edgewright.pipeline.candidates.base import Candidate, Variant, builder_for
from edgewright.pipeline.hosts import Place
from edgewright.pipeline.images import Images
from edgewright.pipeline.jobs import sensitivity_table
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.run import Job, budget_for, prepare
from edgewright.pipeline.stages import Source, Workshop
from edgewright.pipeline.stages import audit as audits
from edgewright.pipeline.stages import check as checks
from edgewright.pipeline.stages.audit import Subject
from edgewright.pipeline.stages.check import Checked
from edgewright.quantize import methods, schemes
from edgewright.runtimes import artifact as artifacts
from edgewright.runtimes import bundle
from edgewright.runtimes.options import Builder, Options
from edgewright.targets import detect
from edgewright.targets.target import Isa, Target, matches

REFERENCE = Candidate(variant=Variant(), options=Options(runtime="onnxruntime"))
"""How a float file that stands for the reference is compiled."""


def import_file(shop: Workshop, model: Path, batch: int | None = 1) -> Entry:
    """An ONNX file as the export stage keeps it: checked, cleaned, with its spec; `batch` None: any number."""
    return stages.export(shop, Source(source=str(model)), [], [], batch)


def quantize(
    shop: Workshop, model: Path, calibration: Path, scheme: str, method: str | None, count: int, seed: int
) -> Entry:
    """One ONNX file quantized with one scheme and method (default: the first that fits the scheme)."""
    schemes.get(scheme)
    fitting = [name for name, found in (methods.METHODS | methods.OTHERS).items() if found.fits(scheme)]
    if method is not None and methods.get(method).name not in fitting:
        raise UsageError(
            f"The method '{method}' does not make '{scheme}' files.",
            f"Fitting: {', '.join(fitting)}.",
            "Use one of them.",
        )
    found = image_sets.calibrating(calibration, count, seed, shop)
    variant = Variant(scheme=scheme, method=method or fitting[0])
    source = import_file(shop, model)
    stages.require_float(source)
    return stages.quantize(shop, source, variant, found, sets.digests(found), seed)


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """An artifact and its spec; `checked`: what was proved of it for TensorRT, None for other runtimes."""

    artifact: Entry
    spec: ModelSpec
    options: Options
    checked: Checked | None


def compile_file(
    shop: Workshop, model: Path, options: Mapping[str, Any], normalize: str, target: Target | None,
    images: Path | None, max_batch: int = 1,
) -> Compiled:  # fmt: skip
    """One ONNX file compiled for one runtime, on this machine or (for another `target`) as far as can be without it.

    `options` are those of `Options` that are not to be the target's first choice. FP16 for TensorRT is proven on
    `images`; its plan takes from 1 to `max_batch` images.
    """
    try:
        wanted = msgspec.convert({**_first_choice(target, options.get("runtime")), **options}, type=Options)
        variant = msgspec.convert({"normalize": normalize}, type=Variant)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"These options cannot be compiled for: {error}.", "", "See `edgewright compile --help`."
        ) from None
    if wanted.runtime == "tensorrt" and max_batch > 1:
        builder = msgspec.structs.replace(wanted.builder or Builder(), max_batch=max_batch)
        wanted = msgspec.structs.replace(wanted, builder=builder)
    elif max_batch > 1:
        raise UsageError(
            f"{wanted.runtime} was asked for a largest batch.", "Only TensorRT's plans have one.", "Leave it out."
        )
    entry = import_file(shop, model, None if max_batch > 1 else 1)
    variant = msgspec.structs.replace(variant, is_int8=not stages.what_is(entry).quantized.few)
    if variant.normalize == "graph":
        entry = stages.fold_normalization(shop, entry, model.name)
    spec = stages.spec_of(entry)
    if (candidate := Candidate(variant=variant, options=wanted)).is_half:
        if images is None:
            raise UsageError(
                "FP16 for TensorRT needs images.",
                "What overflows in FP16 is found, and the rest proven, on images of the kind that the model will see.",
                "Name some: --images DIR; or stay in float32: --precision f32.",
            )
        found = image_sets.calibrating(images, stages.HALF_IMAGES, 0, shop)
        entry = stages.halve(shop, entry, model.name, found)
    here = target is None or matches(target, detect.this_machine())
    artifact = stages.compile_artifact(shop, entry, spec, candidate, here)
    checked = None
    if wanted.runtime == "tensorrt":
        about = target or detect.this_machine()
        checked = checks.read(checks.check(shop, entry, model.name, wanted, about))
        if checked.refused:
            raise InvalidInput(
                *checked.refused, "Nothing was written. Correct the file, or quantize the float one: --scheme tensorrt."
            )
    return Compiled(artifact=artifact, spec=spec, options=wanted, checked=checked)


class Audited(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `edgewright audit` found of a file on so many `images`, and which checks it passed."""

    file: str
    runtime: str
    images: int
    findings: tuple[Finding, ...] = ()
    passed: tuple[Finding, ...] = ()


def audit_file(
    shop: Workshop, path: Path, data: Path, split: str | None, calibration: Path | None, reference: Path | None,
    isa: tuple[Isa, ...] | None, runtime: str | None, count: int,
) -> Audited:  # fmt: skip
    """The audit of an ONNX file or of a bundle that holds one, on `count` images of `data`, run by this machine.

    Confidence is compared with the float file `reference`; `isa`: what the processor it is for has (default: this
    machine's).
    """
    machine = detect.this_machine()
    options = Options(runtime="onnxruntime")
    if path.is_dir():
        options = bundle.verify(path).artifact
        path = path / stages.MODEL
        if not path.is_file():
            raise InvalidInput(
                f"The bundle {path.parent} holds no ONNX file.", f"It is compiled for {options.runtime}.",
                f"Audit the .onnx file that it was compiled of: --runtime {options.runtime}",
            )  # fmt: skip
    if runtime:
        options = msgspec.convert({"runtime": runtime}, Options)
    evaluation = image_sets.read_evaluation(data, split, shop)
    try:
        given = image_sets.read_calibration(data, evaluation, calibration, count, 0, shop)
    except sets.Absent as absent:
        given, evaluation = None, image_sets.without_split(evaluation, absent, calibration, shop)
    bare = (msgspec.structs.replace(item, label=None, boxes=None) for item in sets.spread(evaluation.items, count))
    images = msgspec.structs.replace(evaluation, items=tuple(bare))
    digests = sets.digests(images)
    model = import_file(shop, path)
    spec = stages.spec_of(model)
    found = _audit_images(shop, given, evaluation, spec) if given else []
    variant = Variant(is_int8=not stages.what_is(model).quantized.few)
    artifact = stages.compile_artifact(shop, model, spec, Candidate(variant=variant, options=options), True)
    identity = places.here().identity
    answers = stages.evaluate(shop, artifact, path.name, images, digests, identity)
    audited = audits.audit(
        shop, path.name,
        Subject(
            model=model, artifact=artifact, options=options, spec=spec, answers=answers,
            images=[item.path for item in images.items], digests=digests, isa=isa or machine.isa,
            answered_with=machine.isa, described=audits.described(artifact, None),
            runs_here=options.runtime != "tensorrt", count=count,
        ),
    )  # fmt: skip
    found += audits.read(audited)
    if reference:
        plain = import_file(shop, reference)
        float_artifact = stages.compile_artifact(shop, plain, stages.spec_of(plain), REFERENCE, True)
        truth = stages.evaluate(shop, float_artifact, reference.name, images, digests, identity)
        ours, theirs = (accuracy.load_outputs(entry.path) for entry in (answers, truth))
        found.append(audit.confidence(ours, theirs, spec))
    findings, passed = audit.split([*image_sets.findings(evaluation), *found])
    return Audited(file=str(path), runtime=options.runtime, images=len(images.items), findings=findings, passed=passed)


def _audit_images(shop: Workshop, calibration: ImageSet, evaluation: ImageSet, spec: ModelSpec) -> list[Finding]:
    try:
        sets.require_disjoint(calibration, evaluation)
    except InvalidInput as leak:
        text = leak.what.removeprefix("calibration-leak: ")
        return [Finding(level="error", code="calibration-leak", text=text)]
    both = Images(
        evaluation=evaluation, calibration=calibration, evaluation_digests=sets.digests(evaluation),
        calibration_digests=sets.digests(calibration),
    )  # fmt: skip
    return audits.read(audits.audit_images(shop, both, spec))


def finish_bundle(shop: Workshop, path: Path, out: Path) -> bundle.Manifest:
    """The bundle at `path` with what only this device can build of it, as the bundle `out`."""
    before = bundle.verify(path)
    with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:

        def step(done: int, total: int, text: str) -> None:
            shop.watch("finish", before.name, done, total + 1, text)

        folder = Path(scratch, "artifact")
        child.call(
            "edgewright.runtimes.bundle:finish", log=shop.log("finish", before.name), limits=shop.limits,
            folder=str(path), out=str(folder), progress=step,
        )  # fmt: skip
        shop.watch("finish", before.name, 1, 1, "")
        finished = {"on": detect.this_machine().title}
        return bundle.write(folder, out, name=before.name, provenance={**before.provenance, "finished": finished})


def _first_choice(target: Target | None, runtime: str | None) -> dict[str, Any]:
    """What a target names first, or of the named runtime; FP16 where its TensorRT has it."""
    if target is None:
        return {"runtime": runtime or "openvino"}
    found = next((one for one in target.runtimes if runtime in (None, one.name)), None)
    if found is None:
        known = ", ".join(one.name for one in target.runtimes)
        raise UsageError(f"{target.title} has no {runtime}.", f"It has: {known}.", "Ask for one of these.")
    if found.name != "tensorrt":
        return {"runtime": found.name, "precision": found.precisions[0]}
    half = "f16" if "f16" in found.precisions else "f32"
    return {"runtime": found.name, "precision": half, "builder": builder_for(target)}


def bench(
    shop: Workshop, paths: Sequence[Path], data: Path, split: str | None, budget: Budget | None, recipe: Recipe,
    place: Place,
) -> Report:  # fmt: skip
    """Bundles measured beside each other on `data` at `place`; the first is the reference of the report."""
    manifests = {_name(path): bundle.verify(path) for path in paths}
    if len(manifests) < len(paths):
        raise UsageError("Two bundles have the same name.", ", ".join(p.name for p in paths), "Rename one.")
    first = next(iter(manifests.values()))
    budget = budget_for(first.spec, budget)
    evaluation = image_sets.label(image_sets.read_evaluation(data, split, shop), first.spec, shop)
    labels = [item.label for item in evaluation.items]
    outputs: dict[str, Any] = {}
    failed: dict[str, Timing] = {}
    with tempfile.TemporaryDirectory(prefix="edgewright-bench-") as scratch:  # of this run alone: two may go on at once
        ready = dict(zip(manifests, paths))  # what is measured, by name
        for name, path in ready.items():
            folder = Path(scratch, name)
            files_in = [item.path for item in evaluation.items]

            def step(done: int, total: int, text: str, name: str = name) -> None:
                shop.watch("evaluate", name, done, total + 1, text)

            try:
                if place.finish and place.finishes(manifests[name].artifact):
                    ready[name] = Path(scratch, f"{name}.finished")
                    place.finish(path, ready[name], step)
                    Path(ready[name], bundle.MANIFEST).unlink(missing_ok=True)  # of what the bundle held before
                accuracy.evaluate(
                    ready[name], files_in, labels, folder, limits=shop.limits, progress=step, answer=place.answer
                )
            except stages.FATAL:
                raise
            except EdgewrightError as error:
                if path == paths[0] and isinstance(error, Unavailable):
                    raise  # nothing can be compared with it
                failed[name] = Timing(id=name, stage="evaluate", reason=f"{error.what} {error.why}")
                shop.watch("evaluate", name, 1, 1, f"failed: {error.what}")
                continue
            shop.watch("evaluate", name, 1, 1, "")
            outputs[name] = np.array(accuracy.load_outputs(folder))
        alive = {name: path for name, path in ready.items() if name in outputs}
        timings = _time(shop, alive, evaluation, recipe, Path(scratch, "latency"), place) if alive else {}
    return _report(paths, manifests, evaluation, outputs, timings | failed, budget, place)


def _time(
    shop: Workshop, paths: Mapping[str, Path], evaluation: ImageSet, recipe: Recipe, folder: Path, place: Place
) -> dict[str, Timing]:
    rules = Rules(
        min_duration_s=recipe.min_duration_s, min_count=recipe.min_count, rate_hz=recipe.fps, seed=recipe.seed
    )
    some = [item.path for item in evaluation.items[:4]]
    what = f"{len(paths)} bundles, interleaved"

    def step(done: int, total: int, text: str) -> None:
        shop.watch("latency", what, done, total + 1, text)

    found = measure_interleaved(
        paths, some, folder, rules=rules, limits=shop.limits, reference=next(iter(paths)),
        target=place.machine, progress=step, measure=place.observe,
    )  # fmt: skip
    shop.watch("latency", what, 1, 1, "")
    return found


def _report(
    paths: Sequence[Path],
    manifests: dict[str, bundle.Manifest],
    evaluation: ImageSet,
    outputs: dict[str, Any],
    timings: dict[str, Timing],
    budget: Budget,
    place: Place,
) -> Report:
    base = _name(paths[0])
    first, timing = manifests[base], timings[base]
    if timing.reason:
        raise InvalidInput(f"The first bundle cannot be measured: {timing.reason}", "", "Give one that runs here.")
    reference = Reference(
        runtime=first.artifact.runtime, device=place.machine.title, precision=artifacts.read(paths[0]).precision,
        why=f"First bundle: {base}.",
        latency=timing.latency, accuracy=_score(first.spec, outputs[base], evaluation), size_bytes=files.size(paths[0]),
        peak_memory_bytes=timing.peak_memory_bytes, cold_start_ms=timing.cold_start_ms, camera=timing.camera,
        energy_mj=timing.energy_mj, energy_source=timing.energy_source,
    )  # fmt: skip
    rows = []
    for path in paths:
        name, options = _name(path), manifests[_name(path)].artifact
        seen = timings[name]
        row = Measurement(
            id=name, variant=name, runtime=options.runtime, precision=artifacts.read(path).precision,
            options=msgspec.to_builtins(options), status="failed" if seen.reason else "ok", stage=seen.stage,
            reason=seen.reason, latency=seen.latency, speedup=seen.speedup, size_bytes=files.size(path),
            accuracy=_compare(first.spec, outputs[name], outputs[base], evaluation, budget.margin())
            if name in outputs else None,
            peak_memory_bytes=seen.peak_memory_bytes, cold_start_ms=seen.cold_start_ms, artifact=str(path),
            camera=seen.camera, energy_mj=seen.energy_mj, energy_source=seen.energy_source,
        )  # fmt: skip
        rows.append(msgspec.structs.replace(row, budget=budgets.check(row, reference, budget)))
    machine, spec = place.machine, first.spec
    found = at_chance(outputs[base], evaluation.items, reference.accuracy, budget)
    findings = (*((found,) if found else ()), *image_sets.findings(evaluation))
    return Report(
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        model=ModelInfo(name=spec.name, task=spec.task, source=spec.source, classes=spec.classes),
        target=TargetInfo(name=machine.name, title=machine.title, measured=True),
        budget=budget.text,
        environment=msgspec.structs.replace(place.environment, load=_worst(timings)),
        data=DataInfo(
            name=evaluation.name, split=evaluation.split or None, images=len(evaluation.items),
            digest=key_of("images", {"pixels": sets.digests(evaluation)}), truth=image_sets.truth(evaluation),
        ),
        reference=reference,
        measurements=tuple(rows),
        choice=choose(rows, reference, budget, findings),
        findings=findings,
    )  # fmt: skip


def _worst(timings: dict[str, Timing]) -> Load | None:
    """The load of the bundle that had most of it beside it."""
    loads = [timing.load for timing in timings.values() if timing.load]
    return max(loads, key=lambda load: load.other_cpu_percent or 0.0, default=None)


def _score(spec: ModelSpec, outputs: Any, images: ImageSet) -> Accuracy:
    if spec.detect:
        return detection_accuracy.score(outputs, images.items, spec.classes)
    return accuracy.score(outputs, [item.label for item in images.items])


def _compare(spec: ModelSpec, outputs: Any, reference: Any, images: ImageSet, margin: float) -> Accuracy:
    if spec.detect:
        floor = spec.detect.score
        return detection_accuracy.compare(outputs, reference, images.items, spec.classes, margin=margin, floor=floor)
    return accuracy.compare(outputs, reference, [item.label for item in images.items], margin=margin)


def _name(path: Path) -> str:
    return path.name.removesuffix(bundle.SUFFIX)


def sensitivity(job: Job, shop: Workshop, place: Place) -> Sensitivity:
    """What each block and layer loses in INT8 and what it saves, for the first runtime and scheme of the job.

    Raises `InvalidInput` where target and recipe have no float and INT8 variant of one runtime, `RuntimeFailed` where
    one of them cannot be built or run.
    """
    line, candidates = prepare(job, shop, place)
    stages.require_float(line.exported)
    if not line.measure:
        raise Unavailable(
            f"This machine is {place.machine.title}, not {job.target.title}.", "Layers are timed where they will run.",
            "Leave --target away, or run this on the device.",
        )  # fmt: skip
    pairs = [
        (exact, int8)
        for int8 in candidates
        for exact in candidates
        if int8.variant.scheme and not exact.variant.scheme and exact.options == int8.options
    ]
    if not pairs:
        raise InvalidInput(
            f"Target '{job.target.name}' and the scheme have no float and INT8 variant of one runtime.",
            "A layer's time in INT8 is compared with its time in float.", "Name another --scheme.",
        )  # fmt: skip
    exact, int8 = (line.build(candidate) for candidate in pairs[0])
    timings = line.screen([exact, int8])
    for work in (exact, int8):
        reason = work.reason or timings[work.candidate.id].reason
        if reason:
            raise RuntimeFailed(f"{work.candidate.id} cannot be measured.", reason, "Name another --scheme.")
    return sensitivity_table.table(line, exact, int8, timings)
