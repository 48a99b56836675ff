"""The step that keeps in float what the task of the model protects."""

from __future__ import annotations

from edgewright import tasks
from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import Protect


def apply(_step: Protect, state: Int8State) -> int:
    """Keep the nodes that the task names in float."""
    state.protected = tasks.of(state.spec).protect.nodes(state.model)
    state.float_nodes += state.protected
    return len(state.protected)
