"""The section of a detector in ModelSpec."""

from __future__ import annotations

import msgspec

from edgewright.boxes.spec import Head
from edgewright.core.spec import ModelSpec


class Detect(Head, msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="detect"):
    """How a detector's outputs become boxes in pixels of the image. `Head` describes the layouts and the fields."""


SECTION = Detect


def of(spec: ModelSpec) -> Detect:
    """Return the section of a model that is known to be a detector."""
    assert isinstance(spec.task, Detect), spec.task
    return spec.task
