"""The answer of a detector: the objects in an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgewright.tasks import interchange

if TYPE_CHECKING:
    from edgewright.tasks.contract import Line


class Detection(msgspec.Struct, frozen=True):
    """One object in an image.

    `index`, `label`: its class. `score`: from 0 to 1. `box`: x1, y1, x2, y2 in pixels of the original image.
    """

    index: int
    label: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects in one image, best first. Indexing and iteration give a `Detection` each.

    - `boxes`: (N, 4) float32, x1, y1, x2, y2 in pixels of the original image, clipped to it.
    - `scores`: (N,) float32, from 0 to 1. `indices`: (N,) int64, the classes.
    - `names`: the names of all classes; if empty, the index is the label.
    - `masks`, `keypoints`: reserved for models that give them.
    """

    boxes: np.ndarray
    scores: np.ndarray
    indices: np.ndarray
    names: tuple[str, ...] = ()
    masks: np.ndarray | None = None
    keypoints: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, k: int) -> Detection:
        index = int(self.indices[k])
        x1, y1, x2, y2 = self.boxes[k].tolist()
        label = self.names[index] if self.names else str(index)
        return Detection(index, label, float(self.scores[k]), (x1, y1, x2, y2))

    def __iter__(self) -> Iterator[Detection]:
        return (self[k] for k in range(len(self)))

    def rows(self, image: int) -> np.ndarray:
        """Return (N, 7) float32: the number `image`, the box in pixels, the score, the class. mAP uses these rows."""
        number = np.full((len(self), 1), image, np.float32)
        return np.hstack([number, self.boxes, self.scores[:, None], self.indices[:, None]]).astype(np.float32)

    def to_json(self, top: int = 0) -> dict[str, Any]:
        """Return every object as plain data. `top` has no effect."""
        return {"boxes": [{"label": d.label, "index": d.index, "score": d.score, "box": list(d.box)} for d in self]}

    def lines(self, top: int = 0) -> list[Line]:
        """Return the number of objects, then one line per object. `top` has no effect."""
        found: list[Line] = [(("bold", str(len(self))), " object" if len(self) == 1 else " objects")]
        for d in self:
            corners = " ".join(f"{value:7.1f}" for value in d.box)
            found.append((f"  {d.label:<16} {d.score:6.1%}  ", ("dim", corners)))
        return found

    def to_coco(self, image: int) -> list[dict[str, Any]]:
        """Return COCO's results: a row per object with `image` as its image_id, and x, y, width, height in pixels.

        The category_id is the index of the model's class.
        """
        return [
            {"image_id": image, "category_id": d.index, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": d.score}
            for d in self
            for x1, y1, x2, y2 in [d.box]
        ]

    def to_ultralytics(self) -> list[dict[str, Any]]:
        """Return the rows of Ultralytics' ``Results.summary()``."""
        return [interchange.summary_row(d.label, d.index, d.score, d.box) for d in self]

    def to_supervision(self) -> Any:
        """Return a ``supervision.Detections``. Raises `Unavailable` if supervision is not installed."""
        return interchange.supervision().Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.indices.astype(int),
            data={interchange.CLASS_NAME: interchange.class_names(self.indices, self.names)},
        )
