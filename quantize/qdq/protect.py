"""The step that keeps in float what the model's task wants exact."""

from __future__ import annotations

from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import Protect

from . import float_head


def apply(_step: Protect, state: Int8State) -> int:
    """Keep the nodes in float that the task names."""
    state.protected = float_head.protected(state.model) if state.spec.task == "detect" else []
    state.float_nodes += state.protected
    return len(state.protected)
