"""What quantization must leave alone: nothing."""

from __future__ import annotations

from typing import Any

from edgewright.core.spec import ModelSpec


def nodes(model: Any) -> list[str]:
    """All layers may be INT8."""
    return []


def score_layers(model: Any, spec: ModelSpec) -> list[Any]:
    """Colours have no scores."""
    return []
