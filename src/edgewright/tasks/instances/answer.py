"""The answer of a model of instance masks: the objects in an image, each with its mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from edgewright.data import runs
from edgewright.data.runs import Rle
from edgewright.tasks import interchange

from .crops import Crop

if TYPE_CHECKING:
    from edgewright.tasks.contract import Line


class InstanceMask(msgspec.Struct, frozen=True):
    """One object in an image.

    `index`, `label`: its class. `score`: from 0 to 1. `box`: x1, y1, x2, y2 in pixels of the original image. `rle`: its
    mask, as run lengths of the original image. `area`: the number of pixels of the mask.
    """

    index: int
    label: str
    score: float
    box: tuple[float, float, float, float]
    rle: Rle
    area: int


@dataclass(frozen=True, eq=False)
class InstanceMasks:
    """The objects in one image, best first. Indexing and iteration give an `InstanceMask` each.

    - `boxes`: (N, 4) float32, x1, y1, x2, y2 in pixels of the original image, clipped to it.
    - `scores`: (N,) float32, from 0 to 1. `indices`: (N,) int64, the classes.
    - `size`: (width, height) of the original image.
    - `names`: the names of all classes; if empty, the index is the label.
    - `source`: the function that computes the mask of an object inside of its box.

    A mask is computed when you first ask for it: `mask(k)`, `masks`, `rle(k)`, `polygons(k)`. A pixel outside of the
    box does not belong to the mask. A mask can be empty.
    """

    boxes: np.ndarray
    scores: np.ndarray
    indices: np.ndarray
    size: tuple[int, int]
    source: Callable[[int], Crop] = field(repr=False)
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, k: int) -> InstanceMask:
        k = range(len(self))[k]
        x1, y1, x2, y2 = self.boxes[k].tolist()
        area = int(self.crop(k).columns.sum())
        return InstanceMask(self._index(k), self.label(k), float(self.scores[k]), (x1, y1, x2, y2), self.rle(k), area)

    def __iter__(self) -> Iterator[InstanceMask]:
        return (self[k] for k in range(len(self)))

    def crop(self, k: int) -> Crop:
        """Return the mask of object `k` inside of its box; for drawing."""
        return self.source(k)

    def finish(self) -> None:
        """Compute all masks now, not when they are first read. Measurements of latency include this."""
        for k in range(len(self)):
            self.crop(k)

    def mask(self, k: int) -> np.ndarray:
        """Return the mask of object `k`, bool (height, width) of the original image."""
        return self.crop(k).bits(self.size)

    @property
    def masks(self) -> np.ndarray:
        """The masks of all objects, bool (N, height, width) of the original image."""
        found = np.zeros((len(self), self.size[1], self.size[0]), bool)
        for k in range(len(self)):
            columns, left, top = self.crop(k)
            found[k, top : top + columns.shape[1], left : left + columns.shape[0]] = columns.T
        return found

    def rle(self, k: int) -> Rle:
        """Return the mask of object `k` as run lengths of the original image."""
        return self.crop(k).rle(self.size)

    def polygons(self, k: int) -> list[np.ndarray]:
        """Return the outer outlines of the mask of object `k`, (points, 2) float32 each, the largest first.

        The points are corners of pixels. Holes are left out.
        """
        return self.crop(k).polygons()

    def label(self, k: int) -> str:
        """Return the label of object `k`."""
        return self.names[self._index(k)] if self.names else str(self._index(k))

    def to_json(self, top: int = 0, masks: Literal["rle", "polygons"] = "rle") -> dict[str, Any]:
        """Return every object as plain data. `top` has no effect.

        `masks`: "rle" gives COCO's compressed run lengths {"size": [height, width], "counts"}, "polygons" gives lists
        of x1, y1, x2, y2 ... in pixels.
        """
        found = [
            {
                "label": self.label(k), "index": self._index(k), "score": float(self.scores[k]),
                "box": self.boxes[k].tolist(), "area": int(self.crop(k).columns.sum()),
                "mask": self._coco(k) if masks == "rle" else [one.ravel().tolist() for one in self.polygons(k)],
            }
            for k in range(len(self))
        ]  # fmt: skip
        return {"instances": found}

    def lines(self, top: int = 0) -> list[Line]:
        """Return the number of objects, then one line per object. `top` has no effect."""
        found: list[Line] = [(("bold", str(len(self))), " object" if len(self) == 1 else " objects")]
        for k in range(len(self)):
            corners = " ".join(f"{value:7.1f}" for value in self.boxes[k].tolist())
            share = self.crop(k).columns.sum() / max(1, self.size[0] * self.size[1])
            text = f"  {self.label(k):<16} {self.scores[k]:6.1%}  "
            found.append((text, ("dim", f"{corners}  mask {share:.1%} of the image")))
        return found

    def to_coco(self, image: int) -> list[dict[str, Any]]:
        """Return COCO's results: a row per object with `image` as its image_id, the box and the mask as compressed RLE.

        The category_id is the index of the model's class.
        """
        return [
            {
                "image_id": image, "category_id": self._index(k), "bbox": [x1, y1, x2 - x1, y2 - y1],
                "segmentation": self._coco(k), "score": float(self.scores[k]),
            }
            for k in range(len(self))
            for x1, y1, x2, y2 in [self.boxes[k].tolist()]
        ]  # fmt: skip

    def to_ultralytics(self) -> list[dict[str, Any]]:
        """Return the rows of Ultralytics' ``Results.summary()``: "segments" has the outline of the largest part."""
        rows = []
        for k in range(len(self)):
            outline = next(iter(self.polygons(k)), np.zeros((0, 2), np.float32))
            segments = {"x": interchange.rounded_list(outline[:, 0]), "y": interchange.rounded_list(outline[:, 1])}
            rows.append(
                interchange.summary_row(
                    self.label(k), self._index(k), self.scores[k], self.boxes[k].tolist(), segments=segments
                )
            )
        return rows

    def to_supervision(self) -> Any:
        """Return a ``supervision.Detections`` with masks. Raises `Unavailable` if supervision is not installed."""
        return interchange.supervision().Detections(
            xyxy=self.boxes,
            mask=self.masks,
            confidence=self.scores,
            class_id=self.indices.astype(int),
            data={interchange.CLASS_NAME: interchange.class_names(self.indices, self.names)},
        )

    def _index(self, k: int) -> int:
        return int(self.indices[k])

    def _coco(self, k: int) -> dict[str, Any]:
        counts = runs.compress(self.crop(k).counts(self.size)).decode()
        return {"size": [self.size[1], self.size[0]], "counts": counts}
