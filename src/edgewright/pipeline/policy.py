"""The policy: which further candidates are worth their cost, by what is known of those that were built.

Cheap first: what answers outside the budget is not refined, and minutes of training are spent only where nothing
cheaper stays inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgewright.pipeline.candidate import Candidate
from edgewright.pipeline.score import checked, is_inside, is_of_answers
from edgewright.pipeline.state import Build, RunState
from edgewright.pipeline.timing import first_look, p50
from edgewright.quantize import methods
from edgewright.quantize.calibration.images import MINIMUM
from edgewright.runtimes.options import Options


def unbuilt(state: RunState, proposed: Sequence[Candidate]) -> list[Candidate]:
    """Those of `proposed` that were not built yet."""
    known = [build.candidate for build in state.builds]
    return [candidate for candidate in proposed if candidate not in known]


def finalists(state: RunState) -> list[Candidate]:
    """The candidates that get variations: the fastest at a first look of those inside the budget; of all if none is."""
    alive = [build for build in state.builds if build.alive]
    first = first_look(state, alive)
    timed = [build for build in [b for b in alive if is_inside(state, b)] or alive if p50(first, build)]
    timed.sort(key=lambda build: p50(first, build))
    return [build.candidate for build in timed[: state.job.recipe.finalists]]


def outside(state: RunState) -> list[Candidate]:
    """An INT8 candidate of each model, scheme and options of which none is inside the budget, while float is.

    Where the recipe names the INT8 methods there is none: no other is to be tried.
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
        and is_inside(state, floats.get((compression, options), state.reference))
    ]


def losing(state: RunState) -> Iterator[tuple[Build, Build]]:
    """Of each runtime and precision whose INT8 artifacts are all outside the budget the float one, which is inside, and
    the INT8 one that loses least, where that is the faster of the two."""
    builds = [b for b in state.builds if b.alive and not b.candidate.variant.float_blocks]
    first = first_look(state, builds)
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
    """Whether more than what `mixed` has is to stay in float: it is outside the budget, and faster than `exact`."""
    if not mixed.alive or is_inside(state, mixed):
        return False
    first = first_look(state, [exact, mixed])
    return p50(first, mixed) < p50(first, exact)


def rewritable(state: RunState) -> list[Build]:
    """Those that are built again of a rewritten model: of the whole model, by OpenVINO, and inside the budget.

    But for mixed precision and what is trained, which take many times as long.
    """
    if not state.measured_here or state.given is not None:
        return []
    return [build for build in state.builds if _is_plain(build) and is_inside(state, build)]


def is_any_faster(state: RunState, builds: Sequence[Build], again: Sequence[Build]) -> bool:
    """Whether one of `builds` is faster as it was built `again`."""
    seen = first_look(state, [*builds, *again])
    return any(0 < p50(seen, less) < p50(seen, build) for build, less in zip(builds, again))


def has_enough_images(state: RunState) -> bool:
    """Whether INT8 could be calibrated."""
    return len(set(state.images.calibration.digests)) >= MINIMUM


def _is_plain(build: Build) -> bool:
    variant = build.candidate.variant
    is_trained = variant.method is not None and methods.get(variant.method).needs("checkpoint")
    is_ours = build.alive and build.candidate.traits.prefers_slices
    return is_ours and not (variant.compression or variant.float_blocks or is_trained)


def _shortfall(state: RunState, build: Build) -> float:
    """How much of the budget's accuracy is missing."""
    return sum(max(-(term.by or 0.0), 0.0) for term in checked(state, build) if is_of_answers(term.metric))
