"""YOLO's text files: rows of boxes for an image, in ``labels/`` where the images are in ``images/``, or next to it.

The layouts of Ultralytics, Darknet and the labeling tools are in layouts.py and description.py, their paths in
paths.py, the rows in rows.py. An image without a label file is an image without boxes. No image
is opened: boxes are parts of the image until fit.py reads its size.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from edgewright.core.errors import InvalidInput
from edgewright.data.boxes import Annotated, Annotations, wrong
from edgewright.data.listing import below
from edgewright.data.remarks import Remark, counted, merged, remark
from edgewright.data.wants import PLAIN, Wants

from . import layouts, paths
from .layouts import PAIR, has_labels, minimal, require_rows
from .paths import CLASS_FILES, Images, Layout
from .rows import Rows, classes_in, looks_like_rows

__all__ = ["has_labels", "images", "marks", "read", "splits"]

MANY = 0.5
"""More than this part of the images without labels is worth a warning."""

_MOST = 100_000
"""More classes than this, where nothing names them, are no classes."""

_IMAGES = (layouts.IMAGES, "jpegimages")

_UNREADABLE = "{count|label file is a broken link|label files are broken links} or no regular file"


def marks(folder: Path) -> list[str]:
    """What in `folder` itself says that it is a YOLO set ("data.yaml", "classes.txt"); empty if nothing does."""
    return layouts.marks(folder)


def splits(folder: Path, wants: Wants | None = None) -> list[str]:
    """The splits of the set, sorted; none if it has none. Raises `InvalidInput` if the set is unclear."""
    return sorted(set(layouts.layout(folder).sources) - {""})


def images(folder: Path, split: str, wants: Wants | None = None) -> tuple[str, ...]:
    """The absolute paths of the images of `split`. No image and no label file is opened."""
    return paths.images(layouts.layout(folder), split).paths


def read(folder: Path, split: str, wants: Wants | None = None) -> Annotations:
    """The images and boxes of `split`, with the shapes that a task wants.

    Raises `InvalidInput` that names the file and the line.
    """
    layout = layouts.layout(folder)
    found = paths.images(layout, split)
    files = _LabelFiles(layout)
    labels = {path: files.of(path) for path in found.paths}
    if found.paths and not any(labels.values()):
        raise _no_labels(layout, found, split, files)
    classes, unnamed = layout.classes, list[Remark]()
    if not classes:
        classes, unnamed = _numbered(layout, files)
    rows = Rows(len(classes), layout.where.name, layout.points, wants or PLAIN)
    annotated = tuple(
        Annotated(path=path, boxes=rows.read(label) if label else (), relative=True, where=label or path)
        for path, label in labels.items()
    )
    bare = [path for path, label in labels.items() if label is None]
    unreadable = list(filter(None, map(files.unreadable, bare)))
    without = [Path(path).name for path in bare if not files.unreadable(path)]
    level: Literal["note", "warning"] = "warning" if len(without) > MANY * len(labels) else "note"
    remarks = [
        *layout.remarks, *unnamed, *found.remarks, *rows.remarks(), *_without_image(found, files),
        *remark(level, "images-without-labels", without, "{count|image has|images have} no label file: no boxes."),
        *remark("warning", "labels-unreadable", unreadable, f"{_UNREADABLE}: no boxes."),
    ]  # fmt: skip
    return Annotations(
        images=annotated, classes=classes, ordered=bool(layout.classes), remarks=merged(remarks),
        skeleton=layout.skeleton if wants and wants.keypoints else None,
    )  # fmt: skip


class _LabelFiles:
    """The label file of each image. A folder is listed once: asking for each file of a million takes longer."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._folders = dict[str, tuple[str, ...]]()
        self._names = dict[str, frozenset[str]]()
        self._dead = dict[str, frozenset[str]]()

    def of(self, image: str) -> str | None:
        """The label file of `image`; None if it has none."""
        parent, name = _label_of(image)
        for folder in self.folders(parent):
            if name in self._listed(folder):
                return os.path.join(folder, name)  # noqa: PTH118
        return None

    def unreadable(self, image: str) -> str | None:
        """The name of the label file of `image` where it is a link that leads nowhere, or a pipe; asked after `of`."""
        parent, name = _label_of(image)
        return name if any(name in self._dead.get(folder, ()) for folder in self.folders(parent)) else None

    def folders(self, parent: str) -> tuple[str, ...]:
        """Where the labels of the images in `parent` may be: the last folder ``images`` of the path (Darknet:
        ``JPEGImages``) becomes ``labels``, in any capitals; or in `parent` itself, or in ``labels`` in it."""
        if parent not in self._folders:
            parts = list(Path(parent).relative_to(self._layout.folder).parts)
            last = next((k for k in reversed(range(len(parts))) if parts[k].lower() in _IMAGES), len(parts))
            labels = paths.called(self._layout.folder.joinpath(*parts[:last]), layouts.LABELS)
            mirrored = str(labels.joinpath(*parts[last + 1 :]))
            beside = self._layout.beside or last == len(parts)
            self._folders[parent] = (parent, mirrored) if beside else (mirrored, parent)
        return self._folders[parent]

    def _listed(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            try:
                with os.scandir(folder) as entries:  # files only: a pipe would hang the reader
                    texts = [(one.name, one.is_file(), one.is_dir()) for one in entries if one.name.endswith(".txt")]
            except (FileNotFoundError, NotADirectoryError):
                texts = []
            self._names[folder] = frozenset(name for name, is_file, _ in texts if is_file)
            self._dead[folder] = frozenset(name for name, is_file, is_dir in texts if not is_file and not is_dir)
        return self._names[folder]


def _label_of(image: str) -> tuple[str, str]:
    """The folder of `image`, and the name of its label file."""
    parent, name = os.path.split(image)
    return parent, f"{os.path.splitext(name)[0]}.txt"  # noqa: PTH122


def _numbered(layout: Layout, files: _LabelFiles) -> tuple[tuple[str, ...], list[Remark]]:
    """The classes "0", "1" ... that the labels of all splits have, so that every split numbers them alike."""
    require_rows(layout.folder)
    every = (path for split in layout.sources for path in paths.images(layout, split).paths)
    count = 0
    for label in filter(None, map(files.of, every)):
        if (highest := classes_in(label)) > _MOST:
            raise wrong(label, f"a class is {highest - 1}", f"classes below {_MOST}")
        count = max(count, highest)
    text = "No file (data.yaml or classes.txt) names the classes: their numbers are used as names."
    return tuple(map(str, range(count))), remark("warning", "class-names-unknown", [PAIR], text)


def _without_image(found: Images, files: _LabelFiles) -> list[Remark]:
    """A remark on the label files in the folders that were searched which no image has."""
    orphans = list[str]()
    for folder, deep in found.searched:
        listings = [below(Path(place), deep=deep) for place in files.folders(str(folder)) if Path(place).is_dir()]
        owned = {files.of(image) for image in below(folder, deep=deep).images}
        texts = (path for listing in listings for path in listing.others if path.endswith(".txt") and path not in owned)
        orphans += [path for path in texts if os.path.basename(path) not in CLASS_FILES and looks_like_rows(Path(path))]  # noqa: PTH119
    names = [os.path.basename(path) for path in dict.fromkeys(orphans)]  # noqa: PTH119
    return remark(
        "warning", "labels-without-image", names, "{count|label file has|label files have} no image: left out."
    )


def _no_labels(layout: Layout, found: Images, split: str, files: _LabelFiles) -> InvalidInput:
    image, dead = Path(found.paths[0]), list(filter(None, map(files.unreadable, found.paths)))
    noticed = f" {counted(_UNREADABLE, len(dead))} ({dead[0]})." if dead else ""
    places = " or ".join(str(Path(place) / f"{image.stem}.txt") for place in files.folders(str(image.parent)))
    seen = sorted(path.name + ("/" if path.is_dir() else "") for path in layout.folder.iterdir())[:10]
    return InvalidInput(
        f"None of the {len(found.paths)} images of '{split or layout.folder.name}' in {layout.where} has a label file: "
        f"there is no {places}.",
        f"The content of the images is unknown.{noticed} The folder holds {', '.join(seen)}.",
        minimal(),
    )
