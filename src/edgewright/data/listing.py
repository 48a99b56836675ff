"""The files below a folder: which are images, and which are not read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edgewright.core.files import DROPPINGS
from edgewright.core.image_files import HEAD, SUFFIXES, is_image

from .remarks import Remark, remark

_DOCUMENTS = (
    ".txt",
    ".json",
    ".xml",
    ".csv",
    ".md",
    ".yaml",
    ".yml",
    ".names",
    ".data",
    ".html",
    ".log",
    ".pdf",
    ".rst",
)
"""Files that stand beside images in any data set: annotations, licences, notes."""


class Listing(msgspec.Struct, frozen=True):
    """Paths of images, sorted, and of the other files."""

    images: tuple[str, ...]
    others: tuple[str, ...]

    def left_out(self) -> list[Remark]:
        """A remark on the other files that are no documents, such as images in a format that is not read."""
        found = [path for path in self.others if Path(path).suffix.lower() not in _DOCUMENTS]
        kinds = Counter(Path(path).suffix.lower() or "without an ending" for path in found)
        what = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
        text = f"{{count|file|files}} beside the images: not read, since no image of a known format: {what}."
        return remark("warning", "files-left-out", [Path(path).name for path in found], text)


def below(folder: Path, *, deep: bool = True) -> Listing:
    """The files in `folder`, and (`deep`) in the folders below it, whose links are followed as torchvision does.

    An image is a file with one of `SUFFIXES`, in any case; one without an ending is an image if its first bytes say so.
    What systems leave in folders (``.DS_Store``, ``Thumbs.db``) and hidden files are neither.
    """
    images, others = list[str](), list[str]()
    for path in _files(str(folder), deep, ()):
        (images if _is_image(path) else others).append(path)
    return Listing(tuple(sorted(images)), tuple(sorted(others)))


def _files(folder: str, deep: bool, above: Sequence[tuple[int, int]]) -> Iterator[str]:
    status = os.stat(folder)  # noqa: PTH116 - of 100,000 files a Path each takes longer than the listing
    identity = (status.st_dev, status.st_ino)
    if identity in above:  # a link to a folder that it lies in
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or DROPPINGS.fullmatch(entry.name):
                continue
            if entry.is_dir():
                if deep:
                    yield from _files(entry.path, deep, (*above, identity))
            elif entry.is_file():
                yield entry.path


def _is_image(path: str) -> bool:
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - as above
    if suffix in SUFFIXES:
        return True
    if suffix:
        return False
    with open(path, "rb") as file:  # noqa: PTH123 - as above
        return is_image(file.read(HEAD))
