"""Image sets: read strictly, divided repeatably, compared by pixels.

Three layouts are read: a folder a class; a table ``labels.csv`` with the images beside it or in ``images/``; a flat
folder of unlabelled images. Three more hold boxes: COCO's JSON (coco.py), YOLO's text files (yolo.py), Pascal VOC's XML
(voc.py). Each may stand below split folders (``train``, ``test`` ...). Nothing is guessed: what mixes two layouts is an
error.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

import msgspec
from PIL import Image

from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.core.files import absolute, linked_file
from edgewright.core.spec import ModelSpec

from . import coco, table, voc, yolo
from .boxes import FORMATS, SUFFIXES, Box
from .table import TABLE, is_index

T = TypeVar("T")

COCO, YOLO, VOC = "COCO", "YOLO", "VOC"
ANNOTATED = (COCO, YOLO, VOC)
"""The layouts that hold boxes."""

CALIBRATION_SPLITS = ("calib", "calibration")
EVALUATION_SPLITS = ("test", "eval", "val", "valid", "validation")
SPLITS = ("train", *CALIBRATION_SPLITS, *EVALUATION_SPLITS)
"""Folder names that are splits and not classes."""


class Item(msgspec.Struct, frozen=True):
    """One image: its absolute path, its class index where it is labelled, its boxes in a detection set (else None)."""

    path: str
    label: int | None
    boxes: tuple[Box, ...] | None = None


class ImageSet(msgspec.Struct, frozen=True, kw_only=True):
    """The images of one split, in a stable order.

    `classes` names what the labels index; empty where labels are bare indices of the model's classes, or absent.
    `dropped` counts the boxes of a detection set that were left out since their sides are zero or negative.
    """

    name: str
    split: str
    items: tuple[Item, ...]
    classes: tuple[str, ...]
    dropped: int = 0


def splits(folder: Path) -> list[str]:
    """The splits that `folder` has, sorted: its split folders, or those that its table or annotations name; or none."""
    folder = _existing(folder)
    layout = _layout(folder)
    if layout == COCO:
        return sorted(set(coco.files(folder)) - {""})
    if layout == YOLO:
        return sorted(yolo.describe(yolo.files(folder)[0]).splits)
    if layout == VOC:
        return voc.splits(folder)
    if layout == TABLE:
        return sorted({row.split for row in table.rows(folder / TABLE)} - {""})
    return _split_folders(folder)


def read(folder: Path, split: str | None = None) -> ImageSet:
    """The images of `folder`, of one `split` where it has splits. Raises `InvalidInput` where any of it is unclear.

    A split must be named if there are several; a single one is taken.
    """
    folder = _existing(folder)
    split = _chosen(folder, splits(folder), split)
    layout = _layout(folder)
    if layout in ANNOTATED:
        return _read_annotated(folder, folder, layout, split or "")
    if split and (below := _layout(folder / split)) in ANNOTATED:
        return _read_annotated(folder, folder / split, below, split)
    if layout == TABLE:
        items, classes = _read_table(folder, split)
    elif split:
        items, classes = _read_folder(folder / split)
        classes, items = _with_classes_of_all_splits(folder, items, classes)
    else:
        items, classes = _read_folder(folder)
    if not items:
        raise InvalidInput(
            f"No images in {folder / split if split else folder}.",
            f"Images are files that end in {' '.join(SUFFIXES)}.",
            f"Put images there: a folder a class, or a {TABLE}, or a flat folder without labels.",
        )
    return ImageSet(name=folder.name, split=split or "", items=items, classes=classes)


def match_labels(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """`images` with the labels as indices of the model's classes.

    Class names are matched by name (case and ``_`` for a space do not matter), else as integers, else in sorted order
    where the model has no names or where they are all the WordNet ids of ImageNet, and the counts agree. Raises
    `InvalidInput` where images have no labels, or labels do not match. In a detection set the labels are those of the
    boxes, and a class that no box has need not match.
    """
    if any(item.label is None and item.boxes is None for item in images.items):
        raise InvalidInput(
            f"The images of '{images.name}' have no labels.",
            "Accuracy is measured against labels.",
            f"Sort them into a folder a class, or add a {TABLE} with the columns file,label (for boxes: "
            "COCO, YOLO or VOC files).",
        )
    index: Mapping[int, int] = dict(enumerate(range(spec.classes)))
    if images.classes:
        index = _class_indices(images, spec, _used(images))
    items = tuple(_relabelled(item, index, images, spec) for item in images.items)
    return msgspec.structs.replace(images, items=items, classes=spec.labels)


def digests(images: ImageSet) -> list[str]:
    """A SHA-256 of each image's decoded pixels, in the order of the items.

    Pixels and not file bytes: a copy saved as another lossless format, or with other metadata, is the same image. It
    costs a decode an image (0.3 ms for CIFAR's JPEG files, 4.5 ms for a lossless 299x299 WebP), which is little beside
    the inferences. A file that is no 8-bit image counts by its bytes: that it cannot be used is said where it is used.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow's decoders and hashlib release the lock
        return list(pool.map(_digest, [item.path for item in images.items]))


def require_disjoint(calibration: ImageSet, evaluation: ImageSet) -> None:
    """Raise `InvalidInput` with both files if an image of `calibration` is also in `evaluation` (the same pixels)."""
    seen = dict(zip(digests(calibration), calibration.items))
    shared = [(seen[d], item) for d, item in zip(digests(evaluation), evaluation.items) if d in seen]
    if shared:
        one, other = shared[0]
        raise InvalidInput(
            f"calibration-leak: {len(shared)} of the evaluation images are also in the calibration set: "
            f"{one.path} is {other.path}.",
            "Accuracy on images that the quantizer has seen says nothing.",
            "Use two splits without a common image.",
        )


def divide(images: ImageSet, calibration: int, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """`images` as (calibration, evaluation): `calibration` images, each class in proportion, and all the others.

    The choice depends on the pixels and `seed` only, not on names or order. Copies of a chosen image are in neither
    set. Raises `InvalidInput` where that leaves nothing to evaluate on.
    """
    keys = digests(images)
    first = {key: k for k, key in reversed(list(enumerate(keys)))}
    if not 0 < calibration < len(first):
        raise InvalidInput(
            f"Cannot take {calibration} calibration images out of the {len(first)} different ones in '{images.name}'.",
            "At least one must be taken, and one left to evaluate on.",
            "Ask for fewer, or add images.",
        )
    groups: dict[int | None, list[str]] = defaultdict(list)
    for key in sorted(first, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest()):
        groups[images.items[first[key]].label].append(key)
    shares = _shares({label: len(group) for label, group in groups.items()}, calibration)
    chosen = {key for label, group in groups.items() for key in group[: shares[label]]}
    calibrating = (item for k, item in enumerate(images.items) if keys[k] in chosen and first[keys[k]] == k)
    evaluating = (item for key, item in zip(keys, images.items) if key not in chosen)
    return _part(images, "calibration", calibrating), _part(images, "evaluation", evaluating)


def spread(items: Sequence[T], count: int) -> tuple[T, ...]:
    """At most `count` of `items`, evenly out of the list: sets of images are sorted by class."""
    count = min(count, len(items))
    return tuple(items[index * len(items) // count] for index in range(count))


# --- folders ----------------------------------------------------------------------------------------------------------


def _existing(folder: Path) -> Path:
    folder = absolute(folder)
    if not folder.is_dir():
        what = "is a file, no folder" if folder.exists() else "does not exist"
        raise InvalidInput(f"The data folder {folder} {what}.", "Images are read from a folder.", "Correct the path.")
    return folder


def _folders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _split_folders(folder: Path) -> list[str]:
    names = _folders(folder)
    found = [name for name in names if name.lower() in SPLITS]
    if found and (len(found) < len(names) or _images(folder)):
        beside = next((name for name in names if name not in found), "loose images")
        raise InvalidInput(
            f"{folder} holds the split '{found[0]}' and, beside it, {beside}.",
            "A data folder holds either splits or classes: which of the two this is, is not clear.",
            "Move classes below the splits, or give the folder of one split.",
        )
    return found


def _chosen(folder: Path, names: Sequence[str], split: str | None) -> str | None:
    if split is None and len(names) > 1:
        raise InvalidInput(f"{folder} has the splits {', '.join(names)}.", "One must be chosen.", "Name the split.")
    if split is not None and split not in names:
        have = f"It has: {', '.join(names)}." if names else "It has no splits."
        raise InvalidInput(f"{folder} has no split '{split}'.", have, "Name one of its splits.")
    return split or (names[0] if names else None)


def _images(folder: Path) -> list[str]:
    """Paths of the images in `folder` itself, sorted."""
    return sorted(
        str(p) for p in folder.iterdir()
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    )  # fmt: skip


def _read_folder(folder: Path) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """A folder of one split: a folder a class, a table, or flat."""
    if (folder / TABLE).exists():
        return _read_table(folder, None)
    classes, loose = _folders(folder), _images(folder)
    if classes and loose:
        raise InvalidInput(
            f"{folder} mixes class folders ('{classes[0]}' ...) and loose images ({Path(loose[0]).name} ...).",
            "The loose images have no label.",
            "Move them into class folders, or elsewhere.",
        )
    items = [Item(path, None) for path in loose]
    for label, name in enumerate(classes):
        paths = _images(folder / name)
        if not paths:
            raise InvalidInput(
                f"The class folder {folder / name} has no images in it.",
                f"Images are files that end in {' '.join(SUFFIXES)}; folders inside a class are not searched.",
                "Add images of this class, or remove the folder.",
            )
        items += [Item(path, label) for path in paths]
    return tuple(items), tuple(classes)


def _with_classes_of_all_splits(
    folder: Path, items: tuple[Item, ...], classes: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[Item, ...]]:
    """Number the classes over all splits, so that one which lacks a class does not shift the others."""
    if not classes or any((folder / name / TABLE).exists() for name in _split_folders(folder)):
        return classes, items
    every = tuple(sorted({name for split in _split_folders(folder) for name in _folders(folder / split)}))
    index = [every.index(name) for name in classes]
    return every, tuple(Item(item.path, None if item.label is None else index[item.label]) for item in items)


# --- annotations of boxes ---------------------------------------------------------------------------------------------


def _layout(folder: Path) -> str | None:
    """Which annotations or table `folder` itself holds; None where it has only folders and images."""
    found = [(COCO, name) for name in coco.NAMES if (folder / name).is_file()]
    if any(name for name in coco.files(folder)):
        found.append((COCO, "annotations/instances_*.json"))
    found += [(YOLO, path.name) for path in yolo.files(folder)]
    if voc.present(folder):
        found.append((VOC, f"{voc.IMAGES} and {voc.ANNOTATIONS}"))
    if (folder / TABLE).exists():
        found.append((TABLE, TABLE))
    if found and found[0][0] in ANNOTATED:
        below = (name for name in _folders(folder) if name.lower() in SPLITS)
        found += [(layout, f"{name}/ with its own") for name in below if (layout := _layout(folder / name))]
    if len(found) > 1:
        raise InvalidInput(
            f"{folder} holds annotations twice: {', and '.join(name for _, name in found)}.",
            "Which of them counts is not clear.",
            "Keep one of them.",
        )
    return found[0][0] if found else None


def _read_annotated(root: Path, folder: Path, layout: str | None, split: str) -> ImageSet:
    """A detection set that lies in `folder`: the data folder `root` itself, or its split folder."""
    if folder != root:
        _chosen(folder, splits(folder), None)  # a split below a split is read only where there is one
    inner = split if folder == root else next(iter(splits(folder)), "")
    if layout == COCO:
        path = coco.files(folder)[inner]
        found = coco.read(path, inner)
    elif layout == YOLO:
        path = yolo.files(folder)[0]
        found = yolo.read(yolo.describe(path), inner)
    else:
        path = folder / voc.ANNOTATIONS
        found = voc.read(folder, inner)
    if not found.images:
        raise InvalidInput(
            f"{path} lists no images{f' for {split}' if split else ''}.", "There is nothing to read.", "Add images."
        )
    if not any(not box.crowd for _, boxes in found.images for box in boxes):
        raise InvalidInput(
            f"{path} has no boxes for the {len(found.images)} images of '{split or folder.name}' "
            f"(of {found.dropped} without an area apart).",
            "There is nothing to measure mAP on: crowds and boxes without an area do not count.",
            "Add boxes, or check that the annotations lie where the layout wants them.",
        )
    items = tuple(Item(path, None, boxes) for path, boxes in found.images)
    return ImageSet(name=root.name, split=split, items=items, classes=found.classes, dropped=found.dropped)


# --- labels.csv -------------------------------------------------------------------------------------------------------


def _read_table(folder: Path, split: str | None) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    path = folder / TABLE
    rows = table.rows(path)
    if split and (bare := next((row for row in rows if not row.split), None)):
        raise table.wrong(path, bare.line, "the split is empty", "a split in every row")
    # Numbered over all splits, so that one which lacks a class does not shift the others.
    named = not all(is_index(row.label) for row in rows)
    classes = tuple(sorted({row.label for row in rows})) if named else ()
    index = {name: k for k, name in enumerate(classes)}
    items, lines = [], dict[str, int]()
    for row in rows:
        if row.file in lines:
            raise table.wrong(path, row.line, f"'{row.file}' stands in line {lines[row.file]} already", "a file once")
        lines[row.file] = row.line
        if split is None or row.split == split:
            items.append(Item(_contained(path, row), index[row.label] if named else int(row.label)))
    return tuple(items), classes


def _contained(path: Path, row: table.Row) -> str:
    """The absolute path of a row's file, which lies beside the table or in images/; links are the user's own."""
    folder = path.parent
    below = folder if (folder / row.file).exists() or not (folder / "images").is_dir() else folder / "images"
    try:
        return str(linked_file(below, row.file))
    except InvalidInput:
        what = f"'{row.file}' is missing"
        raise table.wrong(path, row.line, what, "a file beside the table or in images/") from None
    except IntegrityError as error:
        raise IntegrityError(f"{path}, line {row.line}: {error.what}", error.why, error.fix) from None


# --- labels -----------------------------------------------------------------------------------------------------------


def _used(images: ImageSet) -> list[int]:
    """The classes that must match the model's: all of them, in a detection set those that a box has."""
    if all(item.boxes is None for item in images.items):
        return list(range(len(images.classes)))
    return sorted({box.label for item in images.items for box in item.boxes or ()})


def _relabelled(item: Item, index: Mapping[int, int], images: ImageSet, spec: ModelSpec) -> Item:
    labels = [item.label] if item.boxes is None else [box.label for box in item.boxes]
    for label in labels:
        if label not in index:
            raise _mismatch(images, spec, f"{item.path} has label {label}, the last class is {spec.classes - 1}")
    if item.boxes is None:
        assert item.label is not None
        return Item(item.path, index[item.label])
    boxes = tuple(msgspec.structs.replace(box, label=index[box.label]) for box in item.boxes)
    return Item(item.path, item.label, boxes)


def _class_indices(images: ImageSet, spec: ModelSpec, used: Sequence[int]) -> dict[int, int]:
    """For each of the `used` classes of the set the index of the model's class."""
    by_name = _unique({_plain(label): k for k, label in enumerate(spec.labels)}, spec)
    every = [_plain(name) for name in images.classes]
    names = [every[k] for k in used]
    if all(name in by_name for name in names):
        found = [by_name[name] for name in names]
    elif all(is_index(name) for name in names):
        found = [int(name) for name in names]
    elif len(every) == spec.classes and (not spec.labels or all(re.fullmatch(r"n\d{8}", name) for name in every)):
        found = list(used)
    elif spec.labels:
        unknown = next(images.classes[k] for k in used if every[k] not in by_name)
        close = get_close_matches(_plain(unknown), by_name, 1)
        hint = f" (did you mean '{spec.labels[by_name[close[0]]]}'?)" if close else ""
        raise _mismatch(images, spec, f"'{unknown}' is none of the model's classes{hint}")
    else:
        raise _mismatch(images, spec, f"the set has {len(every)} classes, the model has {spec.classes}, without names")
    if max(found, default=0) >= spec.classes or len(set(found)) < len(found):
        raise _mismatch(images, spec, f"two classes are the same, or one is beyond {spec.classes - 1}")
    return dict(zip(used, found))


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def _unique(by_name: dict[str, int], spec: ModelSpec) -> dict[str, int]:
    """`by_name` without names that the model has twice (ImageNet has two "crane"): a match would be a guess."""
    counts = Counter(_plain(label) for label in spec.labels)
    return {name: k for name, k in by_name.items() if counts[name] == 1}


def _mismatch(images: ImageSet, spec: ModelSpec, what: str) -> InvalidInput:
    known = ", ".join(spec.labels[:10]) + (" ..." if len(spec.labels) > 10 else "")
    return InvalidInput(
        f"The labels of '{images.name}' do not match the model '{spec.name}': {what}.",
        f"The model has {spec.classes} classes{': ' + known if known else ''}.",
        "Name the classes as the model's classes, or by their index from 0.",
    )


# --- identity and division --------------------------------------------------------------------------------------------


def _digest(path: str) -> str:
    about = Path(path).stat()
    return _digest_once(path, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


@functools.lru_cache(maxsize=1 << 17)
def _digest_once(path: str, *_state: int) -> str:
    """The digest of a file in this state: a run asks for those of its images several times."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.mode not in ("RGB", "L", "P", "RGBA", "LA", "1"):
                return _digest_of_bytes(path)
            pixels = image.convert("RGB")
    except MemoryError:
        raise
    except Exception:  # Pillow's parsers let anything out; vision.image says what is wrong when the image is used
        return _digest_of_bytes(path)
    digest = hashlib.sha256(f"{pixels.size}".encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def _digest_of_bytes(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _shares(sizes: Mapping[int | None, int], total: int) -> dict[int | None, int]:
    """`total` divided in proportion to `sizes` by the largest remainder (ties to the lower label)."""
    everything = sum(sizes.values())
    shares = {label: total * size // everything for label, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda label: (-(total * sizes[label] % everything), label is None, label or 0))
    for label in by_remainder[: total - sum(shares.values())]:
        shares[label] += 1
    return shares


def _part(images: ImageSet, split: str, items: Iterable[Item]) -> ImageSet:
    return msgspec.structs.replace(images, split=split, items=tuple(items))
