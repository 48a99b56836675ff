"""The step that repairs what the model's task finds wrong with an INT8 file."""

from __future__ import annotations

from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import Repair

from . import score_levelling


def apply(_step: Repair, state: Int8State) -> int:
    """Bring a detector's scores back to where they were."""
    if state.spec.task != "detect":
        return 0
    score_levelling.level(state.quantized, state.model, state.calibration, state.tick)
    return 1
