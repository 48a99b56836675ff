"""The section of a classifier in ModelSpec."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from edgewright.core.outputs import Rule
from edgewright.core.spec import Count, ModelSpec, Section


class Classify(
    Section, msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="classify"
):
    """How to read a classifier's outputs.

    `scores`: the function that turns them into probabilities; "none" if they are probabilities. `top`: the number of
    classes in an answer. `classes`: the number of classes. `labels`: their names, or empty.
    """

    TABLE: ClassVar[str] = "postprocess"

    scores: Rule = "softmax"
    top: Count = 5
    classes: Count
    labels: tuple[str, ...] = ()


SECTION = Classify


def of(spec: ModelSpec) -> Classify:
    """Return the section of a model that must be a classifier."""
    assert isinstance(spec.task, Classify), spec.task
    return spec.task
