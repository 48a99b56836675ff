"""Folders as torchvision's ImageFolder reads them: a folder a class, or a flat folder of unlabelled images."""

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
"""The class folders' names in the order of the model's classes, one a line: where that is not their own order."""


def names(folder: Path) -> list[str]:
    """The folders in `folder`, links followed, sorted as text."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def splits(folder: Path) -> list[str]:
    """The folders of `folder` that are splits; raises `InvalidInput` where other folders or images lie beside them."""
    every = names(folder)
    found = [name for name in every if role(name)]
    beside = [name for name in every if name not in found]
    if found and (beside or listing.below(folder, deep=False).images):
        raise InvalidInput(
            f"{folder} holds the split '{found[0]}' and, beside it, {beside[0] if beside else 'loose images'}.",
            "A data folder holds either splits or classes: which of the two this is, is not clear.",
            "Move classes below the splits, or give the folder of one split.",
        )
    return found


def read(root: Path, folder: Path, split: str) -> ImageSet:
    """The images of `folder`, which is `root` or its split folder; classes are numbered over all splits of `root`.

    A class has the images in its folder at any depth. Raises `InvalidInput` where it has none, or where loose images
    lie beside class folders.
    """
    classes, loose = names(folder), listing.below(folder, deep=False)
    if len(classes) == 1 and classes[0].casefold() == "images" and not loose.images:
        folder, classes, loose = folder / classes[0], [], listing.below(folder / classes[0])
    if classes and loose.images:
        raise InvalidInput(
            f"{folder} mixes class folders ('{classes[0]}' ...) and loose images ({Path(loose.images[0]).name} ...).",
            "The loose images have no label.",
            "Move them into class folders, or elsewhere.",
        )
    remarks = loose.left_out()
    if not classes:
        items = tuple(Item(path, None) for path in loose.images)
        return ImageSet(name=root.name, split=split, items=items, classes=(), remarks=tuple(remarks))
    ordered = _ordered(root, [root / other for other in splits(root)] if folder != root else [root])
    every = ordered or sorted({name for other in _folders_of(root, folder) for name in names(other)})
    found, nested = list[Item](), list[str]()
    for name in classes:
        below, label = listing.below(folder / name), every.index(name)
        if not below.images:
            raise _empty(folder / name, below)
        found += [Item(path, label) for path in below.images]
        nested += [path for path in below.images if os.path.dirname(path) != str(folder / name)]  # noqa: PTH120 - many
        remarks += below.left_out()
    text = (
        "{count|image lies|images lie} in folders inside of class folders. The outer folder is the class, as in "
        "torchvision."
    )
    remarks += remark("note", "nested-folders", [os.path.relpath(path, folder) for path in nested], text)
    return ImageSet(
        name=root.name, split=split, items=tuple(found), classes=tuple(every), order="file" if ordered else "sorted",
        remarks=tuple(remarks),
    )  # fmt: skip


def order(folder: Path) -> list[str]:
    """The names that ``classes.txt`` of `folder` lists, in its order; empty where there is no such file."""
    if not (folder / ORDER).is_file():
        return []
    found = [line.strip() for line in text_of(folder / ORDER).splitlines() if line.strip()]
    if twice := next((name for name in found if found.count(name) > 1), None):
        raise InvalidInput(f"{folder / ORDER} has '{twice}' twice.", "A class has one place.", "Remove one of them.")
    return found


def _folders_of(root: Path, folder: Path) -> list[Path]:
    """The folders whose classes are numbered together, so that a split which lacks a class shifts no others."""
    return [folder] if folder == root else [root / name for name in splits(root)]


def _ordered(root: Path, folders: Sequence[Path]) -> list[str]:
    found = order(root)
    missing = [name for folder in folders for name in names(folder) if name not in found]
    if found and missing:
        raise InvalidInput(
            f"{root / ORDER} does not list the class folder '{missing[0]}'.",
            f"It gives the class folders their order, and has {len(found)} names.",
            "Add the name at its place, or remove the file.",
        )
    return found


def _empty(folder: Path, below: listing.Listing) -> InvalidInput:
    others = f" It has {len(below.others)} other files ({Path(below.others[0]).name} ...)." if below.others else ""
    return InvalidInput(
        f"The class folder {folder} has no images in it.{others}",
        f"Images are files that end in {' '.join(SUFFIXES)}, or begin as one without an ending.",
        "Add images of this class, or remove the folder.",
    )
