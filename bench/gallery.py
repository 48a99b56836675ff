"""The images on which an artifact and its reference differ most, with both answers drawn, for the HTML report."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import msgspec
import numpy as np
from PIL import Image

from edgewright import tasks
from edgewright.core.spec import ModelSpec
from edgewright.vision.image import open_image

from .accuracy import Outputs

SIDE = 520
"""The longer side of a picture in pixels. Boxes are distinguishable, and six pairs stay below 1 MB."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One image with the answers of the reference and of the chosen artifact, as base64 JPEG files and as text."""

    name: str
    reference: str
    chosen: str
    text: str


def worst(found: Outputs, reference: Outputs, paths: Sequence[str], spec: ModelSpec, count: int = 6) -> list[Pair]:
    """Return the `count` images whose answers differ most, the largest difference first. Equal answers are omitted.

    `found` and `reference` are the answers on the images `paths`, in the form of the task's metric. The result is empty
    for a task without pictures.
    """
    task = tasks.of(spec)
    if not task.report.GALLERY:
        return []
    gaps = task.report.disagreement(found, reference, len(paths), spec)
    chosen = [int(k) for k in np.argsort(-gaps, kind="stable")[:count] if gaps[k] > 0]
    rows = ((task.metric.chosen(one, [k]) for one in (reference, found)) for k in chosen)
    return [_pair(paths[k], theirs, ours, spec) for k, (theirs, ours) in zip(chosen, rows)]


def _pair(path: str, reference: Outputs, found: Outputs, spec: ModelSpec) -> Pair:
    report = tasks.of(spec).report
    if both := getattr(report, "pictures", None):
        first, second = both(reference, found, SIDE, spec)
        pictures = [_jpeg(first), _jpeg(second)]
        caption = report.caption(reference, found, spec)
        return Pair(name=path.rpartition("/")[2], reference=pictures[0], chosen=pictures[1], text=caption)
    image = open_image(path, spec.turns).convert("RGB")
    scale = min(1.0, SIDE / max(image.size))
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    pictures = [_jpeg(report.picture(small, rows, scale, spec)) for rows in (reference, found)]
    caption = report.caption(reference, found, spec)
    return Pair(name=path.rpartition("/")[2], reference=pictures[0], chosen=pictures[1], text=caption)


def _jpeg(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return base64.b64encode(content.getvalue()).decode()
