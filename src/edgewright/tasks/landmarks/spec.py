"""The section of a landmark model in ModelSpec."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edgewright.core.outputs import Rule
from edgewright.core.spec import ModelSpec, Section
from edgewright.points.layouts import Refine, Single, Units, wrong_values

Index = Annotated[int, msgspec.Meta(ge=0, le=10_000)]


class Landmarks(
    Section, msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="landmarks"
):
    """How outputs become the points of one object. N images, K points.

    `decoder` names the layout of the outputs:

    - "points": one output with `values` for each of K points, in any shape: (N, 136), (N, 1, 1, 1404), (N, 68, 2).
    - "heatmaps": one (N, K, height, width) or (N, height, width, K): the place of the largest value is the point.
    - "simcc": (N, K, columns), then (N, K, rows): the places of the largest values.

    If `object_score` is set, one more output (N, 1) is the score that the object is there.

    - `points`: the number K of points. `names`: their names, or empty. `edges`: pairs of points that form a line.
    - `values`: for "points", the numbers of a point in order: x, y, z, s (a score; several are multiplied) and -
      (not read). `units`: "pixels" of the input, or "relative" to its sides (0 to 1). z has the unit of x.
    - `point_scores`: the function that turns scores of points into probabilities. `object_score`: the same for the
      output with the object's score; absent without that output.
    - `refine`: for "heatmaps": "quarter" moves a point a quarter of a cell to the larger neighbor, "dark" fits a
      parabola to the logs. `udp`: the corners of map and input are aligned, as in models that were trained with UDP.
    - `score`: with a lower score of the object, a device gives no points.
    - `normalize`: errors are divided by this size of the labeled object. "box": the root of the box's area. "diagonal":
      the box's diagonal. Two indices: the distance of these two points, such as the outer corners of the eyes.
    - `crop`: the data set has photos with several objects, and the model takes one. For accuracy and calibration, each
      labeled object is cut out with a region `crop` times as large as its box, in the ratio of the input.
    """

    decoder: Single = "points"
    points: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    values: str = "xy"
    units: Units = "pixels"
    point_scores: Rule = "none"
    object_score: Rule | None = None
    refine: Refine = "quarter"
    udp: bool = False
    score: float = 0.5
    normalize: Literal["box", "diagonal"] | tuple[Index, Index] = "box"
    names: tuple[str, ...] = ()
    edges: tuple[tuple[Index, Index], ...] = ()
    crop: Annotated[float, msgspec.Meta(ge=1, le=10)] | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` if fields contradict one another."""
        if wrong := wrong_values(self.values):
            raise ValueError(wrong)
        if self.names and len(self.names) != self.points:
            raise ValueError(f"there are {len(self.names)} names, but {self.points} points")
        pair = self.normalize if isinstance(self.normalize, tuple) else ()
        if odd := [k for k in (*pair, *(k for edge in self.edges for k in edge)) if k >= self.points]:
            raise ValueError(f"point {odd[0]} is named, but the {self.points} points are 0 to {self.points - 1}")
        if len(set(pair)) == 1:
            raise ValueError("normalize names one point twice")


SECTION = Landmarks


def of(spec: ModelSpec) -> Landmarks:
    """The section of a model that is known to be a landmark model."""
    assert isinstance(spec.task, Landmarks), spec.task
    return spec.task


def axes(d: Landmarks) -> int:
    """Return 3 if points have a z, else 2."""
    return 3 if d.decoder == "points" and "z" in d.values else 2
