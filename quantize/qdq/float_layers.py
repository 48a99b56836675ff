"""The step that keeps in float the layers whose quantization alone loses most."""

from __future__ import annotations

from edgewright.quantize.calibration import sensitivity
from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import FloatLayers

from . import place


def apply(step: FloatLayers, state: Int8State) -> int:
    """Keep a share of the layers in float."""
    assert state.ranges is not None, "no step has chosen ranges"
    placing = place.placing(state.scheme, state.ranges)
    found = sensitivity.most_sensitive(
        state.model, placing, state.calibration, step.share, state.float_nodes, state.tick
    )
    state.float_nodes += found
    return len(found)
