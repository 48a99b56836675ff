"""The answer of a segmentation model: the class of each pixel of an image."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgewright.tasks import interchange

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewright.tasks.contract import Line


class Share(msgspec.Struct, frozen=True):
    """One class of an image. `index`, `label`: the class. `share`: the part of the image's pixels, from 0 to 1."""

    index: int
    label: str
    share: float


class ClassMap:
    """The class of each pixel of one image.

    - `size`: (width, height) of the original image in pixels.
    - `names`: the names of all classes; if empty, the index is the label.
    - `classes`: (height, width), uint8 or uint16, the index of each pixel's class. It is computed at the first access.
    """

    def __init__(self, compute: Callable[[], np.ndarray], size: tuple[int, int], names: tuple[str, ...] = ()) -> None:
        self._compute, self.size, self.names = compute, size, names

    def __repr__(self) -> str:
        return f"ClassMap(size={self.size}, shares={list(self.shares)})"

    @functools.cached_property
    def classes(self) -> np.ndarray:
        """The index of each pixel's class, (height, width)."""
        return self._compute()

    @functools.cached_property
    def shares(self) -> tuple[Share, ...]:
        """The classes in the image with their shares of its pixels, the largest first."""
        counts = np.bincount(self.classes.reshape(-1))
        order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]
        return tuple(Share(k, self.label(k), float(counts[k] / self.classes.size)) for k in order)

    def label(self, index: int) -> str:
        """The name of class `index`; the index as text without names."""
        return self.names[index] if index < len(self.names) else str(index)

    def mask(self, index: int) -> np.ndarray:
        """Return where the image has class `index`, (height, width) bool."""
        found: np.ndarray = self.classes == index
        return found

    def finish(self) -> None:
        """Compute `classes` now. Measurements of latency do this, so that they include it."""
        self.classes  # noqa: B018

    def to_json(self, top: int = 0) -> dict[str, Any]:
        """Return the size and the share of each class as plain data, and the map as runs.

        `runs` has pairs (class, length), row by row. `top` has no effect.
        """
        from .runs import encode

        width, height = self.size
        shares = [{"label": s.label, "index": s.index, "share": s.share} for s in self.shares]
        runs = encode(self.classes, 0)[1:, 1:].astype(int).reshape(-1).tolist()
        return {"width": width, "height": height, "classes": shares, "runs": runs}

    def lines(self, top: int = 0) -> list[Line]:
        """Return the number of classes, then a line for each class. `top` has no effect."""
        count = len(self.shares)
        found: list[Line] = [(("bold", str(count)), " class" if count == 1 else " classes")]
        found += [(f"  {one.label:<16} {one.share:6.1%}",) for one in self.shares]
        return found

    def to_coco(self, image: int) -> list[dict[str, Any]]:
        """Return COCO's results for stuff: a row per class with its mask as compressed run lengths.

        `image`: the image_id. The category_id is the index of the model's class.
        """
        from edgewright.data import runs

        rows = []
        for one in self.shares:
            rle = runs.of_bits(self.mask(one.index))
            mask = {"size": [rle.height, rle.width], "counts": runs.compressed(rle.counts)}
            rows.append({"image_id": image, "category_id": one.index, "segmentation": mask})
        return rows

    def to_ultralytics(self) -> list[dict[str, Any]]:
        """Return the rows of Ultralytics' ``Results.summary()``, in the order of the classes."""
        every = sorted(self.shares, key=lambda one: one.index)
        return [{"name": one.label, "class": one.index, "pixel_ratio": interchange.rounded(one.share)} for one in every]

    def to_supervision(self) -> Any:
        """Return a ``supervision.Detections`` with one row and mask per class. Raises `Unavailable` if supervision is
        not installed."""
        indices = np.array([one.index for one in self.shares])
        masks = self.classes[None] == indices[:, None, None]
        boxes = [_box(mask) for mask in masks]
        return interchange.supervision().Detections(
            xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            mask=masks,
            class_id=indices,
            data={interchange.CLASS_NAME: interchange.class_names(indices, self.names)},
        )


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return x1, y1, x2, y2 of the smallest box around a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
