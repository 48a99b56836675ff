"""The time limit of a run (`--within`): whether to begin, when to stop, and how long to measure."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence

import msgspec

from edgewright.bench.latency import Rules
from edgewright.pipeline.state import Build, RunState

MEASURE_S, FINISH_S = 4.0, 12.0
"""Seconds that one artifact takes in the last measurement, and that the end of a run takes (audit, report)."""


def is_over(state: RunState) -> bool:
    """Whether to begin no more work, so that the time limit allows to measure what was built."""
    return seconds_left(state) <= 0 and any(build.alive for build in state.builds)


def reason(state: RunState) -> str:
    """Why a variant is skipped for lack of time, as a sentence."""
    return f"The time limit of {state.job.recipe.within_s or 0:g} s was reached."


def seconds_left(state: RunState) -> float:
    """Seconds until the last measurement has to begin; infinite without a time limit."""
    if state.deadline is None:
        return math.inf
    alive = sum(build.alive for build in (state.reference, *state.builds))
    return state.deadline - time.monotonic() - FINISH_S - alive * MEASURE_S


@contextlib.contextmanager
def in_time(state: RunState) -> Iterator[None]:
    """Limit the stages in this block to the time left, unless nothing was built yet."""
    runner = state.runner
    if state.deadline is not None and any(build.alive for build in state.builds):
        limits = msgspec.structs.replace(runner.limits, wall_s=min(runner.limits.wall_s, max(seconds_left(state), 1.0)))
        state.runner = msgspec.structs.replace(runner, limits=limits)
    try:
        yield
    finally:
        state.runner = runner


def leave_stopped(state: RunState, builds: Sequence[Build]) -> None:
    """Mark those of `builds` as skipped that the time limit stopped: they did not fail."""
    for build in builds:
        if build.failure and build.failure.timed_out and seconds_left(state) <= 0:
            build.left_out, build.failure = f"{reason(state)} It was stopped in {build.failure.stage}.", None


def rules(state: RunState, asked: Rules, artifacts: int) -> Rules:
    """`asked`; if the time is too short for it, rules that open each artifact once and measure it briefly."""
    if state.deadline is None or state.deadline - time.monotonic() > FINISH_S / 2 + artifacts * MEASURE_S:
        return asked
    return msgspec.structs.replace(asked, launches=1, min_duration_s=min(asked.min_duration_s, 0.5), max_duration_s=1.0)
