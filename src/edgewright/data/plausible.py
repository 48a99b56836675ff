"""Find boxes with impossible numbers, in any format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from edgewright.core.errors import InvalidInput

from .boxes import Annotated
from .remarks import Remark, remark

FEWEST = 3
"""Fewer boxes are not enough to recognize wrong numbers."""

_SMALLEST = 2
"""In an image with at most this many pixels, a box of one pixel is large."""


def duplicates(images: Sequence[Annotated]) -> list[Remark]:
    """Return a remark on boxes that occur twice in an image, with the same class and corners. They are kept."""
    places = list[str]()
    for image in images:
        corners = [(box.label, box.x1, box.y1, box.x2, box.y2) for box in image.boxes]
        places += [image.path.rpartition("/")[2]] * (len(corners) - len(set(corners)))
    text = "{count|box repeats|boxes repeat} the class and corners of another box of the image: counted as an object."
    return remark("warning", "duplicate-boxes", places, text)


def without_area(places: Sequence[str]) -> list[Remark]:
    """Return a remark on boxes whose sides are zero or negative. They were left out."""
    return remark("warning", "boxes-without-area", places, "{count|box|boxes} without an area: left out.")


def require_pixels(
    boxes: Sequence[Sequence[float]], sizes: Iterable[tuple[int, int] | None], where: Callable[[], str]
) -> None:
    """Raise `InvalidInput` at `where`, the place of the first of `boxes`, if all numbers are fractions of the image."""
    if len(boxes) < FEWEST or not all(0 <= value <= 1 for numbers in boxes for value in numbers):
        return
    declared = [size for size in sizes if size]
    if declared and min(min(size) for size in declared) > _SMALLEST:
        raise InvalidInput(
            f"{where()}: the box is {' '.join(f'{value:g}' for value in boxes[0])}: fractions, not pixels.",
            f"All {len(boxes)} boxes are between 0 and 1.",
            "Multiply them by the width and height of their image.",
        )
