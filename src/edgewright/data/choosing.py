"""Choose images of a set, and find images that two sets share: by pixels, or by names for large sets."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TypeVar

import msgspec

from edgewright.core.errors import InvalidInput

from . import photos
from .items import ImageSet, Item

T = TypeVar("T")


def require_disjoint(calibration: ImageSet, evaluation: ImageSet) -> None:
    """Raise `InvalidInput` with both files if an image of `calibration` is also in `evaluation` (the same pixels)."""
    seen = dict(zip(calibration.digests, calibration.items))
    shared = [(seen[d], item) for d, item in zip(evaluation.digests, evaluation.items) if d in seen]
    if shared:
        one, other = shared[0]
        raise InvalidInput(
            f"calibration-leak: {len(shared)} of the validation images are also in the calibration set: "
            f"{one.path} is {other.path}.",
            "Accuracy on images that the quantizer has seen is not reliable.",
            "Use two splits without a common image.",
        )


def divide(images: ImageSet, count: int, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Split `images` into (calibration, evaluation): `count` images that `choose` selects, and all others.

    A copy of a chosen image can be among the others: see `apart`. Raises `InvalidInput` if no image is left for
    evaluation.
    """
    found, broken = choose(images, count, seed)
    used = {item.path for item in (*found.items, *broken)}
    others = tuple(item for item in images.items if item.path not in used)
    if not found.items or not others:
        raise InvalidInput(
            f"Cannot take {count} calibration images out of the {len(images.items)} in '{images.name}'.",
            "Calibration and validation each need at least one image.",
            "Ask for fewer, or add images.",
        )
    return _part(found, "calibration", found.items), _part(images, "evaluation", others)


def apart(calibration: ImageSet, evaluation: ImageSet) -> ImageSet:
    """Return `evaluation` without copies of images in `calibration`. Raises `InvalidInput` if nothing is left."""
    seen = set(calibration.digests)
    left = tuple(item for item, digest in zip(evaluation.items, evaluation.digests) if digest not in seen)
    if not left:
        raise InvalidInput(
            f"All {len(evaluation.items)} images of '{evaluation.name}' that are left for validation are copies.",
            "Accuracy on images that the quantizer has seen is not reliable.",
            "Add other images.",
        )
    return msgspec.structs.replace(evaluation, items=left)


def choose(images: ImageSet, count: int, seed: int = 0, step: photos.Step | None = None) -> tuple[ImageSet, list[Item]]:
    """Choose `count` different, readable images, each class in proportion. Also return those that cannot be read.

    The choice depends on the file names (below their common folder) and `seed`. Only chosen images are decoded, so a
    million images take as much work as a thousand. If a chosen image is a copy or cannot be read, the next one is used.
    """
    items = images.items
    order = iter(_drawn(items, count, seed))
    found: dict[str, Item] = {}
    broken = list[Item]()
    while len(found) < count and (some := [items[k] for k in islice(order, count - len(found))]):
        for item, photo in zip(some, photos.look([item.path for item in some], step)):
            if photo.problem:
                broken.append(item)
            else:
                found.setdefault(photo.digest, item)
    return _part(images, images.split, sorted(found.values(), key=lambda item: item.path)), broken


def spread(items: Sequence[T], count: int) -> tuple[T, ...]:
    """Return at most `count` of `items`, at even distances in the list, because sets of images are sorted by class."""
    count = min(count, len(items))
    return tuple(items[index * len(items) // count] for index in range(count))


def _drawn(items: Sequence[Item], count: int, seed: int) -> list[int]:
    """Return the positions of `items` in the order of the choice: first `count`, each class in proportion, then the
    rest."""
    paths = [item.path for item in items]
    start = len(os.path.commonpath([min(paths), max(paths)])) if len(paths) > 1 else 0
    keys = [hashlib.sha256(f"{seed}:".encode() + os.fsencode(path[start:])).digest() for path in paths]
    groups: dict[int | None, list[int]] = defaultdict(list)
    for k in sorted(range(len(items)), key=keys.__getitem__):
        groups[items[k].label].append(k)
    shares = _shares({label: len(group) for label, group in groups.items()}, min(count, len(items)))
    first = [k for label, group in groups.items() for k in group[: shares[label]]]
    return first + [k for label, group in groups.items() for k in group[shares[label] :]]


def _shares(sizes: Mapping[int | None, int], total: int) -> dict[int | None, int]:
    """Divide `total` in proportion to `sizes` by the largest remainder (ties go to the lower label)."""
    everything = sum(sizes.values())
    shares = {label: total * size // everything for label, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda label: (-(total * sizes[label] % everything), label is None, label or 0))
    for label in by_remainder[: total - sum(shares.values())]:
        shares[label] += 1
    return shares


def _part(images: ImageSet, split: str, items: Iterable[Item]) -> ImageSet:
    return msgspec.structs.replace(images, split=split, items=tuple(items))
