"""Variations of the finalists: other thread counts, and normalization in the graph (uint8 input)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from edgewright.pipeline import policy
from edgewright.pipeline.candidate import Candidate
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.state import RunState


def propose(state: RunState) -> list[Candidate]:
    """The variations of the finalists; empty if nothing is measured, or if they were built."""
    recipe = state.job.recipe
    alive = [build.candidate for build in state.builds if build.alive]
    if not state.measured_here or any(is_varied(build.candidate, recipe) for build in state.builds):
        return []
    return variations(policy.finalists(state), recipe) if variations(alive, recipe) else []


def is_varied(candidate: Candidate, recipe: Recipe) -> bool:
    """Whether `candidate` is a variation of a base candidate."""
    threads = recipe.threads[0] if candidate.traits.threads else 0
    return (candidate.variant.normalize, candidate.options.threads) != (recipe.normalize[0], threads)


def variations(finalists: Iterable[Candidate], recipe: Recipe) -> list[Candidate]:
    """The finalists with the recipe's other thread counts, and with normalization in the graph."""
    return [
        Candidate(
            variant=msgspec.structs.replace(candidate.variant, normalize=normalize),
            options=msgspec.structs.replace(candidate.options, threads=threads),
        )
        for candidate in finalists
        for normalize in recipe.normalize
        for threads in (recipe.threads if candidate.traits.threads else (0,))
        if (normalize, threads) != (candidate.variant.normalize, candidate.options.threads)
    ]
