"""The time limit of a run: what is begun, what is stopped, how long is left to measure."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence

import msgspec

from edgewright.bench.latency import Rules
from edgewright.pipeline.state import Build, RunState

MEASURE_S, FINISH_S = 4.0, 12.0
"""What an artifact takes in the last measurement, and what else is done at the end (audit, statistics, report)."""


def is_over(state: RunState) -> bool:
    """Whether no more work is to begin, so that what was built can be measured within the time limit."""
    return seconds_left(state) <= 0 and any(build.alive for build in state.builds)


def reason(state: RunState) -> str:
    """Why something is left out that there was no time for."""
    return f"The time limit of {state.job.recipe.within_s or 0:g} s was reached."


def seconds_left(state: RunState) -> float:
    """Until the last measurement has to begin; without a time limit for ever."""
    if state.deadline is None:
        return math.inf
    alive = sum(build.alive for build in (state.reference, *state.builds))
    return state.deadline - time.monotonic() - FINISH_S - alive * MEASURE_S


@contextlib.contextmanager
def in_time(state: RunState) -> Iterator[None]:
    """Stop a stage that would go on beyond the time limit, where something was built already."""
    runner = state.runner
    if state.deadline is not None and any(build.alive for build in state.builds):
        limits = msgspec.structs.replace(runner.limits, wall_s=min(runner.limits.wall_s, max(seconds_left(state), 1.0)))
        state.runner = msgspec.structs.replace(runner, limits=limits)
    try:
        yield
    finally:
        state.runner = runner


def leave_stopped(state: RunState, builds: Sequence[Build]) -> None:
    """Say of those of `builds` that were stopped, and would not have been without the time limit, that they were."""
    for build in builds:
        if build.failure and build.failure.timed_out and seconds_left(state) <= 0:
            build.left_out, build.failure = f"{reason(state)} It was stopped in {build.failure.stage}.", None


def rules(state: RunState, asked: Rules, artifacts: int) -> Rules:
    """`asked`; where there is no time for it each artifact is opened once and measured briefly."""
    if state.deadline is None or state.deadline - time.monotonic() > FINISH_S / 2 + artifacts * MEASURE_S:
        return asked
    return msgspec.structs.replace(asked, launches=1, min_duration_s=min(asked.min_duration_s, 0.5), max_duration_s=1.0)
