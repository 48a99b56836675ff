"""Mixed precision: if INT8 loses too much, the most sensitive blocks of the network stay in float.

A greedy search for each runtime and float precision. It takes the INT8 artifact that loses least and builds it with 1,
2, 4 and 8 of its most sensitive blocks in float. It stops when one is inside the budget or as slow as float.
"""

from __future__ import annotations

import msgspec

from edgewright.core.errors import EdgewrightError
from edgewright.core.store import Entry
from edgewright.pipeline import policy
from edgewright.pipeline.candidate import Candidate
from edgewright.pipeline.stages.mixed_precision import InInt8, sensitivity
from edgewright.pipeline.stages.runner import FATAL
from edgewright.pipeline.state import Build, Failure, RunState
from edgewright.quantize.mixed import block_sensitivity

STEPS = (1, 2, 4, 8)
"""Numbers of blocks in float, in the order of the steps."""


def propose(state: RunState) -> list[Candidate]:
    """The next step for the first runtime and precision without INT8 inside the budget, if the recipe asks for it."""
    if not (state.measured_here and state.job.recipe.mixed_precision):
        return []
    for exact, int8 in policy.losing(state):
        if candidate := _next(state, exact, int8):
            return [candidate]
    return []


def _next(state: RunState, exact: Build, int8: Build) -> Candidate | None:
    """`int8` with more blocks in float; None if an earlier step was good enough, or no more blocks remain."""
    whole = int8.candidate.variant
    tried = [b for b in state.builds if b.candidate.variant.float_blocks and _uniform(b.candidate) == int8.candidate]
    if tried and not policy.is_worth_more(state, exact, tried[-1]):
        return None
    measured = _sensitivity(state, int8)
    if measured is None:
        return None
    ranked = block_sensitivity.ranked(block_sensitivity.read(measured.path))
    counts = [count for count in STEPS if count < len(ranked)][len(tried) :]
    if not counts:
        return None
    layers = tuple(name for row in ranked[: counts[0]] for name in row.block.layers)
    mixed = msgspec.structs.replace(whole, float_layers=layers, float_blocks=counts[0])
    return Candidate(variant=mixed, options=int8.candidate.options)


def _uniform(candidate: Candidate) -> Candidate:
    variant = msgspec.structs.replace(candidate.variant, float_layers=(), float_blocks=0)
    return msgspec.structs.replace(candidate, variant=variant)


def _sensitivity(state: RunState, int8: Build) -> Entry | None:
    """The sensitivity of each block; None if it cannot be measured for this artifact."""
    name = "sensitivity"
    if name not in int8.results and name not in int8.skipped:
        try:
            int8.results[name] = sensitivity(
                state.runner, InInt8(state.exported, int8.results["quantize"], int8.candidate.variant),
                state.images.calibration, state.job.recipe.seed, layers=False,
            )  # fmt: skip
        except FATAL:
            raise
        except EdgewrightError as error:
            int8.skipped[name] = Failure(name, error.what, error.why)
            state.runner.watch(name, int8.candidate.id, 1, 1, f"failed: {error.what}")
    return int8.results.get(name)
