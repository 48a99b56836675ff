"""The run: from a source, images and a target to the measurements of every candidate that is worth its cost.

A candidate that fails is a row with its reason, and the run continues. An invalid input of the user (an image, a
label, a checkpoint) or a full disk ends the run.
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

UPFRONT: Sequence[ModuleType] = (base, compression)
"""Proposers that need no evaluation results."""
BY_RESULTS: Sequence[ModuleType] = (distillation, mixed_precision, shuffles, hardswish)
"""Proposers that use the accuracy and latency of earlier candidates."""
FOR_FINALISTS: Sequence[ModuleType] = (variations,)


def run(job: Job, runner: StageRunner, host: Host | None = None) -> RunState:
    """Build every candidate. Measure it if `host` (default: this machine) is the target.

    Candidates for TensorRT on a device that is not available are checked and their accuracy is emulated. The reference
    is evaluated first: if it is no better than chance, nothing is built.
    """
    begin = time.monotonic()
    state = prepare(job, runner, host or hosts.here())
    state.deadline = begin + job.recipe.within_s if job.recipe.within_s else None
    if state.measured_here:
        builder.build_reference(state)
        if (chance := at_chance(state)) and chance.level == "error":
            why = Failure("evaluate", f"Not built: accuracy cannot be judged ({chance.code}).")
            state.builds = [Build(candidate=candidate, failure=why) for candidate in base.propose(state)]
            return state
    _extend(state, UPFRONT)
    if any(build.candidate.variant.scheme for build in state.builds):
        state.images_audit = audits.audit_images(runner, state.images, state.spec)
    if state.measured_here or any("emulate" in build.results for build in state.builds):
        if not state.measured_here:
            builder.build_reference(state)
            builder.answer_all(state, state.builds)
        if job.recipe.effort != "quick":
            _extend(state, BY_RESULTS)
            _extend(state, FOR_FINALISTS, policy.every)
        for build in policy.leave_unanswered(state):
            rows.report(state, build)
        builder.audit_all(state, state.builds)
    if state.measured_here:
        timing.time(state)
    return state


def _extend(state: RunState, proposers: Sequence[ModuleType], choose: policy.Choose = policy.choose) -> None:
    """Build the candidates of each proposer that can still change the choice, until it proposes nothing more.

    New builds are screened and evaluated, since the next decision depends on them. Skipped candidates become rows with
    a reason.
    """
    for proposer in proposers:
        while proposer in UPFRONT or not deadline.is_over(state):
            candidates, left_out = choose(state, proposer.propose(state))
            state.builds += left_out
            for build in left_out:
                rows.report(state, build)
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
