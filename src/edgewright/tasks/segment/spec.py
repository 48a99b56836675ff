"""The section of a semantic segmentation model in ModelSpec."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from edgewright.core.spec import Count, ModelSpec, Section

IGNORED = 255
"""The id of pixels in a mask that are not counted."""
BINARY = 2
"""The number of classes of a model with one map: background and foreground."""


class Segment(
    Section, msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="segment"
):
    """How the first output becomes a class for each pixel. edgewright does not read further outputs.

    The output holds C maps, one a class, of any size relative to the input. With one map, there are two classes: 0 is
    the background, and 1 is the foreground, where the map is above `threshold`.

    - `layout`: "NCHW" is (N, C, height, width), or (N, height, width) for one map. "NHWC" is (N, height, width, C).
    - `scores`: the function that turns the maps into probabilities. The class with the highest value is the answer, so
      it matters only for one map ("sigmoid": the map holds logits; "none": probabilities) and for training. "classes":
      the output holds the class of each pixel as whole numbers (N, height, width), because the graph has an ArgMax.
    - `threshold`: of one map, after the function in `scores`.
    - `rescale`: of one map. The lowest and highest value of the map become 0 and 1 before the threshold (U-2-Net).
    - `resize`: how the maps are scaled to the photo, before the class is chosen. "bilinear" has half-pixel centers
      (torch: align_corners=False), "corners" aligns the corners (align_corners=True), "nearest" chooses the class
      first. Letterbox margins and crops are undone. Classes in the output are always scaled by "nearest".
    - `ids`: the class of each id in the masks of a data set, if they are not the same: {"0" = 0, "1-20" = 1}. A key is
      an id, a range of ids, or a name of the data set's classes. 255 as a class means that these pixels do not count.
    - `reduce_zero`: id 0 of the masks does not count, and every other id is reduced by one (ADE20K).
    - `classes`: the number of classes; 2 for one map. `labels`: their names, or empty.
    """

    INTEGERS: ClassVar[bool] = True

    layout: Literal["NCHW", "NHWC"] = "NCHW"
    scores: Literal["softmax", "sigmoid", "none", "classes"] = "softmax"
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    rescale: bool = False
    resize: Literal["bilinear", "corners", "nearest"] = "bilinear"
    ids: dict[str, Annotated[int, msgspec.Meta(ge=0, le=65535)]] = {}
    reduce_zero: bool = False
    classes: Count
    labels: tuple[str, ...] = ()


SECTION = Segment


def of(spec: ModelSpec) -> Segment:
    """The section of a model that is known to segment images."""
    assert isinstance(spec.task, Segment), spec.task
    return spec.task
