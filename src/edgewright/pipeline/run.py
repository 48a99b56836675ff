"""The run: from a source, images and a target to figures of every candidate that is worth its cost.

A candidate that fails is a row with its reason, and the rest goes on. What the user gave wrong (an image, a label, a
checkpoint, a full disk) ends the run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import ModuleType

from edgewright.pipeline import builder, deadline, hosts, policy, rows, timing
from edgewright.pipeline.candidates import (
    base,
    compression,
    distillation,
    hardswish,
    mixed_precision,
    shuffles,
    variations,
)
from edgewright.pipeline.hosts import Host
from edgewright.pipeline.prepare import prepare
from edgewright.pipeline.score import at_chance
from edgewright.pipeline.stages import audit as audits
from edgewright.pipeline.stages.runner import StageRunner
from edgewright.pipeline.state import Build, Failure, Job, RunState

AT_ANY_RATE: Sequence[ModuleType] = (base, compression)
"""What proposes candidates without a look at any answers."""
BY_ANSWERS: Sequence[ModuleType] = (distillation, mixed_precision, shuffles, hardswish)
"""What proposes more by what those before it answered, and how fast they are."""
OF_FINALISTS: Sequence[ModuleType] = (variations,)


def run(job: Job, runner: StageRunner, host: Host | None = None) -> RunState:
    """Build every candidate and, where `host` (default: this machine) is the target, measure it there.

    Candidates for TensorRT on a device that is not at hand are checked, and their answers emulated, here. The reference
    answers first: where it is at chance nothing is built.
    """
    begin = time.monotonic()
    state = prepare(job, runner, host or hosts.here())
    state.deadline = begin + job.recipe.within_s if job.recipe.within_s else None
    if state.measured_here:
        builder.build_reference(state)
        if (chance := at_chance(state)) and chance.level == "error":
            why = Failure("evaluate", f"Not built: {chance.code}, so no accuracy can be judged.")
            state.builds = [Build(candidate=candidate, failure=why) for candidate in base.propose(state)]
            return state
    _extend(state, AT_ANY_RATE)
    if any(build.candidate.variant.scheme for build in state.builds):
        state.images_audit = audits.audit_images(runner, state.images, state.spec)
    if state.measured_here or any("emulate" in build.results for build in state.builds):
        if not state.measured_here:
            builder.build_reference(state)
            builder.answer_all(state, state.builds)
        if job.recipe.effort != "quick":
            _extend(state, BY_ANSWERS)
            _extend(state, OF_FINALISTS, policy.every)
        for build in policy.leave_unanswered(state):
            rows.tell(state, build)
        builder.audit_all(state, state.builds)
    if state.measured_here:
        timing.time(state)
    return state


def _extend(state: RunState, proposers: Sequence[ModuleType], choose: policy.Choose = policy.choose) -> None:
    """Build what each of `proposers` proposes and can still change the choice, until it proposes nothing more.

    What was built is looked at and answers, so that the next step is decided by it; what is left out is a row with the
    reason.
    """
    for proposer in proposers:
        while proposer in AT_ANY_RATE or not deadline.is_over(state):
            candidates, left_out = choose(state, proposer.propose(state))
            state.builds += left_out
            for build in left_out:
                rows.tell(state, build)
            if not candidates:
                break
            with deadline.in_time(state):
                built = builder.build_all(state, candidates)
            deadline.leave_stopped(state, built)
            state.builds += built
            while state.reference.answers and (builds := policy.to_answer(state)):
                builder.answer_all(state, builds)
                if all(build.answers is None for build in builds):
                    break
