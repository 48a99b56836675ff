"""The labels that semantic segmentation needs: a mask with the class of each pixel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.data import masks
from edgewright.data.boxes import Box
from edgewright.data.classes import plain_name
from edgewright.data.fit import as_stored
from edgewright.data.pairs import BORDER, IGNORE
from edgewright.data.sets import ImageSet, Item
from edgewright.data.wants import Wants

from . import spec as section

NEEDS = "a mask with the class of each pixel"
CLASSES = False
TURNED = ", and their masks were rotated back with them"
WANTS = Wants(pair="classes")

_RANGE = re.compile(r"\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?")


def found(images: ImageSet) -> ImageSet:
    """Return `images` unchanged, because the readers of data sets know these labels."""
    return images


def known(item: Item) -> bool:
    """Whether the mask of an image is known."""
    return item.pair is not None


def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """Return `images` with masks whose values mean the model's classes. Raises `InvalidInput` if they do not match.

    The section's `ids` decide. Without them, names of classes or their order decide; see `masks.match`.
    """
    own = section.of(spec)
    if not own.ids:
        return masks.match(images, spec, own.reduce_zero)
    tables: dict[object, tuple[tuple[int, int], ...]] = {}
    items = []
    for item in images.items:
        if item.ids not in tables:
            tables[item.ids] = _table(own.ids, item.ids, images)
        items.append(msgspec.structs.replace(item, ids=tables[item.ids], boxes=_painted(item, own.ids, images)))
    masks.require_known([item for item in items if item.pair], spec)
    if not spec.preprocess.turns:
        items = [as_stored(item) for item in items]
    return msgspec.structs.replace(images, items=tuple(items), classes=spec.labels)


def _table(
    told: Mapping[str, int], stored: Iterable[tuple[int, int]] | None, images: ImageSet
) -> tuple[tuple[int, int], ...]:
    """Return the model's class for each value of a file. `stored`: the set's class of each value; None if equal.

    The keys of `told` are values, ranges of them, or names of the set's classes.
    """
    values: dict[int, list[int]] = {}
    for value, index in stored or ():
        values.setdefault(index, []).append(value)
    found: dict[int, int] = {}
    for key, index in told.items():
        target = IGNORE if index == section.IGNORED else index
        if match := _RANGE.fullmatch(key):
            first = int(match[1])
            found.update(dict.fromkeys(range(first, int(match[2] or first) + 1), target))
        else:
            named = _named(key, images)
            found.update(dict.fromkeys(values.get(named, [named]), target))
    found.setdefault(BORDER, IGNORE)
    return tuple(sorted(found.items()))


def _painted(item: Item, told: Mapping[str, int], images: ImageSet) -> tuple[Box, ...] | None:
    """Return the masks of an image whose file has one for each class, with the model's classes."""
    if not item.boxes:
        return item.boxes
    known = dict(_table(told, None, images))
    return tuple(msgspec.structs.replace(box, label=known.get(box.label, IGNORE)) for box in item.boxes)


def _named(key: str, images: ImageSet) -> int:
    """Return the set's class with this name."""
    names = {plain_name(name): index for index, name in enumerate(images.classes)}
    if plain_name(key) not in names:
        raise InvalidInput(
            f"[segment] ids has the key '{key}'.",
            f"A key is an id, a range such as 1-20, or a class of '{images.name}'"
            f"{': ' + ', '.join(images.classes[:10]) if images.classes else ', which has no names'}.",
            "Correct the key.",
        )
    return names[plain_name(key)]
