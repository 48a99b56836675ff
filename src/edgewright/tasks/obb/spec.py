"""The section of a detector of rotated boxes in ModelSpec."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgewright.boxes.spec import Head
from edgewright.core.spec import ModelSpec

DECODERS = ("dfl", "boxes", "end2end")
"""The layouts of `Head` that can have an angle."""


class Obb(Head, msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="obb"):
    """How a detector's outputs become rotated boxes.

    All fields of `Detect`, for the decoders "dfl", "boxes" and "end2end". Each cell has one more number, the angle of
    the box's width to the x axis (clockwise, because y points down). In "dfl", the distances are along the rotated
    sides. "end2end" has the center, width and height instead of corners.

    - `angles`: "radians", or "quarter": the angle is (sigmoid(x) - 1/4) * pi (the head of YOLO11 and YOLOv8).
    - `iou`: of two boxes of one class with a higher ProbIoU (Llerena et al. 2021), the one with the lower score is
      dropped, as in Ultralytics.
    - `overlap`: how accuracy compares boxes: "polygon", the IoU of the outlines (DOTA), or "probiou" (Ultralytics).
    """

    angles: Literal["radians", "quarter"] = "radians"
    overlap: Literal["polygon", "probiou"] = "polygon"

    @property
    def extra(self) -> int:
        """The angle."""
        return 1


SECTION = Obb


def of(spec: ModelSpec) -> Obb:
    """The section of a model that is known to have rotated boxes."""
    assert isinstance(spec.task, Obb), spec.task
    return spec.task
