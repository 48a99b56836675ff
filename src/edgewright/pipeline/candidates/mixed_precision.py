"""Mixed precision: where INT8 loses too much, the blocks of the network that are most sensitive stay in float.

Greedy: of each runtime and float precision the INT8 artifact that loses least is built again with 1, 2, 4 and 8 of its
most sensitive blocks in float, until it is inside the budget or no faster than the float artifact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from edgewright.bench.latency import Timing
from edgewright.core.errors import EdgewrightError
from edgewright.pipeline.builder import CandidateBuilder
from edgewright.pipeline.candidate import Candidate
from edgewright.pipeline.score import checked, is_inside, is_of_answers
from edgewright.pipeline.stages.mixed_precision import sensitivity
from edgewright.pipeline.stages.runner import FATAL
from edgewright.pipeline.state import Build, RunState
from edgewright.quantize.mixed import block_sensitivity

STEPS = (1, 2, 4, 8)
"""Blocks in float, one step after the other."""
IMAGES = 8
"""Calibration images that sensitivity is measured on."""


def look(builder: CandidateBuilder, state: RunState) -> list[Build]:
    """What is built and evaluated, for each runtime and precision whose INT8 artifacts are all outside."""
    for build in state.builds:
        builder.evaluate(build)
    first = builder.screen(state.builds)
    whole = [w for w in state.builds if w.alive and not w.candidate.variant.compression and _p50(first, w)]
    return [build for exact, int8 in _pairs(state, whole, first) for build in _greedy(builder, state, exact, int8)]


def _pairs(state: RunState, builds: Sequence[Build], first: dict[str, Timing]) -> Iterator[tuple[Build, Build]]:
    """Of each runtime and precision the float artifact and the INT8 one that loses least: the first inside the budget,
    and slower than the other; no INT8 artifact is inside."""
    for exact in builds:
        variant = exact.candidate.variant
        quantized = [w for w in builds if w.candidate.variant.scheme and w.candidate.options == exact.candidate.options]
        if variant.scheme or variant.is_int8 or not quantized or not is_inside(state, exact):
            continue
        if not any(is_inside(state, build) for build in quantized):
            int8 = min(quantized, key=lambda build: _shortfall(state, build))
            if _p50(first, int8) < _p50(first, exact):
                yield exact, int8


def _greedy(builder: CandidateBuilder, state: RunState, exact: Build, int8: Build) -> Iterator[Build]:
    """`int8` with more and more blocks in float, until one is inside the budget or not faster than `exact`."""
    assert int8.quantized
    images, variant = builder.images, int8.candidate.variant
    try:
        entry = sensitivity(
            builder.runner, builder.exported, int8.quantized, variant, images.calibration,
            builder.job.recipe.seed, IMAGES, False,
        )  # fmt: skip
    except FATAL:
        raise
    except EdgewrightError as error:  # of this artifact: another may do
        builder.runner.watch("sensitivity", int8.candidate.id, 1, 1, f"failed: {error.what}")
        return
    ranked = block_sensitivity.ranked(block_sensitivity.read(entry.path))
    for count in (count for count in STEPS if count < len(ranked)):
        layers = tuple(name for row in ranked[:count] for name in row.block.layers)
        mixed = msgspec.structs.replace(variant, float_layers=layers, float_blocks=count)
        build = builder.build(Candidate(variant=mixed, options=int8.candidate.options))
        builder.evaluate(build)
        yield build
        if not build.alive or is_inside(state, build):
            return
        timings = builder.screen([exact, build])
        if _p50(timings, build) >= _p50(timings, exact):
            return


def _shortfall(state: RunState, build: Build) -> float:
    return sum(max(-(term.by or 0.0), 0.0) for term in checked(state, build) if is_of_answers(term.metric))


def _p50(timings: dict[str, Timing], build: Build) -> float:
    latency = timings[build.candidate.id].latency
    return (latency.p50_ms if latency else None) or 0.0
