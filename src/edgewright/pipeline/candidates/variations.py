"""Variations of the finalists: other thread counts, normalization in the graph (uint8 input), answers in the graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from edgewright import tasks
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
    rewrite = tasks.of(state.spec).rewrite
    answers = recipe.answers if rewrite and rewrite.applies(state.spec) else ("host",)
    return variations(policy.finalists(state), recipe, answers) if variations(alive, recipe, answers) else []


def is_varied(candidate: Candidate, recipe: Recipe) -> bool:
    """Whether `candidate` is a variation of a base candidate."""
    threads = recipe.threads[0] if candidate.traits.threads else 0
    found = (candidate.variant.normalize, candidate.variant.answers, candidate.options.threads)
    return found != (recipe.normalize[0], "host", threads)


def variations(
    finalists: Iterable[Candidate], recipe: Recipe, answers: Sequence[Literal["host", "graph"]] = ("host",)
) -> list[Candidate]:
    """The finalists with the recipe's other thread counts, and with normalization and `answers` in the graph."""
    return [
        Candidate(
            variant=msgspec.structs.replace(candidate.variant, normalize=normalize, answers=place),
            options=msgspec.structs.replace(candidate.options, threads=threads),
        )
        for candidate in finalists
        for normalize in recipe.normalize
        for place in answers
        for threads in (recipe.threads if candidate.traits.threads else (0,))
        if (normalize, place, threads)
        != (candidate.variant.normalize, candidate.variant.answers, candidate.options.threads)
    ]
