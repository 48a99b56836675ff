"""List the files below a folder: images, and files that are not read."""

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
    ".txt", ".json", ".xml", ".csv", ".md", ".yaml", ".yml", ".names", ".data", ".html", ".log", ".pdf", ".rst",
)  # fmt: skip
"""Files that are usual next to images: annotations, licenses, notes."""


class Listing(msgspec.Struct, frozen=True):
    """The sorted paths of images, of other files, and of entries that are not files (broken links, pipes)."""

    images: tuple[str, ...]
    others: tuple[str, ...]
    dead: tuple[str, ...] = ()

    def left_out(self) -> list[Remark]:
        """Return remarks on broken links, and on unread files that are not documents, such as unsupported image
        formats."""
        found = [path for path in self.others if Path(path).suffix.lower() not in _DOCUMENTS]
        kinds = Counter(Path(path).suffix.lower() or "without an extension" for path in found)
        what = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
        text = f"{{count|file|files}} next to the images have no known image format and are not read: {what}."
        dead = "{count|link points|links point} to a file that does not exist or cannot be read: left out."
        return [
            *remark("warning", "files-left-out", [Path(path).name for path in found], text),
            *remark("warning", "dead-links", [Path(path).name for path in self.dead], dead),
        ]


def below(folder: Path, *, deep: bool = True, inside: Sequence[Path] = ()) -> Listing:
    """List the files in `folder` and, if `deep`, in the folders below it. Links are followed as in torchvision.

    An image is a file with one of `SUFFIXES` in upper or lower case, or a file without an extension that begins with
    the bytes of an image. Hidden files and files of the system (``.DS_Store``, ``__MACOSX``) are left out. A link to a
    folder that contains it, or to one of `inside`, is not followed.
    """
    images, others, dead = list[str](), list[str](), list[str]()
    for path, is_file in _files(str(folder), deep, tuple(map(_identity, inside))):
        (dead if not is_file else images if _is_image(path) else others).append(path)
    return Listing(tuple(sorted(images)), tuple(sorted(others)), tuple(sorted(dead)))


def folders(folder: Path) -> list[str]:
    """Return the names of the folders in `folder`, sorted as text. Links are followed."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not _is_hidden(entry.name) and entry.is_dir())


def _files(folder: str, deep: bool, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, bool]]:
    """Yield each path that is not a folder, and whether it is a regular file."""
    identity = _identity(folder)
    if identity in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_hidden(entry.name):
                continue
            if entry.is_file():
                yield entry.path, True
            elif not entry.is_dir():
                yield entry.path, False
            elif deep:
                yield from _files(entry.path, deep, (*above, identity))


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116 - of 100,000 files a Path each takes longer than the listing
    return status.st_dev, status.st_ino


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or bool(DROPPINGS.fullmatch(name))


def _is_image(path: str) -> bool:
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - as above
    if suffix in SUFFIXES:
        return True
    if suffix:
        return False
    with open(path, "rb") as file:  # noqa: PTH123 - as above
        return is_image(file.read(HEAD))
