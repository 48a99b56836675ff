"""The images on which a detector and its reference disagree most, with both answers drawn, for the HTML report."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgewright.tasks.detect.answer import Detections
from edgewright.tasks.detect.draw import draw
from edgewright.vision.image import open_image

from .detection import best_pairs, groups

IOU = 0.5
SIDE = 520
"""The longer side of a picture in pixels: boxes are told apart, and six pairs stay below a megabyte."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One image, answered by the reference and by the chosen artifact: JPEG files as base64, boxes in words."""

    name: str
    reference: str
    chosen: str
    text: str


def worst(
    found: NDArray[Any], reference: NDArray[Any], paths: Sequence[str], names: Sequence[str], count: int = 6,
    floor: float = 0.25, turn: bool = False,
) -> list[Pair]:  # fmt: skip
    """The `count` images with the largest `disagreement`, the largest first; those without any are left out.

    `found` and `reference` are boxes as `detection` describes them, over the images `paths`; those with a score from
    `floor` on count and are drawn. `turn`: the boxes are of photos turned by their EXIF orientation.
    """
    gaps = disagreement(found, reference, len(paths), floor)
    chosen = [int(k) for k in np.argsort(-gaps, kind="stable")[:count] if gaps[k] > 0]
    return [
        _pair(
            paths[k], open_image(paths[k], turn), found[found[:, 0] == k], reference[reference[:, 0] == k],
            tuple(names), floor,
        )
        for k in chosen
    ]  # fmt: skip


def disagreement(found: NDArray[Any], reference: NDArray[Any], images: int, floor: float = 0.25) -> NDArray[np.float64]:
    """Of each image: the scores of boxes that one of the two has alone, and the differences of those that match.

    A box counts from a score of `floor` on; a match has the same class and an IoU of at least 0.5.
    """
    gaps = np.zeros(images)
    ours, theirs = (dict(groups(rows)) for rows in (found, reference))
    for key in {*ours, *theirs}:
        own, other = found[ours.get(key, [])], reference[theirs.get(key, [])]
        pairs = best_pairs(own, other, IOU)
        gap = sum(abs(own[i, 5] - other[j, 5]) for i, j in pairs if max(own[i, 5], other[j, 5]) >= floor)
        alone = [np.delete(own[:, 5], [i for i, _ in pairs]), np.delete(other[:, 5], [j for _, j in pairs])]
        gaps[key[1]] += gap + sum(scores[scores >= floor].sum() for scores in alone)
    return gaps


def _pair(
    path: str, image: Image.Image, found: NDArray[Any], reference: NDArray[Any], names: tuple[str, ...], floor: float
) -> Pair:
    image = image.convert("RGB")
    scale = min(1.0, SIDE / max(image.size))
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    shown = [_detections(rows[rows[:, 5] >= floor], scale, names) for rows in (reference, found)]
    pictures = [_jpeg(draw(small, one)) for one in shown]
    text = f"{len(shown[0])} boxes by the reference, {len(shown[1])} by the chosen one"
    return Pair(name=path.rpartition("/")[2], reference=pictures[0], chosen=pictures[1], text=text)


def _detections(rows: NDArray[Any], scale: float, names: tuple[str, ...]) -> Detections:
    kept = rows[np.argsort(-rows[:, 5], kind="stable")]
    return Detections(kept[:, 1:5] * np.float32(scale), kept[:, 5], kept[:, 6].astype(np.int64), names)


def _jpeg(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return base64.b64encode(content.getvalue()).decode()
