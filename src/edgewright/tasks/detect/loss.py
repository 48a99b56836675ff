"""The distance between the answers of two detectors: that of their boxes."""

from __future__ import annotations

from edgewright.boxes.loss import agreement, align, changes, divergence, energy, same, stable

__all__ = ["agreement", "align", "changes", "divergence", "energy", "same", "stable"]
