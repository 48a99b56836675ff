"""What tasks draw their answers with: rectangles and labels, readable on 320 pixels as on 4000."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from edgewright.core import files

from .image import open_image

Color = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]
"""x1, y1, x2, y2 in whole pixels, the last ones included."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_RIM: Color = (20, 20, 20)
_TALL = "Agy|"  # gives all labels one height


class Canvas:
    """A copy of an image as RGB, to draw on. Lines and letters grow with the image."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image.convert("RGB")
        if self.image is image:
            self.image = image.copy()
        side = (image.width * image.height) ** 0.5
        self.line = max(1, round(side / 320))
        self._font = _font(max(10, round(side / 45)))
        self._draw = ImageDraw.Draw(self.image)

    def corners(self, box: Sequence[float]) -> Rectangle:
        """The `box` x1, y1, x2, y2 in whole pixels of the image."""
        width, height = self.image.size
        x1, y1, x2, y2 = (round(v) for v in box)
        x1, y1 = max(0, min(x1, width - 1)), max(0, min(y1, height - 1))
        return x1, y1, max(x1, min(x2, width - 1)), max(y1, min(y2, height - 1))

    def rectangle(self, box: Rectangle, color: Color) -> None:
        """The outline of `box`."""
        self._draw.rectangle(box, outline=color, width=self.line)

    def segment(self, start: Sequence[float], end: Sequence[float], color: Color, width: int) -> None:
        """A line from `start` to `end` (x, y), with a dark rim."""
        ends = [(float(start[0]), float(start[1])), (float(end[0]), float(end[1]))]
        if width > 1:
            self._draw.line(ends, fill=_RIM, width=width + 2)
        self._draw.line(ends, fill=color, width=width)

    def dot(self, center: Sequence[float], color: Color, radius: float) -> None:
        """A disk around `center` (x, y), with a dark rim."""
        x, y, r = float(center[0]), float(center[1]), radius + 1
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=color, outline=_RIM if radius > 1 else color)

    def outline(self, corners: Sequence[tuple[float, float]], color: Color) -> None:
        """The closed line through `corners` (x, y)."""
        points = [(round(x), round(y)) for x, y in corners]
        # The first side again, so that the line is joined at the first corner.
        self._draw.line([*points, *points[:2]], fill=color, width=self.line, joint="curve")

    def place(self, text: str, box: Rectangle, taken: Sequence[Rectangle]) -> Rectangle:
        """Where a label goes: above its box, inside at the top, below, or inside at the bottom.

        The first place that is inside the image and touches none of `taken`, else the first inside it.
        """
        (width, height), (x1, y1, _, y2), image = self._size(text), box, self.image.size
        x = max(0, min(x1, image[0] - width))
        tops = (y1 - height + self.line, y1, y2 + 1 - self.line, y2 + 1 - height)
        places = [(x, y, x + width - 1, y + height - 1) for y in tops if 0 <= y <= image[1] - height]
        places = places or [(x, 0, x + width - 1, height - 1)]
        return next((p for p in places if not any(_touch(p, other) for other in taken)), places[0])

    def label(self, text: str, place: Rectangle, color: Color) -> None:
        """`text` at its `place`, on a ground of `color`."""
        ink = text_color(color)
        # The rim parts labels of one class.
        self._draw.rectangle(place, fill=color, outline=ink, width=max(1, self.line // 3))
        left, top = self._bounds(text)[0], self._bounds(_TALL)[1]
        corner = (place[0] + self.line + 1 - left, place[1] + self.line + 1 - top)
        self._draw.text(corner, text, fill=ink, font=self._font)

    def _size(self, text: str) -> tuple[int, int]:
        left, _, right, _ = self._bounds(text)
        _, top, _, bottom = self._bounds(_TALL)
        return round(right - left) + 2 * (self.line + 1), round(bottom - top) + 2 * (self.line + 1)

    def _bounds(self, text: str) -> tuple[float, float, float, float]:
        return self._draw.textbbox((0, 0), text, font=self._font)


def save(
    draw: Callable[[Image.Image, Any], Image.Image], images: Sequence[Path], answers: Sequence[Any], folder: Path,
    turn: bool = False,
) -> dict[Path, Path]:  # fmt: skip
    """Each image with its answer, as a task's `draw` shows it, as PNG files in `folder`; where each image went.

    `turn`: the answers are of photos turned by their EXIF orientation (`Preprocess.turns`). A name that is there twice
    gets a number. Raises `InvalidInput` if an image cannot be read.
    """
    saved: dict[Path, Path] = {}
    for path, answer in zip(images, answers, strict=True):
        target, number = folder / f"{path.stem}.png", 1
        while target in saved.values():
            number += 1
            target = folder / f"{path.stem}-{number}.png"
        content = io.BytesIO()
        draw(open_image(path, turn), answer).save(content, "PNG")
        files.write(files.absolute(target), content.getvalue())
        saved[path] = target
    return saved


def class_color(index: int) -> Color:
    """The color of class `index`: neighbors differ in hue by the golden ratio, then in lightness."""
    hue = index * 0.618034 % 1
    red, green, blue = colorsys.hls_to_rgb(hue, (0.5, 0.38, 0.64)[index // 12 % 3], 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def text_color(background: Color) -> Color:
    """Black or white, whichever has the higher contrast on `background` (relative luminance as in WCAG 2)."""
    linear = [(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4) for v in (c / 255 for c in background)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def _touch(a: Rectangle, b: Rectangle) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


@lru_cache(maxsize=16)
def _font(size: int) -> Font:
    return ImageFont.load_default(size)
