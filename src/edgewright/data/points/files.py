"""The lines of files with landmarks, checked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgewright.core.image_files import SUFFIXES
from edgewright.data.boxes import finite, text_of, wrong

_FEWEST = 4
"""So many numbers has a line of points at least."""

_HEAD, _LARGE = 1 << 14, 20
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_POINTS = re.compile(r"(\d+)pts?(?![a-z])")
NAMED = re.compile(r"landmark|\d+pts?(?![a-z])|keypoint|wflw", re.IGNORECASE)
"""A name that says that a list has landmarks."""

_LARGEST = 1 << 20


class Landmarks(msgspec.Struct, frozen=True, kw_only=True):
    """One object: its image, its points in pixels, its box (x1, y1, x2, y2) if there is one, and where it is."""

    image: str
    points: tuple[tuple[float, float], ...]
    box: tuple[float, float, float, float] | None = None
    where: str


def pts(path: str, image: str) -> Landmarks:
    """The points of a ``.pts`` file. Raises `InvalidInput` with file and line."""
    every = text_of(Path(path)).splitlines()
    count, points, inside = None, list[tuple[float, float]](), False
    for number, line in enumerate(every, 1):
        text, where = line.strip(), f"{path}, line {number}"
        key, colon, value = text.partition(":")
        if colon and key.strip().casefold() == "n_points":
            if not value.strip().isdecimal():
                raise wrong(where, f"n_points is '{value.strip()[:40]}'", "a whole number")
            count = int(value)
        elif text in ("{", "}"):
            inside = text == "{"
        elif text and inside:
            values = _floats(text.split())
            if len(values) != 2:
                raise wrong(where, f"the point is '{text[:60]}'", "x and y in pixels")
            points.append((values[0] - 1, values[1] - 1))
    if not points:
        raise wrong(path, "it has no points", "n_points: 68, and x and y of each point in lines between { and }")
    if count is not None and count != len(points):
        raise wrong(path, f"n_points is {count}, and there are {len(points)} points", "as many points as n_points")
    return Landmarks(image=image, points=tuple(points), where=path)


def lines(path: Path) -> Iterator[Landmarks]:
    """The objects of a list. Raises `InvalidInput` with file and line."""
    count = _POINTS.search(path.name)
    for number, line in enumerate(text_of(path).splitlines(), 1):
        row, where = line.replace(",", " ").split(), f"{path}, line {number}"
        if not row or (number <= 2 and not _is_row(row)):
            continue  # CelebA: the number of images, and the names of the points
        if not _is_image(row[0]) and not _is_image(row[-1]):
            raise wrong(where, "it names no image", "the points of an object, and the name of its image")
        image, cells = (row[-1], row[:-1]) if _is_image(row[-1]) else (row[0], row[1:])
        values = _floats(cells)
        if len(values) != len(cells):
            raise wrong(where, "a value is no number", "x and y of each point in turn, in pixels")
        points = int(count[1]) if count else len(values) // 2
        if len(values) < 2 * points or (not count and len(values) % 2):
            raise wrong(where, f"it has {len(values)} numbers", f"at least {2 * points}: x and y of {points} points")
        box, rest = None, values[2 * points :]
        if len(rest) >= 4 and rest[2] > rest[0] and rest[3] > rest[1]:
            box = (rest[0], rest[1], rest[2], rest[3])
        pairs = tuple(zip(values[: 2 * points : 2], values[1 : 2 * points : 2]))
        yield Landmarks(image=image, points=pairs, box=box, where=where)


def names(path: Path) -> tuple[str, ...]:
    """The names of the points in the head of a list (CelebA: ``lefteye_x lefteye_y ...``); empty if there are none."""
    for line in _head(path)[:2]:
        row = line.split()
        if len(row) >= 2 and len(row) % 2 == 0 and all(name.endswith("_x") for name in row[::2]):
            return tuple(name[:-2] for name in row[::2])
    return ()


def lists(folder: Path) -> list[Path]:
    """The lists of landmarks in `folder` and two levels below it, sorted."""
    texts = sorted(found(folder, ".txt"))
    if len(texts) > _LARGE:  # a label file an image
        return []
    return [path for path in texts if any(_is_row(line.replace(",", " ").split()) for line in _head(path)[:3])]


def found(folder: Path, suffix: str, deep: int = 2) -> Iterator[Path]:
    """The files that end in `suffix` in `folder`, and `deep` levels below it."""
    with os.scandir(folder) as entries:
        every = [entry for entry in entries if not entry.name.startswith(".")]
    yield from (Path(one.path) for one in every if one.name.lower().endswith(suffix) and one.is_file())
    for one in every if deep else ():
        if one.is_dir():
            yield from found(Path(one.path), suffix, deep - 1)


def _head(path: Path) -> list[str]:
    with path.open("rb") as file:
        return file.read(_HEAD).decode("utf-8-sig", "replace").splitlines()


def _is_row(row: list[str]) -> bool:
    """Whether a line has the name of an image, and else numbers."""
    if len(row) <= _FEWEST or _is_image(row[0]) == _is_image(row[-1]):
        return False
    return all(map(_NUMBER.fullmatch, row[1:] if _is_image(row[0]) else row[:-1]))


def _is_image(text: str) -> bool:
    return text.lower().endswith(SUFFIXES)


def _floats(cells: list[str]) -> list[float]:
    """The numbers of cells; fewer if one is no finite number, or no pixel."""
    found = [float(cell) for cell in cells if _NUMBER.fullmatch(cell)]
    return [value for value in found if finite([value]) and abs(value) < _LARGEST]
