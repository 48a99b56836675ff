"""The rows of YOLO's label files: a class, and a box's center, width and height as parts of the image.

Read as Ultralytics reads them (``verify_image_label``), but a bad row is an error with its line, not an image that is
left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from edgewright.data.boxes import Box, box, finite, outline, shoelace, text_of, wrong
from edgewright.data.remarks import NAMED, Remark, counted
from edgewright.data.wants import PLAIN, Wants

TOLERANCE = 0.01
"""Ultralytics accepts a center or a side this far outside 0 to 1, because tools round."""

_COLUMNS = "class, center x, center y, width, height"
_TRACKED = 6
"""So many columns has a row with a track id."""

_CORNERS = 8
"""So many numbers has a rotated box."""

_HEAD = 4096

PERSON = 0.53
"""The part of a box that an object with keypoints covers: a file without masks has no area. Ultralytics' validator
computes keypoint similarity with it."""


class Rows:
    """Reads label files, and counts what it changed or left out.

    `count` is the number of classes, `described` the file that names them; `points` the number of keypoints and of the
    values of each, behind the box in a row of a pose set; `wants` the labels of the task.
    """

    def __init__(self, count: int, described: str, points: tuple[int, int] | None = None, wants: Wants = PLAIN) -> None:
        self._count, self._described, self._points, self._wants = count, described, points, wants
        self._keypoints = points[0] * points[1] if points else 0
        self._polygons, self._poses, self._bare = list[str](), list[str](), list[str]()
        self._duplicates, self._flat = list[str](), list[str]()
        if wants.keypoints and not points:
            raise wrong(described, "it has no kpt_shape", "kpt_shape: [points, 3], as in Ultralytics' pose sets")

    def read(self, path: str) -> tuple[Box, ...]:
        """The boxes of one label file, in parts of the image. Raises `InvalidInput` with file and line."""
        found, seen = list[Box](), set[tuple[float, ...]]()
        lines = text_of(Path(path)).splitlines()
        for number, line in enumerate(lines, 1):
            if not (row := line.split()):
                continue
            where = f"{path}, line {number}"
            label, numbers = self._label(where, row[0]), _numbers(where, row)
            values = self._box_values(where, row, numbers, lines)
            if (key := (label, *(values if self._wants == PLAIN else numbers))) in seen:
                self._duplicates.append(where)
                continue
            seen.add(key)
            cx, cy, w, h = values if len(values) == 4 else _around(values)
            _require_parts(where, (cx, cy), (w, h))
            one = box(label, (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
            if one is None:
                self._flat.append(where)
            else:
                found.append(one if self._wants == PLAIN else self._shaped(where, one, numbers))
        return tuple(found)

    def _shaped(self, where: str, one: Box, numbers: tuple[float, ...]) -> Box:
        """The box `one` with what the task wants of its row."""
        if self._wants.keypoints:
            points = self._pose(where, numbers[4:])
            return msgspec.structs.replace(one, keypoints=points, area=PERSON * one.area)
        if self._wants.corners:
            return msgspec.structs.replace(one, corners=numbers, area=shoelace(numbers))
        if self._wants.masks and len(numbers) == 4:
            self._bare.append(where)
            return msgspec.structs.replace(one, polygons=outline(one))
        return msgspec.structs.replace(one, polygons=(numbers,)) if self._wants.masks else one

    def _pose(self, where: str, numbers: tuple[float, ...]) -> tuple[tuple[float, float, int], ...]:
        """The keypoints in parts of the image. In a set without visibility, a point at 0 0 is not labeled."""
        assert self._points
        width = self._points[1]
        found = list[tuple[float, float, int]]()
        for k in range(self._points[0]):
            x, y, *more = numbers[k * width : (k + 1) * width]
            visible = more[0] if more else 2 * float((x, y) != (0, 0) and min(x, y) >= 0)
            if visible not in (0, 1, 2):
                what = f"the visibility of keypoint {k} is {visible:g}"
                raise wrong(where, what, "0 (not labeled), 1 (hidden) or 2 (visible)")
            if visible and (min(x, y) < -TOLERANCE or max(x, y) > 1 + TOLERANCE):
                raise wrong(where, f"keypoint {k} is {x:g} {y:g}", "fractions of the image, 0 to 1 (not pixels)")
            found.append((x, y, int(visible)))
        return tuple(found)

    def remarks(self) -> list[Remark]:
        """The remarks on all files that were read."""
        twice = "{count|row repeats|rows repeat} another row of the label file: counted once."
        polygons = "{count|label is a polygon|labels are polygons}: the box around it is used."
        bare = "{count|label is a box|labels are boxes} without a polygon: the box is used as the mask."
        flat = "{count|box has|boxes have} a width or height that is not above 0: left out."
        return [
            *_remark("warning", "duplicate-boxes", self._duplicates, twice),
            *_remark("warning", "boxes-without-area", self._flat, flat),
            *_remark("note", "polygons-as-boxes", self._polygons, polygons),
            *_remark("warning", "objects-without-mask", self._bare, bare),
            *_remark(
                "note", "keypoints-left-out", self._poses, "{count|label has|labels have} keypoints: the box is used."
            ),
        ]

    def _label(self, where: str, text: str) -> int:
        label = int(text) if text.isdecimal() and len(text) < 10 else _whole(text)
        if label is None or not label < self._count:
            allowed = f"an index from 0 to {self._count - 1}, as in {self._described}"
            raise wrong(where, f"the class is '{text}'", allowed)
        return label

    def _box_values(
        self, where: str, row: list[str], values: tuple[float, ...], lines: Sequence[str]
    ) -> tuple[float, ...]:
        """The four values of a box, or the points of a polygon. `lines`: all of the file, for the error."""
        if self._wants.keypoints and len(values) != 4 + self._keypoints:
            expected = 5 + self._keypoints
            raise wrong(
                where, f"it has {len(row)} columns", f"{expected}: {_COLUMNS}, and {self._keypoints} keypoint values"
            )
        if self._wants.corners and len(values) != _CORNERS:
            raise wrong(where, f"it has {len(row)} columns", "class, and x y of the four corners of a rotated box")
        if len(values) == 4:
            return values
        if self._keypoints and len(values) == 4 + self._keypoints:
            if not self._wants.keypoints:
                self._poses.append(where)
            return values[:4]
        if len(values) >= 6 and len(values) % 2 == 0:
            if not self._wants.masks and not self._wants.corners:
                self._polygons.append(where)
            return values
        what = f"it has {len(row)} columns"
        if len(row) == _TRACKED and _has_tracks(row, lines):
            what += f", and the last ({row[-1]}) is a track id"
            raise wrong(where, what, f"{_COLUMNS}: export without tracks (CVAT: Ultralytics YOLO Detection 1.0)")
        if len(values) >= 5 and len(values) % 2 == 1 and 0 <= values[-1] <= 1:
            what += f", as a model's predictions do ({row[-1]} would be a confidence)"
            raise wrong(where, what, f"labels: {_COLUMNS} (of a pose set: kpt_shape in the YAML)")
        raise wrong(where, what, f"{_COLUMNS}, or class and the points of a polygon")


def classes_in(path: str) -> int:
    """One more than the highest class of a label file; 0 if it has no rows."""
    return max(
        (label + 1 for line in text_of(Path(path)).splitlines() if (label := _first(line)) is not None), default=0
    )


def looks_like_rows(path: Path) -> bool | None:
    """Whether the first row of a file is one of a label file; None if it is empty."""
    with path.open("rb") as file:
        lines = file.read(_HEAD).decode("utf-8-sig", "replace").splitlines()
    row = next((found for line in lines if (found := line.split())), None)
    if row is None:
        return None
    number = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
    return len(row) >= 5 and _whole(row[0]) is not None and all(re.fullmatch(number, one) for one in row[:5])


def _has_tracks(row: Sequence[str], lines: Sequence[str]) -> bool:
    """Whether the sixth column of `row` is a track id of CVAT: a number that no confidence is, or whole in all rows."""
    last = [found[-1] for line in lines if len(found := line.split()) == _TRACKED]
    return row[-1].isdecimal() and (int(row[-1]) > 1 or all(map(str.isdecimal, last)))


def _first(line: str) -> int | None:
    row = line.split(maxsplit=1)
    return _whole(row[0]) if row else None


def _whole(text: str) -> int | None:
    """The class that `text` is: "1", or "1.0" as pandas and numpy write it; None if it is not one."""
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if 0 <= number < 10**9 and number == int(number) else None


def _numbers(where: str, row: list[str]) -> tuple[float, ...]:
    try:
        values = tuple(map(float, row[1:]))
    except ValueError:
        values = (float("nan"),)
    if not finite(values):
        shown = " ".join(row[1:])
        raise wrong(where, f"the box is {shown[:80]}", "finite numbers")
    return values


def _around(points: tuple[float, ...]) -> tuple[float, float, float, float]:
    """The box around the points x1, y1, x2, y2 ... of a polygon."""
    xs, ys = points[::2], points[1::2]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _require_parts(where: str, centre: tuple[float, float], sides: tuple[float, float]) -> None:
    for name, values in (("centre", centre), ("size", sides)):
        if min(values) < -TOLERANCE or max(values) > 1 + TOLERANCE:
            what = f"the {name} is {values[0]:g} {values[1]:g}"
            raise wrong(where, what, "fractions of the image, 0 to 1 (not pixels)")


def _remark(level: Literal["note", "warning"], code: str, places: list[str], text: str) -> list[Remark]:
    """A remark on the rows `places`, with the files that they are in, each once."""
    if not places:
        return []
    files = dict.fromkeys(os.path.basename(place.rpartition(", line ")[0]) for place in places)  # noqa: PTH119
    names = tuple(files)[:NAMED]
    return [Remark(level=level, code=code, text=counted(text, len(places)), count=len(places), names=names)]
