"""Mixed precision: where INT8 loses too much, the blocks of the network that are most sensitive stay in float.

Greedy: of each runtime and float precision the INT8 artifact that loses least is built again with 1, 2, 4 and 8 of its
most sensitive blocks in float, until it is inside the budget or no faster than the float artifact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from edgewright.bench.latency import Timing
from edgewright.core.errors import EdgewrightError
from edgewright.pipeline import stages
from edgewright.pipeline.candidates.base import Candidate
from edgewright.pipeline.score import ACCURACIES, checked, is_inside
from edgewright.quantize.mixed import block_sensitivity

if TYPE_CHECKING:
    from edgewright.pipeline.run import Line, Made, Work

STEPS = (1, 2, 4, 8)
"""Blocks in float, one step after the other."""
IMAGES = 8
"""Calibration images that sensitivity is measured on."""


def look(line: Line, made: Made) -> list[Work]:
    """The works that were built and evaluated, for each runtime and precision whose INT8 artifacts are all outside."""
    for work in made.works:
        line.evaluate(work)
    first = line.screen(made.works)
    whole = [w for w in made.works if w.alive and not w.candidate.variant.compression and _p50(first, w)]
    return [work for exact, int8 in _pairs(made, whole, first) for work in _greedy(line, made, exact, int8)]


def _pairs(made: Made, works: Sequence[Work], first: dict[str, Timing]) -> Iterator[tuple[Work, Work]]:
    """Of each runtime and precision the float artifact and the INT8 one that loses least: the first inside the budget,
    and slower than the other; no INT8 artifact is inside."""
    for exact in works:
        variant = exact.candidate.variant
        quantized = [w for w in works if w.candidate.variant.scheme and w.candidate.options == exact.candidate.options]
        if variant.scheme or variant.is_int8 or not quantized or not is_inside(made, exact):
            continue
        if not any(is_inside(made, work) for work in quantized):
            int8 = min(quantized, key=lambda work: _shortfall(made, work))
            if _p50(first, int8) < _p50(first, exact):
                yield exact, int8


def _greedy(line: Line, made: Made, exact: Work, int8: Work) -> Iterator[Work]:
    """`int8` with more and more blocks in float, until one is inside the budget or not faster than `exact`."""
    assert int8.quantized
    images, variant = line.images, int8.candidate.variant
    try:
        entry = stages.sensitivity(
            line.shop, line.exported, int8.quantized, variant, images.calibration, images.calibration_digests,
            line.job.recipe.seed, IMAGES, False,
        )  # fmt: skip
    except stages.FATAL:
        raise
    except EdgewrightError as error:  # of this artifact: another may do
        line.shop.watch("sensitivity", int8.candidate.id, 1, 1, f"failed: {error.what}")
        return
    ranked = block_sensitivity.ranked(block_sensitivity.read(entry.path))
    for count in (count for count in STEPS if count < len(ranked)):
        layers = tuple(name for row in ranked[:count] for name in row.block.layers)
        mixed = msgspec.structs.replace(variant, float_layers=layers, float_blocks=count)
        work = line.build(Candidate(variant=mixed, options=int8.candidate.options))
        line.evaluate(work)
        yield work
        if not work.alive or is_inside(made, work):
            return
        timings = line.screen([exact, work])
        if _p50(timings, work) >= _p50(timings, exact):
            return


def _shortfall(made: Made, work: Work) -> float:
    return sum(max(-(term.by or 0.0), 0.0) for term in checked(made, work) if term.metric in ACCURACIES)


def _p50(timings: dict[str, Timing], work: Work) -> float:
    latency = timings[work.candidate.id].latency
    return (latency.p50_ms if latency else None) or 0.0
