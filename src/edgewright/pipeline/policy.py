"""The policy: which further candidates are worth their cost, given the results so far.

Cheap candidates come first. A candidate outside the budget is not refined further. Training, which takes minutes,
starts only if no cheaper candidate is inside the budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import msgspec

from edgewright.bench.metrics import LATENCIES
from edgewright.pipeline import deadline
from edgewright.pipeline.candidate import Candidate
from edgewright.pipeline.score import checked, is_good_enough, is_inside, is_of_answers, score, standing
from edgewright.pipeline.state import Build, RunState
from edgewright.pipeline.timing import latency, p50, ratio_of, screen, screen_new
from edgewright.quantize import methods
from edgewright.quantize.calibration.images import MINIMUM
from edgewright.runtimes.options import Options

NOISE = 1.03
"""A family is slower than another if the whole interval of their latency ratio in screening exceeds this factor."""
ELSEWHERE = 1.1
"""The largest speedup of other Q/DQ placements; a family that is slower than the best by more gets none."""
REWRITTEN = 1.4
"""The largest speedup of a rewritten model (HardSwish, no shuffles)."""
VARIED = 1.15
"""The largest speedup of a variation (normalization in the graph, threads)."""
QUICK = ("minmax", "nncf")
"""The INT8 methods of `--effort quick`: they take seconds."""


def unbuilt(state: RunState, proposed: Sequence[Candidate]) -> list[Candidate]:
    """Those of `proposed` that are neither built nor skipped."""
    known = [build.candidate for build in state.builds]
    return [candidate for candidate in proposed if candidate not in known]


Choose = Callable[[RunState, Sequence[Candidate]], tuple[list[Candidate], list[Build]]]
"""Returns the proposed candidates to build next, and the skipped ones with their reason."""


def every(state: RunState, proposed: Sequence[Candidate]) -> tuple[list[Candidate], list[Build]]:
    """Build all of `proposed` next; skip them if the time limit is reached."""
    waiting = unbuilt(state, proposed)
    if not deadline.is_over(state):
        return (_limited(state, waiting) if waiting else []), []
    why = deadline.reason(state)
    return [], [Build(candidate=candidate, left_out=why) for candidate in waiting]


def choose(state: RunState, proposed: Sequence[Candidate]) -> tuple[list[Candidate], list[Build]]:
    """Which of `proposed` to build next. If there are none: which to skip, with the reason.

    Effort "thorough" builds all at once. Otherwise float candidates are built at once. INT8 candidates that differ
    only in their method are built one after the other, the cheapest first, as long as they can change the choice.
    """
    waiting = unbuilt(state, proposed)
    if state.job.recipe.effort == "thorough" or deadline.is_over(state):
        return every(state, proposed)
    if state.measured_here and any(candidate.variant.method for candidate in waiting):
        screen_new(state)
    groups: dict[Candidate, list[Candidate]] = {}
    for candidate in waiting:
        groups.setdefault(_apart_from_method(candidate), []).append(candidate)
    now, reasons = list[Candidate](), dict[Candidate, str]()
    for group in groups.values():
        for candidate in group:
            if not (why := why_not(state, candidate)):
                now.append(candidate)
                break
            reasons[candidate] = why
    if now:
        return _limited(state, now), []
    return [], [Build(candidate=candidate, left_out=why) for candidate, why in reasons.items()]


def _limited(state: RunState, candidates: list[Candidate]) -> list[Candidate]:
    """`candidates`; with a time limit only float ones, then the cheapest method for the fastest family."""
    exact = [candidate for candidate in candidates if candidate.variant.method is None]
    if state.deadline is None or exact:
        return exact if state.deadline else candidates
    order = [*methods.METHODS, *methods.OTHERS]

    def gain(candidate: Candidate) -> tuple[int, float]:
        group = _apart_from_method(candidate)
        like = [latency(state, b) for b in state.builds if b.alive and _apart_from_method(b.candidate) == group]
        return order.index(candidate.variant.method or ""), min((found for found in like if found), default=0.0)

    return [min(candidates, key=gain)]


def why_not(state: RunState, candidate: Candidate) -> str:
    """Why `candidate` cannot change the choice, given the results so far; empty if it can."""
    if candidate.variant.method is None or state.job.recipe.effort == "thorough":
        return ""
    quick = (*QUICK, *(state.job.recipe.methods or ()))
    if state.job.recipe.effort == "quick" and candidate.variant.method not in quick:
        return "--effort quick tries only the fast INT8 methods."
    group = _apart_from_method(candidate)
    tried = [build for build in state.builds if build.alive and _apart_from_method(build.candidate) == group]
    for build in tried:
        if is_good_enough(state, build):
            within = "confirmed within" if standing(state, build) == "proven" else "within"
            return f"A cheaper INT8 method of the same scheme is {within} the budget."
    like = [build for build in tried if _placement(build.candidate) == _placement(candidate)]
    if tried and (why := _as_its_twin(state, (like or tried)[0])):
        return why
    return slower(state, like or tried, NOISE if like else ELSEWHERE)


def _as_its_twin(state: RunState, build: Build) -> str:
    """Why another build is better than `build`, if both differ only in the float precision of layers outside INT8.

    The faster one is better; of equally fast ones the one in float32, which is closer to the reference. Returns an
    empty string if no other is better.
    """
    for other in state.builds if build.candidate.variant.scheme and _is_speed_all(state) else ():
        if not other.alive or other is build or _in_f32(other.candidate) != _in_f32(build.candidate):
            continue
        ratio = ratio_of(state, build, other)
        if ratio and (ratio.low > 1 or (ratio.high >= 1 and other.candidate.options.precision == "f32")):
            return f"Not faster than {other.candidate.id} in screening."
    return ""


def to_answer(state: RunState) -> list[Build]:
    """Which builds to evaluate next: with effort "thorough" all at once.

    Otherwise two at a time, the fastest in screening first, as long as they can win. The fastest float32 build is
    always evaluated: it shows whether the images can confirm the budget at all.
    """
    waiting = [build for build in state.builds if build.alive and build.artifact and build.answers is None]
    if state.job.recipe.effort == "thorough" or not state.measured_here or not waiting:
        return waiting
    screen_new(state)
    by_speed = sorted(state.builds, key=lambda build: latency(state, build) or math.inf)
    exact = [build for build in by_speed if build.alive and build.candidate.precision == "f32"][:1]
    near = [build for build in by_speed if build in waiting and not _why_unanswered(state, build)]
    return [build for build in dict.fromkeys((*exact, *near)) if build in waiting][:2]


def leave_unanswered(state: RunState) -> list[Build]:
    """Mark the builds as skipped that were not evaluated since they cannot win. Returns them."""
    asked = state.measured_here and state.job.recipe.effort != "thorough"
    waiting = [build for build in state.builds if asked and build.alive and build.answers is None]
    left = {build: why for build in waiting if (why := _why_unanswered(state, build))}
    for build, why in left.items():
        build.left_out = why
    return list(left)


def _why_unanswered(state: RunState, build: Build) -> str:
    return slower(state, [build], NOISE) or _as_its_twin(state, build)


def slower(state: RunState, builds: Sequence[Build], margin: float) -> str:
    """Why no build like one of `builds` can win: screening found all slower than the build to beat, by over `margin`.

    The whole interval of the ratio has to exceed `margin`. Empty if one can win, or if that is unknown.
    """
    rival = to_beat(state) if _is_speed_all(state) else None
    ratios = [ratio for build in builds if rival and (ratio := ratio_of(state, build, rival))]
    if not rival or not ratios or rival in builds:
        return ""
    ratio = min(ratios, key=lambda found: found.value)
    if ratio.low <= margin:
        return ""
    return f"{ratio.value:.2g}x slower than {rival.candidate.id} in screening."


def to_beat(state: RunState) -> Build | None:
    """The fastest build in screening that is good enough; if there is none, the fastest inside the budget."""
    alive = [build for build in state.builds if build.alive and latency(state, build)]
    good = [build for build in alive if is_good_enough(state, build)] or [
        b for b in alive if _is_known_inside(state, b)
    ]
    return min(good, key=lambda build: latency(state, build) or 0.0, default=None)


def could_win(state: RunState, builds: Sequence[Build], margin: float) -> bool:
    """Whether a change that is up to `margin` times faster could make one of `builds` the fastest inside the budget."""
    return state.job.recipe.effort == "thorough" or not slower(state, builds, margin)


def finalists(state: RunState) -> list[Candidate]:
    """The candidates that get variations: the fastest in screening inside the budget, else the fastest of all.

    Unless the effort is "thorough": one candidate of each family, and only families that may be the fastest.
    """
    if state.job.recipe.effort == "thorough":
        alive = [build for build in state.builds if build.alive]
        first = screen(state, alive)
        timed = [build for build in [b for b in alive if is_inside(state, b)] or alive if p50(first, build)]
        timed.sort(key=lambda build: p50(first, build))
        return [build.candidate for build in timed[: state.job.recipe.finalists]]
    screen_new(state)
    rival = to_beat(state)
    inside = [build for build in state.builds if build.alive and _is_known_inside(state, build)]
    inside = [build for build in inside if is_good_enough(state, build)] or inside
    inside = [build for build in inside if not _as_its_twin(state, build)]
    inside.sort(key=lambda build: (latency(state, build) or math.inf, -_value(state, build)))
    limit = VARIED * ((latency(state, rival) if rival else None) or math.inf)
    near = [build for build in inside if (latency(state, build) or math.inf) <= limit]
    families = {build.candidate.family: build.candidate for build in reversed(near)}
    found = list(reversed(families.values())) if rival else []
    return found[: state.job.recipe.finalists]


def outside(state: RunState) -> list[Candidate]:
    """One INT8 candidate for each model, scheme and options whose INT8 builds are all outside the budget.

    The float build has to be inside. Empty if the recipe names the INT8 methods: then no other method is tried.
    """
    if state.job.recipe.methods is not None:
        return []
    families: dict[tuple[str, str, Options], list[Build]] = {}
    floats: dict[tuple[str, Options], Build] = {}
    for build in state.builds:
        variant, options = build.candidate.variant, build.candidate.options
        if build.alive and variant.scheme:
            families.setdefault((variant.compression, variant.scheme, options), []).append(build)
        elif build.alive:
            floats[(variant.compression, options)] = build
    return [
        tried[0].candidate
        for (compression, _, options), tried in families.items()
        if not any(is_inside(state, build) for build in tried)
        and could_win(state, tried, NOISE)
        and is_inside(state, floats.get((compression, options), state.reference))
    ]


def losing(state: RunState) -> Iterator[tuple[Build, Build]]:
    """Pairs (float build, INT8 build) for each runtime and precision whose INT8 builds are all outside the budget.

    The float build is inside the budget. The INT8 build is the one that loses least; it is faster than the float one.
    """
    builds = [b for b in state.builds if b.alive and not b.candidate.variant.float_blocks]
    first = screen(state, builds)
    whole = [build for build in builds if not build.candidate.variant.compression and p50(first, build)]
    for exact in whole:
        variant = exact.candidate.variant
        quantized = [b for b in whole if b.candidate.variant.scheme and b.candidate.options == exact.candidate.options]
        if variant.scheme or variant.is_int8 or not quantized or not is_inside(state, exact):
            continue
        if not any(is_inside(state, build) for build in quantized):
            int8 = min(quantized, key=lambda build: _shortfall(state, build))
            if p50(first, int8) < p50(first, exact):
                yield exact, int8


def is_worth_more(state: RunState, exact: Build, mixed: Build) -> bool:
    """Whether to keep more layers in float than `mixed` does: it is outside the budget, and faster than `exact`."""
    if not mixed.alive or is_inside(state, mixed):
        return False
    first = screen(state, [exact, mixed])
    return p50(first, mixed) < p50(first, exact)


def rewritable(state: RunState) -> list[Build]:
    """The builds to build again from a rewritten model: uncompressed, for OpenVINO, and inside the budget.

    Mixed precision and trained variants are excluded: they take many times as long.
    """
    if not state.measured_here or state.given is not None:
        return []
    plain = [build for build in state.builds if _is_plain(build) and is_inside(state, build)]
    if state.job.recipe.effort == "thorough":
        return plain
    families = {build.candidate.family: build for build in plain if could_win(state, [build], REWRITTEN)}
    return list(families.values())


def is_any_faster(state: RunState, builds: Sequence[Build], again: Sequence[Build]) -> bool:
    """Whether one of `builds` is faster in its new build in `again` (same order)."""
    seen = screen(state, [*builds, *again])
    return any(0 < p50(seen, less) < p50(seen, build) for build, less in zip(builds, again))


def has_enough_images(state: RunState) -> bool:
    """Whether there are enough calibration images for INT8."""
    return len(set(state.images.calibration.digests)) >= MINIMUM


def _apart_from_method(candidate: Candidate) -> Candidate:
    return msgspec.structs.replace(candidate, variant=msgspec.structs.replace(candidate.variant, method=None))


def _in_f32(candidate: Candidate) -> Candidate:
    """`candidate` with float32 for all layers that are not quantized."""
    return msgspec.structs.replace(candidate, options=msgspec.structs.replace(candidate.options, precision="f32"))


def _placement(candidate: Candidate) -> str:
    return methods.get(candidate.variant.method).placement if candidate.variant.method else ""


def _is_speed_all(state: RunState) -> bool:
    """Whether a slower variant can never be better: the budget limits no size, memory or start time."""
    limits = state.job.budget.limits if state.job.budget else ()
    faster = {*LATENCIES, "speedup", "throughput"}
    return all(is_of_answers(limit.metric) or limit.metric in faster for limit in limits)


def _is_known_inside(state: RunState, build: Build) -> bool:
    return build.answers is not None and standing(state, build) != "outside"


def _value(state: RunState, build: Build) -> float:
    """The change of the primary score against the reference; 0 if unknown."""
    found = score(state, build)
    return found.delta.value if found and found.delta else 0.0


def _is_plain(build: Build) -> bool:
    variant = build.candidate.variant
    is_trained = variant.method is not None and methods.get(variant.method).needs("checkpoint")
    is_ours = build.alive and build.candidate.traits.prefers_slices
    return is_ours and not (variant.compression or variant.float_blocks or is_trained)


def _shortfall(state: RunState, build: Build) -> float:
    """By how much the accuracy terms of the budget are missed, in total."""
    return sum(max(-(term.by or 0.0), 0.0) for term in checked(state, build) if is_of_answers(term.metric))
