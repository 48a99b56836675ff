"""The answer of a pose model: the objects in an image with their keypoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgewright.points.skeletons import Edges
from edgewright.tasks import interchange

if TYPE_CHECKING:
    from edgewright.tasks.contract import Line


class Keypoint(msgspec.Struct, frozen=True):
    """One point of an object.

    `name`: its name, or its number. `x`, `y`: in pixels of the original image. `score`: from 0 to 1; 1 if the model has
    none.
    """

    name: str
    x: float
    y: float
    score: float


class Pose(msgspec.Struct, frozen=True):
    """One object in an image.

    `index`, `label`: its class. `score`: from 0 to 1. `box`: x1, y1, x2, y2 in pixels of the original image.
    `keypoints`: its points, in the order of the model.
    """

    index: int
    label: str
    score: float
    box: tuple[float, float, float, float]
    keypoints: tuple[Keypoint, ...]


@dataclass(frozen=True, eq=False)
class Poses:
    """The objects in one image, best first. Indexing and iteration give a `Pose` each.

    - `boxes`: (N, 4) float32, x1, y1, x2, y2 in pixels of the original image, clipped to it.
    - `scores`: (N,) float32, from 0 to 1. `indices`: (N,) int64, the classes.
    - `keypoints`: (N, K, 3) float32: x and y in pixels of the original image, and the score. Of a model with boxes they
      are clipped to the image, as in Ultralytics.
    - `names`: the names of all classes; if empty, the index is the label. `point_names`: the names of the points, or
      empty. `edges`: pairs of points that form a line.
    """

    boxes: np.ndarray
    scores: np.ndarray
    indices: np.ndarray
    keypoints: np.ndarray
    names: tuple[str, ...] = ()
    point_names: tuple[str, ...] = ()
    edges: Edges = ()

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, k: int) -> Pose:
        index = int(self.indices[k])
        x1, y1, x2, y2 = self.boxes[k].tolist()
        label = self.names[index] if self.names else str(index)
        points = tuple(
            Keypoint(self.point_names[n] if n < len(self.point_names) else str(n), x, y, score)
            for n, (x, y, score) in enumerate(self.keypoints[k].tolist())
        )
        return Pose(index, label, float(self.scores[k]), (x1, y1, x2, y2), points)

    def __iter__(self) -> Iterator[Pose]:
        return (self[k] for k in range(len(self)))

    def moved(self, x: float, y: float) -> Poses:
        """Return the same objects `x` and `y` pixels further: from a crop to its photo."""
        boxes = self.boxes + np.asarray((x, y, x, y), np.float32)
        points = self.keypoints + np.asarray((x, y, 0), np.float32)
        return replace(self, boxes=boxes, keypoints=points)

    def rows(self, image: int) -> np.ndarray:
        """Return (N, 7 + 3 K) float32: the number `image`, the box, the score, the class, and the keypoints."""
        number = np.full((len(self), 1), image, np.float32)
        flat = self.keypoints.reshape(len(self), self.keypoints.shape[1] * 3)
        parts = [number, self.boxes, self.scores[:, None], self.indices[:, None], flat]
        return np.hstack(parts).astype(np.float32)

    def to_json(self, top: int = 0) -> dict[str, Any]:
        """Return every object as plain data. `top` has no effect."""
        return {
            "poses": [
                {"label": p.label, "index": p.index, "score": p.score, "box": list(p.box),
                 "keypoints": [[point.x, point.y, point.score] for point in p.keypoints]}
                for p in self
            ]
        }  # fmt: skip

    def lines(self, top: int = 0) -> list[Line]:
        """Return the number of objects, then one line per object with the number of points that are likely visible.
        `top` has no effect."""
        found: list[Line] = [(("bold", str(len(self))), " object" if len(self) == 1 else " objects")]
        for p in self:
            corners = " ".join(f"{value:7.1f}" for value in p.box)
            seen = sum(point.score >= 0.5 for point in p.keypoints)
            points = f"   {seen} of {len(p.keypoints)} points"
            found.append((f"  {p.label:<16} {p.score:6.1%}  ", ("dim", corners), points))
        return found

    def to_coco(self, image: int) -> list[dict[str, Any]]:
        """Return COCO's keypoint results: a row per object with `image` as its image_id.

        The category_id is the index of the model's class. `keypoints` has x, y and the score of each point.
        """
        return [
            {"image_id": image, "category_id": p.index, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": p.score,
             "keypoints": [value for point in p.keypoints for value in (point.x, point.y, point.score)]}
            for p in self
            for x1, y1, x2, y2 in [p.box]
        ]  # fmt: skip

    def to_ultralytics(self) -> list[dict[str, Any]]:
        """Return the rows of Ultralytics' ``Results.summary()``."""
        rows = []
        for p, points in zip(self, self.keypoints):
            lists = dict(zip(("x", "y", "visible"), map(interchange.rounded_list, points.T)))
            rows.append(interchange.summary_row(p.label, p.index, p.score, p.box, keypoints=lists))
        return rows

    def to_supervision(self) -> Any:
        """Return a ``supervision.KeyPoints``. Raises `Unavailable` if supervision is not installed."""
        return interchange.supervision().KeyPoints(
            xy=self.keypoints[:, :, :2],
            class_id=self.indices.astype(int),
            keypoint_confidence=self.keypoints[:, :, 2],
            detection_confidence=self.scores,
            data={interchange.CLASS_NAME: interchange.class_names(self.indices, self.names)},
        )
