"""The latency of builds: a screening that decides what else to build, and the measurements of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from edgewright.bench.latency import Rules, Timing
from edgewright.core import statistics
from edgewright.core.statistics import Estimate
from edgewright.data.sets import ImageSet
from edgewright.pipeline import deadline, rows
from edgewright.pipeline.score import is_inside
from edgewright.pipeline.stages.measure import Interleaved, interleaved
from edgewright.pipeline.state import REFERENCE, Build, Failure, RunState

LATENCY_IMAGES = 4

SCREENING = Rules(
    min_duration_s=0.2, min_count=24, max_duration_s=3.0, rounds=8, launches=1, within=0.1, warm_up_s=0.4, inside=()
)
"""Rules of a screening, which only decides what else to build; the report has none of its numbers."""


def screen(state: RunState, builds: Sequence[Build]) -> dict[str, Timing]:
    """Screen those of `builds` that are alive. Returns their timings by id."""
    alive = [build for build in builds if build.alive and build.artifact]
    key = tuple(build.artifact.key for build in alive if build.artifact)
    if key not in state.screenings:
        state.screenings[key] = timings(state, "screen", alive, SCREENING, fresh=False)
        for build in alive:
            rows.report(state, build, p50(state.screenings[key], build) or None)
    return state.screenings[key]


def screen_new(state: RunState) -> None:
    """Screen one build of each family that was not screened yet, together with the two fastest known builds."""
    known = {build.candidate.family for build in _seen(state)}
    new = {build.candidate.family: build for build in reversed(state.builds) if build.alive and build.artifact}
    new = {family: build for family, build in reversed(new.items()) if family not in known}
    if new:
        anchors = sorted(_seen(state), key=lambda build: latency(state, build) or math.inf)[:2]
        screen(state, [*anchors, *new.values()])


def latency(state: RunState, build: Build) -> float | None:
    """The median screening latency of the family of `build` in ms, on the scale of the first screening."""
    first = next(iter(_seen(state)), None)
    ratio = ratio_of(state, build, first) if first else None
    return ratio.value * p50(_screenings(state)[0], first) if ratio and first else None


def ratio_of(state: RunState, one: Build, other: Build) -> Estimate | None:
    """How many times slower `one` (or its family) is than `other`.

    From a screening that has both, or by way of a third build. None if one of them was not screened.
    """
    ours, theirs = _representative(state, one), _representative(state, other)
    if ours is None or theirs is None:
        return None
    if ours is theirs:
        return Estimate(1.0, 1.0, 1.0)
    screenings = _screenings(state)
    for found in reversed(screenings):
        if ratio := _ratio(found, ours, theirs):
            return ratio
    for third in _seen(state):
        one_way = [ratio for found in screenings if (ratio := _ratio(found, ours, third))]
        onward = [ratio for found in screenings if (ratio := _ratio(found, third, theirs))]
        if third not in (ours, theirs) and one_way and onward:
            return Estimate(*(a * b for a, b in zip(one_way[-1], onward[-1])))
    return None


def _screenings(state: RunState) -> list[dict[str, Timing]]:
    return [found for found in state.screenings.values() if len(found) > 1]


def _seen(state: RunState) -> list[Build]:
    return [build for build in state.builds if any(p50(found, build) for found in _screenings(state))]


def _representative(state: RunState, build: Build) -> Build | None:
    return next((one for one in _seen(state) if one.candidate.family == build.candidate.family), None)


def _ratio(found: Mapping[str, Timing], one: Build, other: Build) -> Estimate | None:
    """The latency ratio by the rounds of one screening; with too few rounds an interval of ±10%."""
    ours, theirs = (seen.latency if (seen := found.get(b.candidate.id)) else None for b in (one, other))
    if not (ours and theirs and ours.p50_ms and theirs.p50_ms):
        return None
    value = ours.p50_ms / theirs.p50_ms
    ratio = statistics.ratio_of_rounds(ours.rounds_p50_ms, theirs.rounds_p50_ms)
    return ratio or Estimate(value, value / 1.1, value * 1.1)


def p50(timings: Mapping[str, Timing], build: Build) -> float:
    """The median latency of `build` in ms; 0 if it has none."""
    latency = timings[build.candidate.id].latency if build.candidate.id in timings else None
    return (latency.p50_ms if latency else None) or 0.0


def time(state: RunState) -> None:
    """Measure all builds that are alive, and the reference, in one interleaved run. Sets what speedups refer to.

    A remote device has no torch: there the latency of the first float32 artifact is used for the reference. The same
    holds for a source that is already quantized, and for a quick run, since torch starts slowly.
    """
    recipe = state.job.recipe
    asked = state.job.budget is not None and any(limit.metric == "speedup" for limit in state.job.budget.limits)
    with_reference = state.host.is_here and (asked or recipe.effort != "quick")
    every = (state.reference, *state.builds) if with_reference else state.builds
    alive = [build for build in every if build.alive and build.artifact]
    if not alive:
        return
    inside = tuple(build.candidate.id for build in alive if build is not state.reference and is_inside(state, build))
    rules = Rules(
        min_duration_s=recipe.min_duration_s, min_count=recipe.min_count, rate_hz=recipe.fps, seed=recipe.seed,
        inside=inside or None, enough=None if _asks_for_tails(state) else 64,
    )  # fmt: skip
    # The reference of an INT8 file computes each step exactly in float: its speed means nothing.
    others = [build.candidate for build in alive if build is not state.reference]
    plain = (candidate.id for candidate in others if state.given or candidate.precision == "f32")
    state.base = REFERENCE.id if with_reference and state.given is None else next(plain, None)
    if recipe.effort == "quick":
        rules = msgspec.structs.replace(rules, launches=1, min_duration_s=min(rules.min_duration_s, 0.5))
    rules = deadline.rules(state, rules, len(alive))
    found = timings(state, "latency", alive, rules, fresh=state.job.remeasure, base=state.base)
    for build in alive:
        build.timing = found[build.candidate.id]
        if build.timing.reason:
            build.failure = Failure(build.timing.stage or "latency", build.timing.reason)
        rows.report(state, build)


def _asks_for_tails(state: RunState) -> bool:
    """Whether the budget needs p95 or p99 of every variant: the 64 samples of p90 are too few for them."""
    return any(limit.metric in ("p95", "p99") for limit in (state.job.budget.limits if state.job.budget else ()))


def timings(
    state: RunState, stage: str, builds: Sequence[Build], rules: Rules, fresh: bool, base: str | None = None
) -> dict[str, Timing]:
    """Measure `builds` in one interleaved run, stored as `stage`; speedups refer to `base`."""
    asked = Interleaved(
        artifacts={build.candidate.id: build.artifact for build in builds if build.artifact},
        images=few(state), rules=rules, target=state.job.target, base=base,
        is_evidence=stage == "latency",
    )  # fmt: skip
    return interleaved(state.runner, state.host, stage, asked, fresh)


def few(state: RunState) -> ImageSet:
    """The images for latency measurements."""
    return state.images.evaluation.only(state.images.evaluation.items[:LATENCY_IMAGES])
