"""Assemble the report of a run: measurements, verdicts, the choice, and the provenance."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec

from edgewright import tasks
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
    Status,
    TargetInfo,
)  # fmt: skip
from edgewright.core import files
from edgewright.core.lazy import version
from edgewright.core.store import Entry, key_of
from edgewright.pipeline import images as image_sets
from edgewright.pipeline.candidates.compression import predicted
from edgewright.pipeline.score import at_chance, score
from edgewright.pipeline.stages import audit as audits
from edgewright.pipeline.stages import check as checks
from edgewright.pipeline.state import Build, RunState
from edgewright.runtimes import artifact as artifacts
from edgewright.runtimes import registry

REPORTED = ("quantize", "half", "compile", "check", "evaluate", "score", "audit")
"""The stages of a candidate that a report lists with their times."""


def assemble(state: RunState) -> Report:
    """The report of a run, with the same types as a report that was read from its file (tuples, no lists)."""
    job = state.job
    assert job.budget is not None
    limits = job.budget
    reference = _reference(state) if state.reference.artifact else None
    measurements = [_measurement(state, build) for build in state.builds]
    measurements = [
        msgspec.structs.replace(m, budget=budget.check(m, reference, limits) if m.status == "ok" or m.accuracy else ())
        for m in measurements
    ]
    loads = [build.timing.load for build in (state.reference, *state.builds) if build.timing and build.timing.load]
    worst = max(loads, key=lambda load: load.other_cpu_percent or 0.0, default=None)
    chance = at_chance(state)
    findings, passed = audit.split([*([chance] if chance else []), *_images_audit(state)])
    choice = choose(measurements, reference, limits, findings)
    report = Report(
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        model=_model(state),
        target=_target(state),
        budget=limits.text,
        environment=msgspec.structs.replace(state.host.environment, load=worst),
        data=_data(state),
        reference=reference,
        measurements=tuple(measurements),
        choice=choice,
        provenance=_provenance(state),
        stages=tuple(_stages(state)),
        findings=findings,
        passed=passed,
    )
    return msgspec.json.decode(msgspec.json.encode(report), type=Report)


def gallery(state: RunState, report: Report) -> list[Pair]:
    """The images on which the chosen artifact and the reference differ most, for tasks that show pictures."""
    chosen = next((build for build in state.builds if report.choice and build.candidate.id == report.choice.id), None)
    if chosen is None or chosen.answers is None or state.reference.answers is None:
        return []
    found, truth = (accuracy.load_outputs(entry.path) for entry in (chosen.answers, state.reference.answers))
    paths = state.images.evaluation.paths
    return worst(found, truth, paths, state.spec)


def _model(state: RunState) -> ModelInfo:
    spec = state.spec
    digest = files.sha256(state.exported.path / "model.onnx")
    return ModelInfo(
        name=spec.name, task=spec.task.kind, source=state.job.source.source, digest=digest, classes=spec.classes,
        input_shape=spec.inputs[0].shape(spec.batch or 1),
    )  # fmt: skip


def _target(state: RunState) -> TargetInfo:
    target = state.job.target
    why = None
    if not state.measured_here:
        why = f"This machine is {state.host.machine.title}; the target is {target.title}."
    return TargetInfo(name=target.name, title=target.title, measured=state.measured_here, why=why)


def _data(state: RunState) -> DataInfo:
    evaluation, calibration = state.images.evaluation, state.images.calibration
    return DataInfo(
        name=evaluation.name,
        split=evaluation.split or None,
        images=len(evaluation.items),
        labelled=sum(map(tasks.of(state.spec).truth.known, evaluation.items)),
        classes=state.spec.classes,
        digest=key_of("images", {"pixels": state.images.evaluation.digests}),
        truth=image_sets.truth(evaluation),
        calibration=CalibrationInfo(
            images=len(calibration.items),
            name=calibration.name,
            split=calibration.split or None,
            digest=key_of("images", {"pixels": sorted(state.images.calibration.digests)}),
        ),
    )


def _reference(state: RunState) -> Reference:
    build = state.reference
    assert build.artifact is not None
    about = artifacts.read(build.artifact.path)
    stand_in = next((w for w in state.builds if w.candidate.id == state.base), None)
    timing = build.timing
    device = str(about.described.get("device", ""))
    why = None if "cuda" in device.lower() else "The reference ran on the CPU, because this machine has no CUDA GPU."
    if not registry.traits(about.options.runtime).reference:
        why = f"The reference is {about.options.runtime} in float32 on the CPU, because the source has no torch module."
    if state.given:
        why = (
            f"The source is already quantized ({state.given} in INT8). The reference is the file itself, computed "
            f"exactly by {about.options.runtime}; there is no float model to compare with."
        )
        if state.host.is_here and stand_in:
            why += f" The latency of the reference is that of {state.base}."
            timing = stand_in.timing
    if not state.host.is_here:
        elsewhere = f"Its latency is that of {state.base} on {state.host.name}."
        why = f"{why or ''} {elsewhere}".strip() if stand_in else why
        timing = Timing(id="", latency=stand_in.timing.latency) if stand_in and stand_in.timing else None
    return Reference(
        runtime=about.options.runtime, device=device, precision=about.precision,
        status="ok" if build.alive else "failed", reason=build.failure.reason if build.failure else None, why=why,
        latency=timing.latency if timing else None, accuracy=score(state, build),
        size_bytes=_size(build.artifact), peak_memory_bytes=timing.peak_memory_bytes if timing else None,
        cold_start_ms=timing.cold_start_ms if timing else None, camera=timing.camera if timing else None,
        energy_mj=timing.energy_mj if timing else None, energy_source=timing.energy_source if timing else None,
    )  # fmt: skip


def _measurement(state: RunState, build: Build) -> Measurement:
    candidate, timing = build.candidate, build.timing
    findings, passed = audit.split(_audit(state, build))
    proved = checks.read(build.results["check"]).findings() if "check" in build.results else ()
    measured = build.alive and timing is not None
    reason = build.failure.reason if build.failure else build.left_out or (None if measured else _target(state).why)
    return Measurement(
        id=candidate.id,
        variant=candidate.variant.name,
        runtime=candidate.options.runtime,
        precision=candidate.precision,
        scheme=candidate.variant.scheme,
        float_layers=candidate.variant.float_layers,
        options=msgspec.to_builtins(candidate.options),
        status=_status(build, measured),
        stage=build.failure.stage if build.failure else None,
        reason=reason,
        latency=timing.latency if timing else None,
        accuracy=score(state, build),
        speedup=timing.speedup if timing else None,
        size_bytes=_size(build.artifact),
        peak_memory_bytes=timing.peak_memory_bytes if timing else None,
        cold_start_ms=timing.cold_start_ms if timing else None,
        camera=timing.camera if timing else None,
        energy_mj=timing.energy_mj if timing else None,
        energy_source=timing.energy_source if timing else None,
        artifact=build.artifact.key if build.artifact else None,
        described=_described(build),
        provenance=_quantization(build),
        findings=(*_findings(build), *_predicted(state, build), *proved, *findings),
        passed=passed,
    )


def _status(build: Build, measured: bool) -> Status:
    if build.left_out:
        return "skipped"
    return "ok" if measured else "built" if build.alive else "failed"


def _quantization(build: Build) -> dict[str, Any]:
    if "quantize" not in build.results:
        return {}
    path = build.results["quantize"].path / "provenance.json"
    found: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return {"method": build.candidate.variant.method, **found}


def _described(build: Build) -> dict[str, Any]:
    """The properties of the compiled artifact, as its compilation or the device that ran it reported them."""
    if build.artifact is None:
        return {}
    described = audits.described(build.artifact, build.answers)
    if "half" in build.results:
        described = {**described, "half": msgspec.json.decode((build.results["half"].path / "half.json").read_bytes())}
    if "check" in build.results:  # the graph requests it, nothing measured it
        described = {**described, "predicted": msgspec.to_builtins(checks.read(build.results["check"]))}
    return described


def _findings(build: Build) -> list[Finding]:
    """Findings on the method and on a precision that differs from the requested one."""
    if missing := _quantization(build).get("missing"):
        return [Finding(level="warning", code="method", text=missing), *_findings_of_precision(build)]
    return _findings_of_precision(build)


def _predicted(state: RunState, build: Build) -> list[Finding]:
    """A note that compares the predicted latency of a pruned artifact with the measured one."""
    before, left = predicted(state, build) or ("", 0.0)
    rows = {one.candidate.id: one.timing.latency for one in state.builds if one.timing and one.timing.latency}
    was, now = (row.p50_ms if (row := rows.get(name)) else None for name in (before, build.candidate.id))
    if not was or not now:
        return []
    text = f"The latency table predicted {left * was:.3g} ms ({before}: {was:.3g} ms); {now:.3g} ms were measured."
    return [Finding(level="note", code="predicted-latency", text=text)]


def _findings_of_precision(build: Build) -> list[Finding]:
    options = build.candidate.options
    if "emulate" in build.results and build.answers:
        text = "Accuracy is emulated: ONNX Runtime computed the same graph on this CPU instead of TensorRT."
        if not build.candidate.traits.on_device:
            text = "Accuracy is emulated: sums saturate at 16 bits, as on a CPU without VNNI. Latency is measured here."
        return [Finding(level="note", code=EMULATED, text=text)]
    really, asked = _described(build).get("precision"), options.precision
    if really is None or really == asked:
        return []
    text = f"The requested precision is {asked}, but {options.runtime} runs {really}."
    return [Finding(level="warning", code="precision", text=text)]


def _audit(state: RunState, build: Build) -> list[Finding]:
    """The results of an artifact's audit, and the shift of its scores."""
    found = audits.read(build.results["audit"]) if "audit" in build.results else []
    if missed := build.skipped.get("audit"):
        found.append(audits.unaudited(missed.reason))
    if build.answers and state.reference.answers:
        answers, reference = (accuracy.load_outputs(entry.path) for entry in (build.answers, state.reference.answers))
        found += audit.against_reference(answers, reference, state.spec)
    return found


def _images_audit(state: RunState) -> list[Finding]:
    found = [*image_sets.findings(state.images.evaluation), *image_sets.findings(state.images.calibration)]
    found = list(dict.fromkeys(found)) + (audits.read(state.images_audit) if state.images_audit else [])
    target, machine = state.job.target, state.host.machine
    if state.measured_here and "vnni" in machine.isa and "vnni" not in target.isa:
        text = "INT8 is faster here than on the target: this machine has VNNI, the target does not."
        found.append(Finding(level="note", code="isa", text=text))
    return found


def _provenance(state: RunState) -> dict[str, Any]:
    parity: dict[str, Any] = msgspec.json.decode((state.exported.path / "parity.json").read_bytes())
    return {"edgewright": version("edgewright"), "recipe": msgspec.to_builtins(state.job.recipe), "parity": parity}


def _stages(state: RunState) -> list[StageTime]:
    found = [
        StageTime(stage="export", seconds=state.exported.seconds, key=state.exported.key, reused=state.exported.reused)
    ]
    for build in (state.reference, *state.builds):
        parts = {**build.results, **({"compile": build.artifact} if build.artifact else {})}
        found += [_stage(stage, build.candidate.id, parts[stage]) for stage in REPORTED if stage in parts]
    return found


def _stage(stage: str, id: str | None, entry: Entry) -> StageTime:
    return StageTime(stage=stage, id=id, seconds=entry.seconds, key=entry.key, reused=entry.reused)


def _size(artifact: Entry | None) -> int | None:
    if artifact is None:
        return None
    return files.size(artifact.path) - files.size(Path(artifact.path, "manifest.json"))
