"""The section of a model of instance masks in ModelSpec."""

from __future__ import annotations

import msgspec

from edgewright.boxes.spec import Head
from edgewright.core.spec import Count, ModelSpec, Side


class Instances(Head, msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="instances"):
    """How outputs become boxes and masks, in pixels of the image. `Head` describes the layouts and the other fields.

    The last output has the prototypes, (N, coefficients, height, width) or (N, height, width, coefficients). Each cell
    has as many coefficients: the extra values of `Head`. A mask is the sum of the prototypes times the coefficients
    (YOLACT, Bolya et al. 2019), as logits: a pixel belongs to the object if its value is above 0.

    - `coefficients`: the number of prototypes. `mask_stride`: input pixels per pixel of a prototype.
    """

    coefficients: Count = 32
    mask_stride: Side = 4

    @property
    def extra(self) -> int:
        """The number of further values of each cell: the coefficients."""
        return self.coefficients


SECTION = Instances


def of(spec: ModelSpec) -> Instances:
    """Return the section of a model that is known to give instance masks."""
    assert isinstance(spec.task, Instances), spec.task
    return spec.task
