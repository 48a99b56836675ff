"""The section of ModelSpec: what an output of 1 stands for."""

from __future__ import annotations

from typing import cast

import msgspec

from edgewright.core.spec import ModelSpec, Section


class Colour(
    msgspec.Struct, Section, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="colour", tag_field="kind"
):
    """`levels`: the grey level that an output of 1 stands for."""

    levels: float = 255.0


SECTION = Colour


def of(spec: ModelSpec) -> Colour:
    """The section of a model of this task."""
    return cast(Colour, spec.task)
