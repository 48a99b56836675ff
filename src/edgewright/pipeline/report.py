"""From what a run made to the report: figures, verdicts, the choice, and where everything came from."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec

from edgewright.bench import accuracy, audit, budget
from edgewright.bench.choice import choose
from edgewright.bench.figures import EMULATED
from edgewright.bench.gallery import Pair, worst
from edgewright.bench.latency import Timing
from edgewright.bench.results import (
    CalibrationInfo,
    DataInfo,
    Finding,
    Measurement,
    ModelInfo,
    Reference,
    Report,
    StageTime,
    TargetInfo,
)  # fmt: skip
from edgewright.core import files
from edgewright.core.lazy import version
from edgewright.core.store import Entry, key_of
from edgewright.pipeline import images as image_sets
from edgewright.pipeline.run import Made, Work
from edgewright.pipeline.score import at_chance, score
from edgewright.pipeline.stages import audit as audits
from edgewright.pipeline.stages import check as checks
from edgewright.runtimes import artifact as artifacts


def assemble(made: Made) -> Report:
    """The report of a run, exactly as reading its file gives it (lists and tuples alike)."""
    job = made.job
    assert job.budget is not None
    limits = job.budget
    reference = _reference(made) if made.reference.artifact else None
    measurements = [_measurement(made, work) for work in made.works]
    measurements = [
        msgspec.structs.replace(m, budget=budget.check(m, reference, limits) if m.status == "ok" or m.accuracy else ())
        for m in measurements
    ]
    loads = [work.timing.load for work in (made.reference, *made.works) if work.timing and work.timing.load]
    worst = max(loads, key=lambda load: load.other_cpu_percent or 0.0, default=None)
    chance = at_chance(made)
    findings, passed = audit.split([*([chance] if chance else []), *_images_audit(made)])
    choice = choose(measurements, reference, limits, findings)
    report = Report(
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        model=_model(made),
        target=_target(made),
        budget=limits.text,
        environment=msgspec.structs.replace(made.place.environment, load=worst),
        data=_data(made),
        reference=reference,
        measurements=tuple(measurements),
        choice=choice,
        provenance=_provenance(made),
        stages=tuple(_stages(made)),
        findings=findings,
        passed=passed,
    )
    return msgspec.json.decode(msgspec.json.encode(report), type=Report)


def gallery(made: Made, report: Report) -> list[Pair]:
    """Of a detector the images on which the chosen artifact and the reference differ most; else nothing."""
    chosen = next((work for work in made.works if report.choice and work.candidate.id == report.choice.id), None)
    if not made.spec.detect or chosen is None or chosen.evaluation is None or made.reference.evaluation is None:
        return []
    found, truth = (accuracy.load_outputs(entry.path) for entry in (chosen.evaluation, made.reference.evaluation))
    paths = [item.path for item in made.images.evaluation.items]
    turn = made.spec.preprocess.turns
    return worst(found, truth, paths, made.spec.labels, floor=made.spec.detect.score, turn=turn)


def _model(made: Made) -> ModelInfo:
    spec = made.spec
    digest = files.sha256(made.exported.path / "model.onnx")
    return ModelInfo(
        name=spec.name, task=spec.task, source=made.job.source.source, digest=digest, classes=spec.classes,
        input_shape=spec.input.shape(spec.input.batch or 1),
    )  # fmt: skip


def _target(made: Made) -> TargetInfo:
    target = made.job.target
    why = None
    if not made.measured_here:
        why = f"This machine is {made.place.machine.title}, not {target.title}: artifacts were built, not measured."
    return TargetInfo(name=target.name, title=target.title, measured=made.measured_here, why=why)


def _data(made: Made) -> DataInfo:
    evaluation, calibration = made.images.evaluation, made.images.calibration
    return DataInfo(
        name=evaluation.name,
        split=evaluation.split or None,
        images=len(evaluation.items),
        labelled=sum(item.label is not None or item.boxes is not None for item in evaluation.items),
        classes=made.spec.classes,
        digest=key_of("images", {"pixels": made.images.evaluation_digests}),
        truth=image_sets.truth(evaluation),
        calibration=CalibrationInfo(
            images=len(calibration.items),
            name=calibration.name,
            split=calibration.split or None,
            digest=key_of("images", {"pixels": sorted(made.images.calibration_digests)}),
        ),
    )


def _reference(made: Made) -> Reference:
    work = made.reference
    assert work.artifact is not None
    about = artifacts.read(work.artifact.path)
    stand_in = next((w for w in made.works if w.candidate.id == made.base), None)
    timing = work.timing
    device = str(about.described.get("device", ""))
    why = None if "cuda" in device.lower() else "This machine has no CUDA GPU: the CPU stands in as the reference."
    if about.options.runtime != "torch":
        why = f"The source has no torch module: {about.options.runtime} in float32 on the CPU is the reference."
    if made.given:
        why = (
            f"The source is quantized already ({made.given} in INT8): the file itself is the reference, computed "
            f"exactly by {about.options.runtime}. There is no float model to compare with."
        )
        if made.place.is_here and stand_in:
            why += f" Its latency is that of {made.base}."
            timing = stand_in.timing
    if not made.place.is_here:
        told = [why or "", f"Only its accuracy is of the machine that built; its latency is that of {made.base} on"]
        why = " ".join([*told, f"{made.place.name}."]) if stand_in else why
        timing = Timing(id="", latency=stand_in.timing.latency) if stand_in and stand_in.timing else None
    return Reference(
        runtime=about.options.runtime, device=device, precision=about.precision,
        status="ok" if work.alive else "failed", reason=work.reason, why=why,
        latency=timing.latency if timing else None, accuracy=score(made, work),
        size_bytes=_size(work.artifact), peak_memory_bytes=timing.peak_memory_bytes if timing else None,
        cold_start_ms=timing.cold_start_ms if timing else None, camera=timing.camera if timing else None,
        energy_mj=timing.energy_mj if timing else None, energy_source=timing.energy_source if timing else None,
    )  # fmt: skip


def _measurement(made: Made, work: Work) -> Measurement:
    candidate, timing = work.candidate, work.timing
    findings, passed = audit.split(_audit(made, work))
    proved = checks.read(work.checked).findings() if work.checked else ()
    measured = work.alive and timing is not None
    reason = work.reason if not work.alive else (None if measured else _target(made).why)
    return Measurement(
        id=candidate.id,
        variant=candidate.variant.name,
        runtime=candidate.options.runtime,
        precision=candidate.precision,
        scheme=candidate.variant.scheme,
        float_layers=candidate.variant.float_layers,
        options=msgspec.to_builtins(candidate.options),
        status="ok" if measured else "built" if work.alive else "failed",
        stage=work.failed_in,
        reason=reason,
        latency=timing.latency if timing else None,
        accuracy=score(made, work),
        speedup=timing.speedup if timing else None,
        size_bytes=_size(work.artifact),
        peak_memory_bytes=timing.peak_memory_bytes if timing else None,
        cold_start_ms=timing.cold_start_ms if timing else None,
        camera=timing.camera if timing else None,
        energy_mj=timing.energy_mj if timing else None,
        energy_source=timing.energy_source if timing else None,
        artifact=work.artifact.key if work.artifact else None,
        described=_described(work),
        provenance=_quantization(work),
        findings=(*_findings(work), *_predicted(made, work), *proved, *findings),
        passed=passed,
    )


def _quantization(work: Work) -> dict[str, Any]:
    if work.quantized is None:
        return {}
    path = work.quantized.path / "provenance.json"
    found: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return {"method": work.candidate.variant.method, **found}


def _described(work: Work) -> dict[str, Any]:
    """What really ran: told where the artifact was built, or by the device that answered with it."""
    if work.artifact is None:
        return {}
    described = audits.described(work.artifact, work.evaluation)
    if work.half:
        described = {**described, "half": msgspec.json.decode((work.half.path / "half.json").read_bytes())}
    if work.checked:  # asked for by the graph, not observed
        described = {**described, "predicted": msgspec.to_builtins(checks.read(work.checked))}
    return described


def _findings(work: Work) -> list[Finding]:
    """What a reader should know: the runtime did not run the precision that was asked for."""
    if missing := _quantization(work).get("missing"):
        return [Finding(level="warning", code="method", text=missing), *_findings_of_precision(work)]
    return _findings_of_precision(work)


def _predicted(made: Made, work: Work) -> list[Finding]:
    """The latency of a pruned artifact by the table, and as it was measured."""
    before, left = made.predicted.get(work.candidate.id, ("", 0.0))
    rows = {one.candidate.id: one.timing.latency for one in made.works if one.timing and one.timing.latency}
    was, now = (row.p50_ms if (row := rows.get(name)) else None for name in (before, work.candidate.id))
    if not was or not now:
        return []
    text = (
        f"By the latency table {left * was:.3g} ms were predicted, of {was:.3g} ms of {before}; measured: {now:.3g} ms."
    )
    return [Finding(level="note", code="predicted-latency", text=text)]


def _findings_of_precision(work: Work) -> list[Finding]:
    options = work.candidate.options
    if work.emulated and work.evaluation:
        text = "Accuracy is emulated: ONNX Runtime computed the same graph on this CPU, not TensorRT."
        if options.runtime != "tensorrt":
            text = "Accuracy is emulated: sums were cut to 16 bits, as without VNNI. Latency is this machine's."
        return [Finding(level="note", code=EMULATED, text=text)]
    really, asked = _described(work).get("precision"), options.precision
    if really is None or really == asked:
        return []
    text = f"{options.runtime} was asked for {asked} and runs {really}."
    return [Finding(level="warning", code="precision", text=text)]


def _audit(made: Made, work: Work) -> list[Finding]:
    """What was checked of an artifact: what the audit's stage found, and how the scores moved."""
    found = audits.read(work.audit) if work.audit else [work.unaudited] if work.unaudited else []
    if work.evaluation and made.reference.evaluation:
        answers, reference = (
            accuracy.load_outputs(entry.path) for entry in (work.evaluation, made.reference.evaluation)
        )
        found.append(audit.confidence(answers, reference, made.spec))
    return found


def _images_audit(made: Made) -> list[Finding]:
    found = [*image_sets.findings(made.images.evaluation), *image_sets.findings(made.images.calibration)]
    found = list(dict.fromkeys(found)) + (audits.read(made.images_audit) if made.images_audit else [])
    target, machine = made.job.target, made.place.machine
    if made.measured_here and "vnni" in machine.isa and "vnni" not in target.isa:
        text = "The target has no VNNI and this machine has: INT8 is faster here than there."
        found.append(Finding(level="note", code="isa", text=text))
    return found


def _provenance(made: Made) -> dict[str, Any]:
    parity: dict[str, Any] = msgspec.json.decode((made.exported.path / "parity.json").read_bytes())
    return {"edgewright": version("edgewright"), "recipe": msgspec.to_builtins(made.job.recipe), "parity": parity}


def _stages(made: Made) -> list[StageTime]:
    found = [
        StageTime(stage="export", seconds=made.exported.seconds, key=made.exported.key, reused=made.exported.reused)
    ]
    for work in (made.reference, *made.works):
        parts: dict[str, Entry | None] = {
            "quantize": work.quantized, "half": work.half, "compile": work.artifact, "check": work.checked,
            "evaluate": work.evaluation, "audit": work.audit,
        }  # fmt: skip
        found += [_stage(stage, work.candidate.id, entry) for stage, entry in parts.items() if entry]
    return found


def _stage(stage: str, id: str | None, entry: Entry) -> StageTime:
    return StageTime(stage=stage, id=id, seconds=entry.seconds, key=entry.key, reused=entry.reused)


def _size(artifact: Entry | None) -> int | None:
    if artifact is None:
        return None
    return files.size(artifact.path) - files.size(Path(artifact.path, "manifest.json"))
