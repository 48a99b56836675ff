"""The steps of every candidate: quantize, rewrite, compile, evaluate, audit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec

from edgewright.core.errors import DiskFull, EdgewrightError, RuntimeFailed
from edgewright.core.spec import ModelSpec
from edgewright.core.store import Entry
from edgewright.pipeline import hosts, rows, side_by_side
from edgewright.pipeline.candidate import Candidate, Variant
from edgewright.pipeline.candidates.base import (
    is_installed,
    saturates,
)
from edgewright.pipeline.score import score
from edgewright.pipeline.stages import audit as audits
from edgewright.pipeline.stages import check as checks
from edgewright.pipeline.stages.audit import Subject
from edgewright.pipeline.stages.compile import compile_artifact, compile_reference, emulate, emulate_saturation, finish
from edgewright.pipeline.stages.measure import evaluate
from edgewright.pipeline.stages.mixed_precision import mix_precision
from edgewright.pipeline.stages.model import spec_of
from edgewright.pipeline.stages.quantize import halve, quantize
from edgewright.pipeline.stages.rewrite import answer_in_graph, fold_normalization
from edgewright.pipeline.stages.runner import in_few_children
from edgewright.pipeline.state import Build, Failure, RunState
from edgewright.runtimes import artifact as artifacts


def build_all(state: RunState, candidates: Sequence[Candidate]) -> list[Build]:
    """Build `candidates`, several at once. Returns the builds in the same order."""
    rows.waiting(state, candidates)
    shared = _parallel(state, len(candidates))
    # Candidates of one variant compile the same file: the first one creates it.
    return side_by_side.each(
        candidates,
        lambda one: build(shared, one),
        lambda one: one.variant if one.variant.scheme else one.id,
        shared.runner.parallel,
    )


def answer_all(state: RunState, builds: Sequence[Build]) -> None:
    """Evaluate each of `builds` that is alive and was not evaluated yet."""
    shared = _parallel(state, len(builds))
    side_by_side.each(builds, lambda one: answer(shared, one), id, shared.runner.parallel)


def audit_all(state: RunState, builds: Sequence[Build]) -> None:
    """Audit each of `builds` that was evaluated."""
    shared = _parallel(state, len(builds))
    with in_few_children(shared.runner) as runner:
        shared = dataclasses.replace(shared, runner=runner)
        # A child keeps the outputs of a model that it audited: artifacts of the same model share them.
        side_by_side.each(builds, lambda one: audit(shared, one), lambda one: one.results.get("model"), runner.parallel)


def _parallel(state: RunState, count: int) -> RunState:
    """`state` for parallel work on `count` artifacts; a remote device works on one at a time."""
    parallel = side_by_side.at_once(count) if state.host.is_here else 1
    return dataclasses.replace(state, runner=msgspec.structs.replace(state.runner, parallel=parallel))


def build(state: RunState, candidate: Candidate) -> Build:
    """Quantize and compile one candidate; fold normalization or FP16 into its graph if it asks for it."""
    built = _build(state, candidate)
    rows.report(state, built)
    return built


def _build(state: RunState, candidate: Candidate) -> Build:
    built, runner = Build(candidate=candidate), state.runner
    if not is_installed(candidate):
        built.failure = Failure("compile", f"{candidate.options.runtime} is not installed on this machine.")
        return built
    model = state.models[candidate.variant.compression]
    if isinstance(model, Failure):
        built.failure = model
        runner.watch(model.stage, candidate.id, 1, 1, f"failed: {model.what}")
        return built
    spec, results = state.spec, built.results
    if candidate.variant.scheme:
        with built.stage("quantize", runner):
            results["quantize"] = model = _quantized(state, candidate.variant, model)
    if built.alive and candidate.variant.normalize == "graph":
        with built.stage("normalize", runner):
            results["normalize"] = model = fold_normalization(runner, model, candidate.variant.name)
            spec = spec_of(model)
    if built.alive and candidate.variant.answers == "graph":
        with built.stage("rewrite", runner):
            results["rewrite"] = model = answer_in_graph(runner, model, candidate.variant.name)
            spec = spec_of(model)
    if built.alive and candidate.is_half:
        with built.stage("half", runner):
            results["half"] = model = halve(runner, model, candidate.id, state.images.calibration)
    results["model"] = model
    if built.alive:
        _compile(state, built, spec)
    return built


def _compile(state: RunState, built: Build, spec: ModelSpec) -> None:
    """Compile the model; emulate the artifact if it cannot run here as it does on its target."""
    runner, candidate, results = state.runner, built.candidate, built.results
    model, measured = results["model"], state.measured_here
    with built.stage("compile", runner):
        results["compile"] = compile_artifact(runner, model, spec, candidate, measured and state.host.is_here)
    if built.alive and measured and state.host.finishes(candidate.options):
        with built.stage("finish", runner):
            results["finish"] = finish(runner, results["compile"], candidate.id, state.host)
    if built.alive and candidate.traits.on_device and not measured:
        _check_and_emulate(state, built, spec)
    if built.alive and measured and saturates(candidate, state.job.target, state.host.machine):
        with built.stage("emulate", runner):
            results["emulate"] = emulate_saturation(runner, model, candidate, spec)


def _check_and_emulate(state: RunState, built: Build, spec: ModelSpec) -> None:
    """Check an artifact for TensorRT without its device (parser, builder, Q/DQ rules), and emulate its accuracy."""
    id, model = built.candidate.id, built.results["model"]
    with built.stage("check", state.runner):
        checked = checks.check(state.runner, model, id, built.candidate.options, state.job.target)
        built.results["check"] = checked
        found = checks.read(checked)
        if found.refused:
            raise RuntimeFailed(*found.refused, "Choose another variant.")
        if found.unbuilt:
            raise RuntimeFailed(found.unbuilt, "", "Choose another variant.")
    if built.alive:
        with built.stage("emulate", state.runner):
            built.results["emulate"] = emulate(state.runner, model, id, spec)


def _quantized(state: RunState, variant: Variant, model: Entry) -> Entry:
    calibration, seed = state.images.calibration, state.job.recipe.seed
    uniform = msgspec.structs.replace(variant, float_layers=(), float_blocks=0)
    whole = quantize(state.runner, model, uniform, calibration, seed)
    if not variant.float_layers:
        return whole
    return mix_precision(state.runner, model, whole, variant, calibration, seed)


def build_reference(state: RunState) -> None:
    """Compile and evaluate the reference."""
    rows.report(state, state.reference)
    state.reference.results["compile"] = compile_reference(state.runner, state.exported, state.spec)
    answer(state, state.reference)


def answer(state: RunState, built: Build) -> Entry | None:
    """Run one artifact on all evaluation images and score its outputs. The reference always runs on this machine.

    Returns None if the artifact failed, or cannot run here.
    """
    is_reference, emulated = built is state.reference, built.results.get("emulate")
    artifact = emulated or (built.artifact if state.measured_here or is_reference else None)
    if built.alive and artifact and built.answers is None:
        host = hosts.here() if is_reference or emulated else state.host
        with built.stage("evaluate", state.runner):
            built.results["evaluate"] = evaluate(
                state.runner, artifact, built.candidate.id, state.images.evaluation, host
            )
        with built.stage("score", state.runner):
            score(state, built)
        rows.report(state, built)
    return built.answers


def audit(state: RunState, built: Build) -> None:
    """Audit an artifact that was evaluated. A failed audit does not fail the build: it becomes a finding."""
    model, artifact, answers = built.results.get("model"), built.artifact, built.answers
    if not (state.measured_here and built.alive and model and artifact and answers):
        return
    target, options = state.job.target, built.candidate.options
    subject = Subject(
        model=model, artifact=artifact, options=options, spec=artifacts.read(artifact.path).spec, answers=answers,
        images=state.images.evaluation, isa=target.isa,
        answered_with=target.isa if "emulate" in built.results else state.host.machine.isa,
        described=audits.described(artifact, answers),
        runs_here=state.host.is_here and not built.candidate.traits.on_device,
    )  # fmt: skip
    try:
        built.results["audit"] = audits.audit(state.runner, built.candidate.id, subject)
    except DiskFull:
        raise
    except EdgewrightError as error:
        built.skipped["audit"] = Failure("audit", error.what, error.why)
        state.runner.watch("audit", built.candidate.id, 1, 1, f"failed: {error.what}")
