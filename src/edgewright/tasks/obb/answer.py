"""The answer of a detector of rotated boxes: the objects in an image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgewright.tasks import interchange

from .rotated import around, corners_of

if TYPE_CHECKING:
    from edgewright.tasks.contract import Line

ORIENTED = "xyxyxyxy"
"""supervision's key for corners in ``Detections.data``."""


class RotatedBox(msgspec.Struct, frozen=True):
    """One object in an image, in pixels of the original image.

    `index`, `label`: its class. `score`: from 0 to 1. `cx`, `cy`: its center. `w`, `h`: its sides. `angle`: in radians,
    of the side `w` to the x axis, clockwise. `corners`: four points (x, y), in the order of Ultralytics.
    """

    index: int
    label: str
    score: float
    cx: float
    cy: float
    w: float
    h: float
    angle: float
    corners: tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class RotatedBoxes:
    """The objects in one image, best first. Indexing and iteration give a `RotatedBox` each.

    - `boxes`: (N, 5) float32, cx, cy, w, h in pixels of the original image, and the angle in radians, as the network
      gives them. A box can reach beyond the image.
    - `scores`: (N,) float32, from 0 to 1. `indices`: (N,) int64, the classes.
    - `names`: the names of all classes; if empty, the index is the label.
    """

    boxes: np.ndarray
    scores: np.ndarray
    indices: np.ndarray
    names: tuple[str, ...] = ()

    @cached_property
    def corners(self) -> np.ndarray:
        """The corners of each box, (N, 4, 2) float32."""
        return corners_of(self.boxes)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, k: int) -> RotatedBox:
        index = int(self.indices[k])
        label = self.names[index] if self.names else str(index)
        corners = tuple((x, y) for x, y in self.corners[k].tolist())
        cx, cy, w, h, angle = self.boxes[k].tolist()
        return RotatedBox(index, label, float(self.scores[k]), cx, cy, w, h, angle, corners)

    def __iter__(self) -> Iterator[RotatedBox]:
        return (self[k] for k in range(len(self)))

    def rows(self, image: int) -> np.ndarray:
        """Return (N, 8) float32: the number `image`, cx, cy, w, h in pixels, the score, the class, the angle."""
        number = np.full((len(self), 1), image, np.float32)
        columns = [number, self.boxes[:, :4], self.scores[:, None], self.indices[:, None], self.boxes[:, 4:]]
        return np.hstack(columns).astype(np.float32)

    def to_json(self, top: int = 0) -> dict[str, Any]:
        """Return every object as plain data. `top` has no effect."""
        return {"boxes": [msgspec.to_builtins(found) for found in self]}

    def lines(self, top: int = 0) -> list[Line]:
        """Return the number of objects, then one line per object. `top` has no effect."""
        found: list[Line] = [(("bold", str(len(self))), " object" if len(self) == 1 else " objects")]
        for d in self:
            sides = f"center {d.cx:.1f} {d.cy:.1f}  size {d.w:.1f} x {d.h:.1f}  angle {math.degrees(d.angle):.1f}°"
            found.append((f"  {d.label:<16} {d.score:6.1%}  ", ("dim", sides)))
        return found

    def to_coco(self, image: int) -> list[dict[str, Any]]:
        """Return COCO's results: a row per object with `image` as its image_id.

        "segmentation" is the outline, "bbox" the upright box around it, and "rbox" cx, cy, w, h and the angle. The
        category_id is the index of the model's class.
        """
        return [
            {
                "image_id": image, "category_id": d.index, "score": d.score, "bbox": [x1, y1, x2 - x1, y2 - y1],
                "segmentation": [[value for corner in d.corners for value in corner]],
                "rbox": [d.cx, d.cy, d.w, d.h, d.angle],
            }
            for d, (x1, y1, x2, y2) in zip(self, around(self.corners).tolist())
        ]  # fmt: skip

    def to_ultralytics(self) -> list[dict[str, Any]]:
        """Return the rows of Ultralytics' ``Results.summary()``."""
        return [
            interchange.summary_row(d.label, d.index, d.score, [value for corner in d.corners for value in corner])
            for d in self
        ]

    def to_supervision(self) -> Any:
        """Return a ``supervision.Detections`` with the corners in ``data``. Raises `Unavailable` if supervision is not
        installed."""
        names = interchange.class_names(self.indices, self.names)
        return interchange.supervision().Detections(
            xyxy=around(self.corners),
            confidence=self.scores,
            class_id=self.indices.astype(int),
            data={ORIENTED: self.corners, interchange.CLASS_NAME: names},
        )
