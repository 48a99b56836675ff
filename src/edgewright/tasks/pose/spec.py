"""The section of a pose model in ModelSpec."""

from __future__ import annotations

from typing import Annotated

import msgspec

from edgewright.boxes.spec import Decoder, Head
from edgewright.core.outputs import Rule
from edgewright.core.spec import Count, ModelSpec
from edgewright.points.layouts import SINGLE, Refine, Single, Units, wrong_values

Index = Annotated[int, msgspec.Meta(ge=0, le=10_000)]


class Pose(Head, msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="pose"):
    """How outputs become objects with K keypoints.

    With a decoder of `Head`, each cell has a box and, as extra values, its keypoints: `values` for each of K points, in
    the same rows or as one more output (N, K x values, A).

    - "boxes", "end2end": points in input pixels and scores from 0 to 1 (Ultralytics' exports).
    - "dfl": x and y are (a x value + cell + b) x stride, with a and b from `point_coding`. YOLOv8 and YOLO11: 2 and 0.
      YOLO26: 1 and 0.5.
    - "blazeface": x and y are shifts from the anchor in input pixels.

    Other decoders give one object an image (top-down models and single-person models):

    - "points": one output with `values` for each point, in any shape: MoveNet (N, 1, 17, 3), BlazePose (N, 195).
    - "heatmaps": one (N, K, height, width) or (N, height, width, K): the place of the largest value is the point.
    - "simcc": (N, K, columns), then (N, K, rows): the places of the largest values.

    If `object_score` is set, one more output (N, 1) is the score that the object is there. Else it is the mean score of
    the points. The box is the one around the points.

    - `points`: the number K of points. `names`: their names, or empty. `edges`: pairs of points that form a line.
    - `values`: the numbers of a point in order: x, y, z (not read), s (a score; several are multiplied) and - (not
      read). `units`: for "points", "pixels" of the input, or "relative" to its sides (0 to 1).
    - `point_scores`: the function that turns scores of points into probabilities. `object_score`: the same for the
      output with the object's score; absent without that output.
    - `refine`: for "heatmaps": "quarter" moves a point a quarter of a cell to the larger neighbor, "dark" fits a
      parabola to the logs. `udp`: the corners of map and input are aligned, as in models that were trained with UDP.
    - `sigmas`: the falloff of each point in the object keypoint similarity (OKS). Empty: from the data set, else COCO's
      for 17 points, else 1 / K.
    - `crop`: the data set has photos with several objects, and the model takes one. For accuracy and calibration, each
      labeled object is cut out with a region `crop` times as large as its box, in the ratio of the input.
    """

    decoder: Decoder | Single  # type: ignore[assignment]
    points: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 17
    values: str = "xys"
    units: Units = "pixels"
    point_scores: Rule = "none"
    point_coding: tuple[float, float] = (2.0, 0.0)
    object_score: Rule | None = None
    refine: Refine = "quarter"
    udp: bool = False
    names: tuple[str, ...] = ()
    edges: tuple[tuple[Index, Index], ...] = ()
    sigmas: tuple[float, ...] = ()
    classes: Count = 1
    crop: Annotated[float, msgspec.Meta(ge=1, le=10)] | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` if fields contradict one another."""
        if wrong := wrong_values(self.values):
            raise ValueError(wrong)
        for name, given in (("names", self.names), ("sigmas", self.sigmas)):
            if given and len(given) != self.points:
                raise ValueError(f"there are {len(given)} {name}, but {self.points} points")
        if odd := [k for edge in self.edges for k in edge if k >= self.points]:
            raise ValueError(f"an edge names point {odd[0]}, but the {self.points} points are 0 to {self.points - 1}")
        if not all(sigma > 0 for sigma in self.sigmas):
            raise ValueError("sigmas must be positive")
        if self.single is not None and self.classes != 1:
            raise ValueError(f'the decoder "{self.decoder}" gives objects of one class, but classes is {self.classes}')
        if self.single is None and self.crop is not None:
            raise ValueError(f'crop is for models of one object, but the decoder "{self.decoder}" finds several')

    @property
    def extra(self) -> int:
        """The number of values of a cell for its keypoints."""
        return 0 if self.single is not None else self.points * len(self.values)

    @property
    def single(self) -> Single | None:
        """The layout of outputs with one object; None for a head with boxes."""
        return self.decoder if self.decoder in SINGLE else None


SECTION = Pose


def of(spec: ModelSpec) -> Pose:
    """The section of a model that is known to be a pose model."""
    assert isinstance(spec.task, Pose), spec.task
    return spec.task
