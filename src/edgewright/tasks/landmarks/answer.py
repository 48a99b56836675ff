"""The answer of a landmark model: the points of the object in an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.points.skeletons import Edges
from edgewright.tasks import interchange

if TYPE_CHECKING:
    from edgewright.tasks.contract import Line


@dataclass(frozen=True, eq=False)
class Points:
    """The points of the object in one image. There are none if the score of the object is too low.

    - `points`: (K, 2) or with z (K, 3) float32, in pixels of the original image. Points can be outside it. z has the
      scale of x.
    - `scores`: (K,) float32, the score of each point; 1 if the model has none.
    - `score`: the score that the object is there; 1 if the model has none.
    - `names`: the names of the points, or empty. `edges`: pairs of points that belong together.
    """

    points: np.ndarray
    scores: np.ndarray
    score: float
    names: tuple[str, ...] = ()
    edges: Edges = ()

    def __len__(self) -> int:
        return len(self.points)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The box around the points: x1, y1, x2, y2. Zeros without points."""
        if not len(self.points):
            return 0.0, 0.0, 0.0, 0.0
        (x1, y1), (x2, y2) = self.points[:, :2].min(axis=0).tolist(), self.points[:, :2].max(axis=0).tolist()
        return x1, y1, x2, y2

    def moved(self, x: float, y: float) -> Points:
        """Return the same points `x` and `y` pixels further: from a crop to its photo."""
        shift = np.zeros(self.points.shape[1], np.float32)
        shift[:2] = x, y
        return replace(self, points=self.points + shift)

    def to_json(self, top: int = 0) -> dict[str, Any]:
        """Return the points as plain data. `top` has no effect."""
        return {"score": self.score, "points": self.points.tolist(), "scores": self.scores.tolist()}

    def lines(self, top: int = 0) -> list[Line]:
        """Return the number of points and the score; at most 10 points follow, each on a line. `top` has no effect."""
        found: list[Line] = [(("bold", str(len(self))), f" points {self.score:.1%}")]
        for k in range(len(self) if len(self) <= 10 else 0):
            place = " ".join(f"{value:7.1f}" for value in self.points[k])
            name = self.names[k] if k < len(self.names) else f"point {k}"
            found.append((f"  {name:<16} {self.scores[k]:6.1%}  ", ("dim", place)))
        return found

    def to_coco(self, image: int) -> list[dict[str, Any]]:
        """Return the object as a row of COCO's keypoint results, with `image` as its image_id; empty without points."""
        if not len(self):
            return []
        x1, y1, x2, y2 = self.box
        return [
            {
                "image_id": image,
                "category_id": 0,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "keypoints": np.column_stack([self.points[:, :2], self.scores]).reshape(-1).tolist(),
                "score": self.score,
            }
        ]

    def to_ultralytics(self) -> list[dict[str, Any]]:
        """Return the object as a row of Ultralytics' ``Results.summary()`` with keypoints; empty without points."""
        if not len(self):
            return []
        lists = (self.points[:, 0], self.points[:, 1], self.scores)
        points = dict(zip(("x", "y", "visible"), map(interchange.rounded_list, lists)))
        return [interchange.summary_row("0", 0, self.score, self.box, keypoints=points)]

    def to_supervision(self) -> Any:
        """Return a ``supervision.KeyPoints``. Raises `Unavailable` if supervision is not installed."""
        some = int(len(self) > 0)
        return interchange.supervision().KeyPoints(
            xy=self.points[None, :, :2][:some],
            class_id=np.zeros(some, int),
            keypoint_confidence=self.scores[None][:some],
            detection_confidence=np.full(some, self.score, np.float32),
        )
