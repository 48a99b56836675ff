"""The step that repairs what the task of the model requires after quantization."""

from __future__ import annotations

from edgewright import tasks
from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import Repair

from . import score_levelling


def apply(_step: Repair, state: Int8State) -> int:
    """Move the scores that the task names back to the float model's."""
    if not tasks.of(state.spec).protect.score_layers(state.model, state.spec):
        return 0
    score_levelling.level(state.quantized, state.model, state.calibration, state.tick)
    return 1
