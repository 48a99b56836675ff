"""Read folders like torchvision's ImageFolder: one folder per class, or a flat folder of unlabeled images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgewright.core.errors import InvalidInput
from edgewright.core.image_files import SUFFIXES

from . import listing
from .boxes import text_of
from .items import ImageSet, Item
from .remarks import remark
from .splits import role

ORDER = "classes.txt"
"""The file with the names of class folders in the order of the model's classes, one per line. It replaces sorting."""


def splits(folder: Path) -> list[str]:
    """Return the split folders in `folder`. Raises `InvalidInput` if other folders or images are next to them."""
    every = listing.folders(folder)
    found = [name for name in every if role(name)]
    beside = [name for name in every if name not in found]
    if found and (beside or listing.below(folder, deep=False).images):
        raise InvalidInput(
            f"{folder} holds the split '{found[0]}' and, next to it, {beside[0] if beside else 'loose images'}.",
            "A data folder holds either splits or classes. This one holds both.",
            "Move classes below the splits, or give the folder of one split.",
        )
    return found


def inner(folder: Path) -> Path:
    """Return `folder`, or the only folder in it if that only wraps its content: ``images/``, ``train/`` in ``train/``,
    or a folder of splits."""
    while len(every := listing.folders(folder)) == 1 and not listing.below(folder, deep=False).images:
        below = listing.folders(folder / every[0])
        wraps = every[0].casefold() == "images" or (role(every[0]) and role(every[0]) == role(folder.name))
        wraps = wraps or (len(below) > 1 and all(map(role, below)))
        if not wraps:
            break
        folder = folder / every[0]
    return folder


def read(root: Path, split: str) -> ImageSet:
    """Return the images of `root`, or of its split folder `split`. Classes are numbered over all splits of `root`.

    A class has the images in its folder at any depth. Raises `InvalidInput` for a class without images, for loose
    images next to class folders, and for folders that look like splits.
    """
    folder = inner(root / split) if split else root
    classes, loose = listing.folders(folder), listing.below(folder, deep=False)
    if classes and loose.images:
        raise InvalidInput(
            f"{folder} mixes class folders ('{classes[0]}' ...) and loose images ({Path(loose.images[0]).name} ...).",
            "The loose images have no label.",
            "Move them into class folders, or out of this folder.",
        )
    remarks = loose.left_out()
    if not classes:
        items = tuple(Item(path, None) for path in loose.images)
        return ImageSet(name=root.name, split=split, items=items, classes=(), remarks=tuple(remarks))
    _require_no_splits(folder, classes)
    parts = [inner(root / name) for name in splits(root)] if split else [root]
    ordered = _ordered([root, folder], parts)
    every = ordered or sorted({name for part in parts for name in listing.folders(part)})
    found, nested = list[Item](), list[str]()
    for name in classes:
        below, label = listing.below(folder / name, inside=(root, folder)), every.index(name)
        if not below.images:
            raise _empty(folder / name, below)
        found += [Item(path, label) for path in below.images]
        nested += [path for path in below.images if os.path.dirname(path) != str(folder / name)]  # noqa: PTH120 - many
        remarks += below.left_out()
    text = (
        "{count|image is|images are} in folders inside class folders. The outer folder is the class, as in torchvision."
    )
    remarks += remark("note", "nested-folders", [os.path.relpath(path, folder) for path in nested], text)
    return ImageSet(
        name=root.name, split=split, items=tuple(found), classes=tuple(every), order="file" if ordered else "sorted",
        remarks=tuple(remarks),
    )  # fmt: skip


def order(folder: Path) -> list[str]:
    """The names that ``classes.txt`` of `folder` lists, in its order; empty if there is no such file."""
    if not (folder / ORDER).is_file():
        return []
    found = [line.strip() for line in text_of(folder / ORDER).splitlines() if line.strip()]
    if twice := next((name for name in found if found.count(name) > 1), None):
        raise InvalidInput(f"{folder / ORDER} has '{twice}' twice.", "Each class is listed once.", "Remove one line.")
    return found


def _ordered(places: Sequence[Path], parts: Sequence[Path]) -> list[str]:
    """The names that a ``classes.txt`` in one of `places` lists; raises where a folder of `parts` is not among them."""
    place = next((place for place in places if (place / ORDER).is_file()), None)
    if place is None:
        return []
    found = order(place)
    missing = [name for part in parts for name in listing.folders(part) if name not in found]
    if missing:
        raise InvalidInput(
            f"{place / ORDER} does not list the class folder '{missing[0]}'.",
            f"It defines the order of the class folders and has {len(found)} names.",
            "Add the name at its place, or remove the file.",
        )
    return found


def _require_no_splits(folder: Path, classes: Sequence[str]) -> None:
    """Raise where all folders hold the same folders and no images: these look like classes, and they like splits."""
    inside = {frozenset(listing.folders(folder / name)) for name in classes}
    if len(classes) < 2 or len(inside) > 1 or len(next(iter(inside))) < 2:
        return
    if not any(listing.below(folder / name, deep=False).images for name in classes):
        some = sorted(next(iter(inside)))[:3]
        raise InvalidInput(
            f"{folder} holds the folders {', '.join(classes[:3])}, and each of them holds {', '.join(some)} ...",
            "This looks like splits, but the names are not those of splits (train, val, test ...).",
            "Rename the splits, or give the folder of one of them.",
        )


def _empty(folder: Path, below: listing.Listing) -> InvalidInput:
    others = f" It has {len(below.others)} other files ({Path(below.others[0]).name} ...)." if below.others else ""
    return InvalidInput(
        f"The class folder {folder} has no images in it.{others}",
        f"Images have the extension {' '.join(SUFFIXES)}, or no extension and the content of an image.",
        "Add images of this class, or remove the folder.",
    )
