"""The section of a depth model in ModelSpec."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edgewright.core.spec import ModelSpec, Section

Alignment = Literal["none", "median", "scale-shift"]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class Depth(
    Section, msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="depth"
):
    """How a model's output becomes a depth map. The output is one map (N, 1, h, w), (N, h, w) or (N, h, w, 1).

    - `values`: the quantity in the map, after `scale` and `shift`: "depth", "disparity" (inverse depth, as in MiDaS,
      DPT and Depth Anything) or "log" (the natural logarithm of the depth, as in YOLO26-depth).
    - `unit`: "m", or "relative" for a model that knows the depth only up to a factor or an affine map.
    - `scale`, `shift`: a value is scale x output + shift.
    - `interpolation`: how the map is enlarged to the photo. "corners" is bilinear with aligned corners (Ultralytics).
      Disparity is enlarged before its inversion, and a logarithm after its exponential.
    - `align`: how a map is fitted to the truth, image by image, before accuracy is measured. "median": by the ratio of
      the medians. "scale-shift": by least squares in the quantity of the map (disparity for a disparity). Default:
      "none" for meters, else "scale-shift".
    - `truth_scale`: values per meter in the 16-bit PNG files of a data set: 1000 for millimeters, 256 for KITTI.
    - `min_depth`, `max_depth`: pixels with a true depth outside this range do not count, and the map is clipped to it.
    """

    values: Literal["depth", "disparity", "log"] = "depth"
    unit: Literal["m", "relative"]
    scale: float = 1.0
    shift: float = 0.0
    interpolation: Literal["bilinear", "bicubic", "corners"] = "bilinear"
    align: Alignment | None = None
    truth_scale: Positive = 1000.0
    min_depth: Positive = 0.001
    max_depth: Positive = 80.0


SECTION = Depth


def of(spec: ModelSpec) -> Depth:
    """The section of a model that is known to estimate depth."""
    assert isinstance(spec.task, Depth), spec.task
    return spec.task


def alignment(depth: Depth) -> Alignment:
    """How a map is fitted to the truth before it is judged."""
    return depth.align or ("none" if depth.unit == "m" else "scale-shift")
