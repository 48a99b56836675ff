"""What stays in float in a detector: its head."""

from __future__ import annotations

from edgewright.boxes.protect import nodes, score_layers

__all__ = ["nodes", "score_layers"]
