"""The section of a classifier in ModelSpec."""

from __future__ import annotations

from edgewright.core.spec import ModelSpec, Postprocess


def of(spec: ModelSpec) -> Postprocess:
    """The section of a model that is known to be a classifier."""
    return spec.postprocess
