"""The run: from a source, images and a target to measurements, a choice, a bundle and a report.

A candidate that fails is a row with its reason, and the rest goes on. What the user gave wrong (an image, a label, a
checkpoint, a full disk) ends the run.
"""

from __future__ import annotations

from dataclasses import replace

from edgewright.core.errors import EdgewrightError
from edgewright.pipeline import hosts
from edgewright.pipeline.builder import CandidateBuilder, prepare
from edgewright.pipeline.candidate import Candidate, compressed
from edgewright.pipeline.candidates import hardswish, mixed_precision, shuffles
from edgewright.pipeline.candidates.compression import compress
from edgewright.pipeline.hosts import Host
from edgewright.pipeline.score import at_chance
from edgewright.pipeline.stages import audit as audits
from edgewright.pipeline.stages.compile import compile_reference
from edgewright.pipeline.stages.runner import StageRunner
from edgewright.pipeline.state import REFERENCE, Build, Job, RunState


def run(job: Job, runner: StageRunner, host: Host | None = None) -> RunState:
    """Build every candidate and, where `host` (default: this machine) is the target, measure it there.

    What the recipe wants to be compared with the model as it is, every candidate is built of too.
    Candidates for TensorRT on a device that is not at hand are checked, and their answers emulated, here. The reference
    answers first: where it is at chance nothing is built.
    """
    builder, candidates = prepare(job, runner, host or hosts.here())
    job = builder.job
    state = RunState(
        job=job,
        spec=builder.spec,
        images=builder.images,
        exported=builder.exported,
        reference=Build(candidate=REFERENCE),
        builds=[],
        measured_here=builder.measure,
        host=builder.host,
        given=builder.given,
    )
    if builder.measure:
        state.reference.artifact = compile_reference(runner, builder.exported, builder.spec)
        builder.evaluate(state.reference)
        if (chance := at_chance(state)) and chance.level == "error":
            why = f"Not built: {chance.code}, so no accuracy can be judged."
            return replace(state, builds=[Build(candidate=c, failed_in="evaluate", reason=why) for c in candidates])
    builder, candidates, failed, predicted = _compressed(builder, candidates)
    builds = [builder.build(candidate) for candidate in candidates] + failed
    quantizes = any(candidate.variant.scheme for candidate in candidates)
    state = replace(
        state, builds=builds, predicted=predicted,
        images_audit=audits.audit_images(runner, builder.images, builder.spec) if quantizes else None,
    )  # fmt: skip
    if builder.measure or any(build.emulated for build in builds):
        if not builder.measure:
            state.reference.artifact = compile_reference(runner, builder.exported, builder.spec)
            builder.evaluate(state.reference)
        for build in builds:
            builder.evaluate(build)
        builds += builder.distil(state)
        if builder.measure and job.recipe.mixed_precision:
            builds += mixed_precision.look(builder, state)
        if builder.given is None:
            builder, more = shuffles.look(builder, state)
            builds += more
            builder, more = hardswish.look(builder, state)
            builds += more
        builds += builder.vary(state) if builder.measure else []
        for build in builds:
            builder.evaluate(build)
            builder.audit(build)
    return replace(state, base=builder.time(state.reference, builds)) if builder.measure else state


def _compressed(
    builder: CandidateBuilder, candidates: list[Candidate]
) -> tuple[CandidateBuilder, list[Candidate], list[Build], dict[str, tuple[str, float]]]:
    """`builder` and `candidates` with those of each compressed model, a failed build for each that is not there, and
    what is predicted of them (as in `RunState`)."""
    models, every, failed, predicted = {}, list(candidates), list[Build](), {}
    for name, (stage, model, own, left) in compress(builder, candidates).items():
        named = [compressed(c, name) for c in own]
        if isinstance(model, EdgewrightError):
            failed.append(Build(candidate=named[0], failed_in=stage, reason=f"{model.what} {model.why}".strip()))
            continue
        models[name] = model
        every += named
        if left is not None:
            predicted[named[0].id] = (own[0].id, left)
    return replace(builder, compressed=models), every, failed, predicted
