"""The section of a classifier in ModelSpec."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from edgewright.core.spec import Count, ModelSpec, Section
from edgewright.tasks.outputs import Rule


class Classify(
    Section, msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="classify"
):
    """How a classifier's outputs are read. `scores`: what turns them into probabilities ("none": they are already);
    `top`: so many of the best classes an answer has; `labels`: the names of the `classes`, or none."""

    TABLE: ClassVar[str] = "postprocess"

    scores: Rule = "softmax"
    top: Count = 5
    classes: Count
    labels: tuple[str, ...] = ()


SECTION = Classify


def of(spec: ModelSpec) -> Classify:
    """The section of a model that is known to be a classifier."""
    assert isinstance(spec.task, Classify), spec.task
    return spec.task
