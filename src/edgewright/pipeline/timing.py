"""The latency of what was built: a first look that decides what else is built, and the figures of the report."""

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
"""A first look at latency that only decides which candidates get variations; no figure of it is reported."""


def first_look(state: RunState, builds: Sequence[Build]) -> dict[str, Timing]:
    """Timings of those of `builds` that are alive, by id: short ones, that only decide what else is built."""
    alive = [build for build in builds if build.alive and build.artifact]
    key = tuple(build.artifact.key for build in alive if build.artifact)
    if key not in state.looks:
        state.looks[key] = timings(state, "screen", alive, SCREENING, fresh=False)
        for build in alive:
            rows.tell(state, build, p50(state.looks[key], build) or None)
    return state.looks[key]


def look(state: RunState) -> None:
    """See that of each family that was built one was looked at: beside the new ones the fastest two known."""
    known = {build.candidate.family for build in _seen(state)}
    new = {build.candidate.family: build for build in reversed(state.builds) if build.alive and build.artifact}
    new = {family: build for family, build in reversed(new.items()) if family not in known}
    if new:
        anchors = sorted(_seen(state), key=lambda build: latency(state, build) or math.inf)[:2]
        first_look(state, [*anchors, *new.values()])


def latency(state: RunState, build: Build) -> float | None:
    """The median latency in ms of the family of `build` at a first look, on the scale of the very first one."""
    first = next(iter(_seen(state)), None)
    ratio = ratio_of(state, build, first) if first else None
    return ratio.value * p50(_looks(state)[0], first) if ratio and first else None


def ratio_of(state: RunState, one: Build, other: Build) -> Estimate | None:
    """How many times slower `one` is than `other`, or what stands for each.

    By a look that has both, or by way of a third. None where one of the two was not seen.
    """
    ours, theirs = _representative(state, one), _representative(state, other)
    if ours is None or theirs is None:
        return None
    if ours is theirs:
        return Estimate(1.0, 1.0, 1.0)
    looks = _looks(state)
    for found in reversed(looks):
        if ratio := _ratio(found, ours, theirs):
            return ratio
    for third in _seen(state):
        one_way = [ratio for found in looks if (ratio := _ratio(found, ours, third))]
        onward = [ratio for found in looks if (ratio := _ratio(found, third, theirs))]
        if third not in (ours, theirs) and one_way and onward:
            return Estimate(*(a * b for a, b in zip(one_way[-1], onward[-1])))
    return None


def _looks(state: RunState) -> list[dict[str, Timing]]:
    return [found for found in state.looks.values() if len(found) > 1]


def _seen(state: RunState) -> list[Build]:
    return [build for build in state.builds if any(p50(found, build) for found in _looks(state))]


def _representative(state: RunState, build: Build) -> Build | None:
    return next((one for one in _seen(state) if one.candidate.family == build.candidate.family), None)


def _ratio(found: Mapping[str, Timing], one: Build, other: Build) -> Estimate | None:
    """The ratio by the rounds of one look; of too few rounds an interval of a tenth."""
    ours, theirs = (seen.latency if (seen := found.get(b.candidate.id)) else None for b in (one, other))
    if not (ours and theirs and ours.p50_ms and theirs.p50_ms):
        return None
    value = ours.p50_ms / theirs.p50_ms
    ratio = statistics.ratio_of_rounds(ours.rounds_p50_ms, theirs.rounds_p50_ms)
    return ratio or Estimate(value, value / 1.1, value * 1.1)


def p50(timings: Mapping[str, Timing], build: Build) -> float:
    """The median latency of `build` in ms; 0 where it has none."""
    latency = timings[build.candidate.id].latency if build.candidate.id in timings else None
    return (latency.p50_ms if latency else None) or 0.0


def time(state: RunState) -> None:
    """Measure all that is alive in one interleaved run, the reference with it, and say what speedups are against.

    A device has no torch: there the first artifact in float32 stands in for the reference's latency; of a file that
    is quantized already the first one does everywhere. So it does in a quick run, since starting torch takes long.
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
    # Of an INT8 file the reference computes each step in float: it is exact, and no measure of speed.
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
        rows.tell(state, build)


def _asks_for_tails(state: RunState) -> bool:
    """Whether the budget needs p95 or p99 of every variant, for which p90's 64 samples are too few."""
    return any(limit.metric in ("p95", "p99") for limit in (state.job.budget.limits if state.job.budget else ()))


def timings(
    state: RunState, stage: str, builds: Sequence[Build], rules: Rules, fresh: bool, base: str | None = None
) -> dict[str, Timing]:
    """`builds` measured in one interleaved run, stored as `stage`; speedups are against the one called `base`."""
    asked = Interleaved(
        artifacts={build.candidate.id: build.artifact for build in builds if build.artifact},
        images=few(state), rules=rules, target=state.job.target, base=base,
        is_evidence=stage == "latency",
    )  # fmt: skip
    return interleaved(state.runner, state.host, stage, asked, fresh)


def few(state: RunState) -> ImageSet:
    """The images that latency is measured on."""
    return state.images.evaluation.only(state.images.evaluation.items[:LATENCY_IMAGES])
