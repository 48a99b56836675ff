"""The step that chooses one of several kinds of clipping ranges by how little each changes the outputs."""

from __future__ import annotations

from edgewright.quantize.qdq import place
from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import ChooseRanges

from . import sensitivity, statistics


def apply(step: ChooseRanges, state: Int8State) -> int:
    """Choose one kind of ranges. The kind "output" is skipped if the model has none."""
    kinds = [kind for kind in step.kinds if kind != "output" or len(state.seen.best)]
    found = {kind: statistics.ranges(state.seen, kind, state.scheme) for kind in kinds}
    best = kinds[0]
    if len(kinds) > 1:
        trials = {kind: place.placing(state.scheme, ranges) for kind, ranges in found.items()}
        best = sensitivity.best_trial(state.model, trials, state.calibration, state.float_nodes, state.tick)
    state.ranges = found[best]
    state.missing = state.seen.missing if "output" in step.kinds else ""
    return len(state.ranges.tensors)
