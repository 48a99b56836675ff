"""Image sets: the layout of a folder, its splits, and its images.

Three layouts have one class per image: one folder per class, a flat folder of unlabeled images (folders.py), and a
table ``labels.csv`` (table.py). Four have objects: COCO's JSON (coco), YOLO's text files (yolo), Pascal VOC's XML (voc)
and DOTA's text files (dota). In others a file belongs to each image (paired). Each layout can be below split folders
(``train``, ``test`` ...). A mix of two layouts is an error. If a reader omits something or finds something ambiguous,
it adds a remark.

Other packages import everything from this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.core.files import absolute
from edgewright.core.image_files import SUFFIXES

from . import coco, dota, folders, listing, paired, points, samples, table, voc, yolo
from .boxes import Absent, Annotations
from .choosing import apart, choose, divide, require_disjoint, spread
from .classes import match_labels
from .coco import maps
from .coco.files import class_maps
from .fit import fit
from .items import ImageSet, Item
from .splits import role
from .table import TABLE
from .wants import Wants
from .yolo.layouts import PAIR

__all__ = [
    "Absent", "ImageSet", "Item", "annotated_near", "apart", "choose", "chosen", "divide", "listed",
    "match_labels", "read", "require_disjoint", "splits", "spread",
]  # fmt: skip

COCO, YOLO, VOC, DOTA, POINTS = "COCO", "YOLO", "VOC", "DOTA", "landmarks"
BOXES: dict[str, ModuleType] = {COCO: coco, YOLO: yolo, VOC: voc, DOTA: dota}
"""The layouts with boxes."""
READERS = {**BOXES, POINTS: points}
"""The layouts with objects. Each module has `marks`, `splits`, `images` and `read`."""


def splits(folder: Path, wants: Wants | None = None) -> list[str]:
    """Return the sorted splits of `folder`: its split folders, or those that its table or annotations name."""
    folder = _root(folder, wants)
    if found := _maps(folder, wants):
        return sorted(set(found) - {""})
    if pairs := _paired(folder, wants):
        return sorted(set(pairs.parts) - {""})
    layout = _layout(folder, wants)
    if layout in READERS:
        return sorted(READERS[layout].splits(folder, wants))
    return table.splits(folder) if layout == TABLE else folders.splits(folder)


def read(folder: Path, split: str | None = None, wants: Wants | None = None) -> ImageSet:
    """Read the images of `folder`, or of one `split`. Raises `InvalidInput` if anything is ambiguous.

    If there are several splits, you must name one. A single split is used without a name. `wants`: the labels to read;
    None if the task is not known: then classes and boxes are read, and for other labels only the images are listed.
    """
    return _read(folder, split, wants, with_boxes=True)


def listed(folder: Path, split: str | None = None, wants: Wants | None = None) -> ImageSet:
    """Read without annotations of boxes and files of pairs, to choose a few images of many."""
    return _read(folder, split, wants, with_boxes=False)


def _read(folder: Path, split: str | None, wants: Wants | None, with_boxes: bool) -> ImageSet:
    root = _root(folder, wants)
    split = chosen(root, splits(root, wants), split)
    if _maps(root, wants):
        return _known(maps.read(root, split, with_boxes), folder, wants)
    if pairs := _paired(root, wants):
        known = wants is not None and wants.pair == pairs.kind
        found = paired.read(pairs, split, labels=with_boxes and known)
        return _known(found, folder, wants, "" if known else paired.unread(pairs))
    below, layout = root, _layout(root, wants)
    if layout is None and split:
        below = root / split
        layout = _layout(below, wants)
    place = below / split if split and below == root else below
    if layout is None and samples.present(place):
        return _known(samples.read(root, place, split), folder, wants)
    if layout in READERS:
        found = _annotated(_Place(root, below, split), READERS[layout], wants, with_boxes)
    elif layout == TABLE:
        found = table.read(root, below, split)
    else:
        found = folders.read(root, split)
    if not found.items:
        others = f" It has {len(names)} folders ({names[0]} ...)." if (names := listing.folders(below)) else ""
        raise InvalidInput(
            f"No images in {below}{f' for {split}' if split else ''}.{others}",
            f"Images have the extension {' '.join(SUFFIXES)}.",
            f"Put images there: one folder per class, or a {TABLE}, or a flat folder without labels.",
        )
    return _known(found, folder, wants, found.unread)


def _known(found: ImageSet, folder: Path, wants: Wants | None, unread: str = "") -> ImageSet:
    folder = absolute(folder)
    return msgspec.structs.replace(
        found, name=folder.name, folder=str(folder), read_split=found.split, wants=wants, unread=unread
    )


def annotated_near(images: ImageSet) -> str:
    """Return where unread annotations of boxes are, if the user named another folder; "" if there are none."""
    first = Path(images.items[0].path)
    for folder in list(first.parents)[:4]:
        for layout, reader in BOXES.items():
            if marks := reader.marks(folder):
                return f"{folder} holds {layout} annotations ({marks[0]})"
    return ""


def _root(folder: Path, wants: Wants | None) -> Path:
    """Return the data folder, or the only folder in it if that wraps its content."""
    folder = absolute(folder)
    if not folder.is_dir():
        what, do = "does not exist", "Correct the path."
        if folder.exists():
            what, do = "is a file", f"Give the folder that it is in: {folder.parent}"
        raise InvalidInput(f"The data folder {folder} {what}.", "Images are read from a folder.", do)
    if _maps(folder, wants) or _paired(folder, wants) or _layout(folder, wants) is not None:
        return folder
    return folders.inner(folder)


def _maps(folder: Path, wants: Wants | None) -> dict[str, Path]:
    """Return COCO's files with maps of classes by split, if a task wants maps."""
    return class_maps(folder) if wants is not None and wants.pair == "classes" else {}


def _paired(folder: Path, wants: Wants | None) -> paired.Layout | None:
    """Return the layout of `folder` if a file belongs to each image. If the task is not known, boxes come first."""
    if wants is not None:
        return paired.find(folder, wants.pair) if wants.pair else None
    found = next((found for kind in paired.KINDS if (found := paired.find(folder, kind, sure=True))), None)
    if found is None or (layout := _layout(folder, None)) is None:
        return found
    return found if layout == YOLO and not yolo.has_labels(folder) else None


def chosen(folder: Path, names: Sequence[str], split: str | None) -> str:
    """Return which of the splits `names` of `folder` `split` means, by any of its names; "" without splits."""
    if split is None and len(names) > 1:
        raise InvalidInput(f"{folder} has the splits {', '.join(names)}.", "You must choose one.", "Name the split.")
    if split is None or split in names:
        return split or (names[0] if names else "")
    same = [name for name in names if role(split) and role(name) == role(split)]
    if len(same) == 1:
        return same[0]
    have = f"It has: {', '.join(names)}." if names else "It has no splits."
    raise InvalidInput(f"{folder} has no split '{split}'.", have, "Name one of its splits.")


def _layout(folder: Path, wants: Wants | None) -> str | None:
    """Return which annotations or table `folder` itself contains; None if it has only folders and images."""
    found = _boxes_or_table(folder)
    if found is None and (wants is None or wants.keypoints) and points.marks(folder, sure=wants is None):
        return POINTS
    return found


def _boxes_or_table(folder: Path) -> str | None:
    found = [(layout, mark) for layout, reader in BOXES.items() for mark in reader.marks(folder)[:1]]
    if table.present(folder):
        found.append((TABLE, TABLE))
    if len(found) > 1:  # Ultralytics' download of COCO has labels/ next to annotations/, and the description has more
        found = [one for one in found if one != (YOLO, PAIR)]
    if len(found) == 1 and found[0][0] in BOXES:
        # A description of the complete set can be above the split folders (Roboflow's data.yaml).
        described = found[0][0] if BOXES[found[0][0]].splits(folder) else None
        below = {name: _boxes_or_table(folder / name) for name in listing.folders(folder) if role(name)}
        found += [
            (layout, f"{name}/ with its own") for name, layout in below.items() if layout not in (None, described)
        ]
    if len(found) > 1:
        raise InvalidInput(
            f"{folder} holds annotations twice: {', and '.join(name for _, name in found)}.",
            "edgewright cannot know which of them to use.",
            "Keep one of them.",
        )
    return found[0][0] if found else None


class _Place(msgspec.Struct, frozen=True):
    """Where annotations are: in the data folder `root` itself, or in its split folder."""

    root: Path
    folder: Path
    split: str


def _annotated(place: _Place, reader: ModuleType, wants: Wants | None, with_boxes: bool) -> ImageSet:
    """Read a set with annotations of objects."""
    root, folder, split = place.root, place.folder, place.split
    inner = split if folder == root else chosen(folder, reader.splits(folder, wants), None)
    foreign, has_boxes = coco.foreign(folder) if reader is coco and wants is None else ("", True)
    if not with_boxes or not has_boxes:
        items = tuple(Item(path, None) for path in reader.images(folder, inner, wants))
        return ImageSet(name=root.name, split=split, items=items, classes=(), unread=foreign)
    found: Annotations = reader.read(folder, inner, wants)
    where = reader.marks(folder)[0]
    if not found.images:
        raise InvalidInput(
            f"{folder / where} lists no images{f' for {split}' if split else ''}.",
            "There is nothing to read.",
            "Add images, or correct the folders that it names.",
        )
    if not any(not box.crowd for image in found.images for box in image.boxes):
        raise InvalidInput(
            f"{folder / where} has no boxes for the {len(found.images)} images of '{split or folder.name}'"
            f"{_noticed(found)}.",
            "Without boxes, mAP cannot be measured: crowds and boxes without area do not count.",
            "Add boxes, or check that the annotations are where the layout expects them.",
        )
    items, remarks = fit(found)
    images = ImageSet(
        name=root.name, split=split, items=items, classes=found.classes, order="file", skeleton=found.skeleton,
        unread=foreign,
    )  # fmt: skip
    if not found.ordered and reader is yolo:  # rows contain indices without names
        images = msgspec.structs.replace(images, classes=(), order="index")
    elif not found.ordered:
        images = _numbered_over_all(root, reader, images) if folder != root else images
        images = msgspec.structs.replace(images, order="sorted")
    return images.noticed((*found.remarks, *remarks))


def _numbered_over_all(root: Path, reader: ModuleType, found: ImageSet) -> ImageSet:
    """Renumber the sorted classes of `found` over all splits of `root`, so that a missing class shifts no others."""
    every = set(found.classes)
    for name in folders.splits(root):
        if reader.marks(root / name):
            every |= set(reader.read(root / name, chosen(root / name, reader.splits(root / name), None)).classes)
    classes = tuple(sorted(every, key=int if all(map(table.is_index, every)) else None))
    index = [classes.index(name) for name in found.classes]
    items = tuple(
        msgspec.structs.replace(
            item, boxes=tuple(msgspec.structs.replace(box, label=index[box.label]) for box in item.boxes or ())
        )
        for item in found.items
    )
    return msgspec.structs.replace(found, items=items, classes=classes)


def _noticed(found: Annotations) -> str:
    severe = [one.text.rstrip(".") for one in found.remarks if one.level != "note"]
    return f" ({'; '.join(severe[:2])})" if severe else ""
