"""Find depth in a wrong unit by its range, before a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgewright.core.errors import InvalidInput

from . import photos
from .choosing import spread
from .items import ImageSet
from .pairs import MILLIMETERS, depth_map, depth_values
from .remarks import Remark, remark

SAMPLE = 16
"""So many depth maps are opened before a run."""

NEAREST, FARTHEST = 0.05, 1000.0
"""A scene whose most distant point is nearer than 5 cm, or whose median is beyond 1 km, is in another unit."""

_EMPTY = 0.99


def require_meters(images: ImageSet, scale: float = MILLIMETERS, relative: bool = False) -> ImageSet:
    """Return `images` with remarks on their depth maps. `scale`: as in `pairs.depth_map`.

    Raises `InvalidInput` if an image has no depth map, if one of a sample cannot be read, or if the range of the sample
    is not that of meters. `relative`: any range is right, because maps are fitted to the truth.
    """
    if bare := next((item for item in images.items if item.pair is None), None):
        raise InvalidInput(f"{bare.path} has no depth map.", "Its depth is unknown.", "Add the file.")
    some = spread(images.items, SAMPLE)
    by_path = {item.path: item for item in some}
    maps = photos.each(lambda path: depth_map(by_path[path], scale), list(by_path))
    known = [found[np.isfinite(found)] for found in maps]
    if not any(len(found) for found in known):
        raise InvalidInput(
            f"The depth maps of '{images.name}' have no value in {len(some)} files.",
            f"0, negative values and NaN mean that the depth is unknown. The first one is {some[0].pair}.",
            "Use other depth maps.",
        )
    every = np.concatenate(known)
    middle, far = float(np.median(every)), float(np.quantile(every, 0.999))
    if not relative and (far < NEAREST or middle > FARTHEST):
        raise _wrong_unit(str(some[0].pair), far, scale)
    empty = [Path(item.pair or "").name for item, found in zip(some, maps) if np.isnan(found).mean() > _EMPTY]
    text = "{count|depth map of a sample is|depth maps of a sample are} almost empty: less than 1% of pixels is known."
    return images.noticed(_empty(empty, text))


def _empty(names: list[str], text: str) -> list[Remark]:
    return remark("warning", "depth-missing", names, text)


def _wrong_unit(path: str, far: float, scale: float) -> InvalidInput:
    whole = depth_values(path).dtype.kind in "iu"
    what = f"The depth in {path} and others reaches to {far:.3g} m."
    if not whole:
        unit = "millimeters" if far > FARTHEST else "kilometers"
        return InvalidInput(
            what, f"Arrays and images of floats have meters. These look like {unit}.", "Write the depth in meters."
        )
    stored = far * scale
    if far > FARTHEST:
        return InvalidInput(
            what, f"The files have whole numbers to {stored:.0f}, divided by truth_scale = {scale:g}.",
            f"Set truth_scale in [depth]: {MILLIMETERS:g} for millimeters, 256 for KITTI.",
        )  # fmt: skip
    return InvalidInput(
        what,
        f"The files have whole numbers to {stored:.0f}, divided by truth_scale = {scale:g}: they look like meters.",
        "Write millimeters, or set truth_scale = 1 in [depth].",
    )  # fmt: skip
