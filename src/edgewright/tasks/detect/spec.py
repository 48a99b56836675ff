"""The section of a detector in ModelSpec."""

from __future__ import annotations

from edgewright.core.spec import Detect, ModelSpec


def of(spec: ModelSpec) -> Detect:
    """The section of a model that is known to be a detector."""
    assert spec.detect is not None
    return spec.detect
