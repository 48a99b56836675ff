"""Boxes and labels drawn on an image, readable on 320 pixels as on 4000."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from edgewright.core import files

from .detection import Detection, Detections
from .image import open_image

Color = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_TALL = "Agy|"  # gives all labels one height


def draw(image: Image.Image, found: Detections) -> Image.Image:
    """A copy of `image` as RGB with each box of `found`, its label and its score in percent.

    `found` holds boxes in this image's pixels. Lines and letters grow with the image. The best box is drawn last and so
    lies on top. A class has the same colour in every image.
    """
    out = image.convert("RGB")
    if out is image:
        out = image.copy()
    canvas = ImageDraw.Draw(out)
    side = (image.width * image.height) ** 0.5
    line, font = max(1, round(side / 320)), _font(max(10, round(side / 45)))
    taken: list[Rectangle] = []
    for item in found:  # the best choose their place first
        taken.append(_place(_label_size(canvas, item, font, line), _corners(item, image.size), image.size, line, taken))
    order = range(len(found) - 1, -1, -1)
    for k in order:
        canvas.rectangle(_corners(found[k], image.size), outline=class_color(found[k].index), width=line)
    for k in order:  # after all boxes: no line crosses a label
        _label(canvas, found[k], taken[k], font, line)
    return out


def save(images: Sequence[Path], answers: Sequence[Detections], folder: Path, turn: bool = False) -> dict[Path, Path]:
    """Draw what was found on each image, as PNG files in `folder`; returns where each image went.

    `turn`: the answers are of photos turned by their EXIF orientation (`Preprocess.turns`). A name that is there twice
    gets a number. Raises `InvalidInput` where an image cannot be read.
    """
    saved: dict[Path, Path] = {}
    for path, found in zip(images, answers, strict=True):
        target, number = folder / f"{path.stem}.png", 1
        while target in saved.values():
            number += 1
            target = folder / f"{path.stem}-{number}.png"
        content = io.BytesIO()
        draw(open_image(path, turn), found).save(content, "PNG")
        files.write(files.absolute(target), content.getvalue())
        saved[path] = target
    return saved


def class_color(index: int) -> Color:
    """The colour of class `index`: neighbours differ in hue by the golden ratio, then in lightness."""
    hue = index * 0.618034 % 1
    red, green, blue = colorsys.hls_to_rgb(hue, (0.5, 0.38, 0.64)[index // 12 % 3], 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def text_color(background: Color) -> Color:
    """Black or white, whichever has the higher contrast on `background` (relative luminance as in WCAG 2)."""
    linear = [(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4) for v in (c / 255 for c in background)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def _corners(item: Detection, size: tuple[int, int]) -> Rectangle:
    """The box in whole pixels of the image."""
    x1, y1, x2, y2 = (round(v) for v in item.box)
    x1, y1 = max(0, min(x1, size[0] - 1)), max(0, min(y1, size[1] - 1))
    return x1, y1, max(x1, min(x2, size[0] - 1)), max(y1, min(y2, size[1] - 1))


def _label_size(canvas: ImageDraw.ImageDraw, item: Detection, font: Font, line: int) -> tuple[int, int]:
    left, _, right, _ = canvas.textbbox((0, 0), _text(item), font=font)
    _, top, _, bottom = canvas.textbbox((0, 0), _TALL, font=font)
    return round(right - left) + 2 * (line + 1), round(bottom - top) + 2 * (line + 1)


def _place(
    label: tuple[int, int], box: Rectangle, image: tuple[int, int], line: int, taken: list[Rectangle]
) -> Rectangle:
    """Where a label of (width, height) `label` goes: above its box, inside at the top, below, or inside at the bottom.

    The first place that is inside the image and free is taken, else the first inside it.
    """
    (width, height), (x1, y1, _, y2) = label, box
    x = max(0, min(x1, image[0] - width))
    tops = [y for y in (y1 - height + line, y1, y2 + 1 - line, y2 + 1 - height) if 0 <= y <= image[1] - height]
    places = [(x, y, x + width - 1, y + height - 1) for y in tops or [0]]
    return next((p for p in places if not any(_touch(p, other) for other in taken)), places[0])


def _touch(a: Rectangle, b: Rectangle) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _label(canvas: ImageDraw.ImageDraw, item: Detection, place: Rectangle, font: Font, line: int) -> None:
    color = class_color(item.index)
    ink = text_color(color)
    canvas.rectangle(place, fill=color, outline=ink, width=max(1, line // 3))  # the rim parts labels of one class
    left, top = canvas.textbbox((0, 0), _text(item), font=font)[0], canvas.textbbox((0, 0), _TALL, font=font)[1]
    canvas.text((place[0] + line + 1 - left, place[1] + line + 1 - top), _text(item), fill=ink, font=font)


def _text(item: Detection) -> str:
    return f"{item.label} {item.score:.0%}"


@lru_cache(maxsize=16)
def _font(size: int) -> Font:
    return ImageFont.load_default(size)
