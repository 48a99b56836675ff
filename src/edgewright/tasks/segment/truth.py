"""The labels that semantic segmentation needs: a mask with the class of each pixel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
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

    The section's `ids` decide. Without them, classes have the same name, or the set and the model have the same number
    of classes in the same order. Values without names are classes of the model.
    """
    missing = next((item for item in images.items if item.pair is None), None)
    if missing is not None:
        raise InvalidInput(
            f"{missing.path} has no mask.",
            "Accuracy is measured against the class of each pixel.",
            "Add a PNG file with the same name in the folder of masks, or remove the image.",
        )
    tables: dict[object, tuple[tuple[int, int], ...] | None] = {}
    items = []
    for item in images.items:
        if item.ids not in tables:
            tables[item.ids] = _table(item.ids, images, spec)
        items.append(msgspec.structs.replace(item, ids=tables[item.ids]))
    if not spec.preprocess.turns:
        items = [as_stored(item) for item in items]
    return msgspec.structs.replace(images, items=tuple(items), classes=spec.labels)


def _table(
    ids: Iterable[tuple[int, int]] | None, images: ImageSet, spec: ModelSpec
) -> tuple[tuple[int, int], ...] | None:
    """Return the model's class for each value of a file, from the set's classes `ids`; None if they are the same."""
    own, stored = section.of(spec), None if ids is None else dict(ids)
    if own.ids:
        found = _told(own.ids, stored, images)
    elif own.reduce_labels:
        found = {0: IGNORE} | {k + 1: k for k in range(spec.classes)}
    elif stored is not None and images.classes:
        to = _by_name(images, spec)
        found = {value: to.get(index, IGNORE) for value, index in stored.items()}
    elif images.classes:
        found = _by_name(images, spec)
    elif stored is not None:
        found = stored
    else:
        found = {k: k for k in range(spec.classes)}
    found.setdefault(BORDER, IGNORE)
    return tuple(sorted(found.items()))


def _told(told: Mapping[str, int], stored: Mapping[int, int] | None, images: ImageSet) -> dict[int, int]:
    """Return the class of each value by the section's `ids`, whose keys are values, ranges of them, or names."""
    names = {_plain(name): index for index, name in enumerate(images.classes)}
    values: dict[int, list[int]] = {}
    for value, index in (stored or {}).items():
        values.setdefault(index, []).append(value)
    found: dict[int, int] = {}
    for key, index in told.items():
        target = IGNORE if index == section.IGNORED else index
        if match := _RANGE.fullmatch(key):
            first = int(match[1])
            found.update(dict.fromkeys(range(first, int(match[2] or first) + 1), target))
        elif _plain(key) in names:
            own = names[_plain(key)]
            found.update(dict.fromkeys(values.get(own, [own]), target))
        else:
            raise InvalidInput(
                f"[segment] ids has the key '{key}'.",
                f"A key is an id, a range such as 1-20, or a class of '{images.name}'"
                f"{': ' + ', '.join(images.classes[:10]) if images.classes else ', which has no names'}.",
                "Correct the key.",
            )
    return found


def _by_name(images: ImageSet, spec: ModelSpec) -> dict[int, int]:
    """Return the model's class of each class of the set."""
    ours = {_plain(name): index for index, name in enumerate(spec.labels)}
    found = {k: ours[_plain(name)] for k, name in enumerate(images.classes) if _plain(name) in ours}
    if len(found) == len(images.classes):
        return found
    if len(images.classes) == spec.classes and not (spec.labels and found):
        return {k: k for k in range(spec.classes)}
    unknown = next(name for k, name in enumerate(images.classes) if k not in found)
    raise InvalidInput(
        f"The classes of '{images.name}' do not match the model '{spec.name}': '{unknown}' is not one of its classes.",
        f"The model has {spec.classes} classes{': ' + ', '.join(spec.labels[:10]) if spec.labels else ''}. "
        f"The data set has {len(images.classes)}.",
        'Name the classes as the model does, or add the class of each id to the model\'s TOML: [segment] ids = {"0" = '
        '0, "1-20" = 1}',
    )


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())
