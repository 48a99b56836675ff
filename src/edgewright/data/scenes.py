"""The built-in detection set: scenes composed of scikit-learn's handwritten digits, with COCO annotations.

Digits of varied size, rotation, color and overlap are drawn on plain, gradient, striped or cloudy backgrounds. Lines,
ellipses and blots between them are not digits. The scenes of a split use only the digits of that split (see `digits`).
A scene depends only on its split and its number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from . import built_in, digits

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
REGIONS = ("background", *NAMES)
"""The classes of the pixels of a map, by their index."""
COUNTS = {"calib": 100, "test": 400}
"""Number of scenes in each split of the demo. Training also uses ``train``."""

SIDES = (112, 224)
"""Minimum and maximum width and height of a scene, in pixels."""
DIGITS = (1, 9)
"""Minimum and maximum number of digits in a scene."""
SIZES = (14.0, 90.0)
"""Height of a digit's 8 rows in pixels, before rotation. The distribution is uniform in the logarithm."""
ROTATION = 25.0
OVERLAP = 0.25
"""Maximum intersection of two digits' boxes, relative to the smaller area."""
CONTRAST = 70.0
"""Minimum difference between the brightness of a digit and its background, of 255."""
_INK = 64
"""Pixels with at least this opacity (of 255) belong to the digit. Boxes fit tightly around them."""

Corners = tuple[int, int, int, int]


def write(folder: Path, counts: Mapping[str, int] = COUNTS) -> None:
    """Write ``folder/<split>/instances.json`` and ``folder/<split>/NNNNN.png`` for each split of `counts`.

    An existing set is replaced completely. Raises `InvalidInput` for a folder with other files, and `Unavailable`
    without scikit-learn.
    """
    with built_in.replacing(folder, {"train", *COUNTS}, "scenes") as new:
        for split, count in counts.items():
            built_in.write(new, draw(split, count))


def draw(split: str, count: int) -> Iterator[built_in.Named]:
    """Yield the files of a split: ``<split>/NNNNN.png`` and ``<split>/instances.json``."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(count):
        image, found = scene(split, number)
        name = f"{number:05}.png"
        yield f"{split}/{name}", built_in.png(image, compress_level=1)  # noise hardly compresses, and trying takes long
        images.append({"id": number, "file_name": name, "width": image.width, "height": image.height})
        for index, (x1, y1, x2, y2) in found:
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": number, "category_id": index, "iscrowd": 0,
                    "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1),
                }
            )  # fmt: skip
    categories = [{"id": k, "name": name} for k, name in enumerate(NAMES)]
    content = {"images": images, "categories": categories, "annotations": annotations}
    yield f"{split}/instances.json", json.dumps(content).encode()


def draw_maps(split: str, count: int) -> Iterator[built_in.Named]:
    """Yield the files of a split with a map of classes for each image: ``<split>/images/NNNNN.png`` and
    ``<split>/masks/NNNNN.png``."""
    for number in range(count):
        image, _, regions = mapped(split, number)
        yield f"{split}/images/{number:05}.png", built_in.png(image, compress_level=1)
        yield f"{split}/masks/{number:05}.png", built_in.png(regions)


def scene(split: str, number: int) -> tuple[Image.Image, list[tuple[int, Corners]]]:
    """Return scene `number` of `split` as an RGB image, and the class and box (x1, y1, x2, y2) of each digit in it."""
    image, found, _ = mapped(split, number)
    return image, found


def mapped(split: str, number: int) -> tuple[Image.Image, list[tuple[int, Corners]], Image.Image]:
    """Return the result of `scene`, and its map of classes: an image of the same size with one byte per pixel.

    A byte is an index of `REGIONS`. Where digits overlap, it is that of the digit in front.
    """
    random = np.random.default_rng([("train", "calib", "test").index(split), number])
    pixels, labels = _digits(split)
    width, height = (int(random.integers(SIDES[0], SIDES[1] + 1)) for _ in range(2))
    canvas = _background(random, width, height)
    canvas = _clutter(random, canvas)
    regions = np.zeros((height, width), np.uint8)
    found: list[tuple[int, Corners]] = []
    for _ in range(int(random.integers(DIGITS[0], DIGITS[1] + 1))):
        chosen = int(random.integers(len(pixels)))
        mask = _shape(random, pixels[chosen], min(width, height))
        place = _place(random, mask.shape, (width, height), [box for _, box in found])
        if place is not None:
            box = (place[0], place[1], place[0] + mask.shape[1], place[1] + mask.shape[0])
            _paint(random, canvas, mask, box)
            regions[box[1] : box[3], box[0] : box[2]][mask > 0.5] = labels[chosen] + 1
            found.append((int(labels[chosen]), box))
    grain = random.normal(0, random.uniform(0, 8), canvas.shape)
    image = Image.fromarray(np.clip(canvas + grain, 0, 255).astype(np.uint8))
    return image, found, Image.fromarray(regions)


_CACHE: dict[str, tuple[np.ndarray, np.ndarray]] = {}


def _digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the digits of one split, read once."""
    if not _CACHE:
        pixels, labels, splits = digits.load()
        for name in set(splits):
            chosen = [k for k, s in enumerate(splits) if s == name]
            _CACHE[name] = pixels[chosen], labels[chosen]
    return _CACHE[split]


# --- background and distractors


def _background(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Return a background (height, width, 3) float32: one of four kinds, between two colors."""
    first, second = random.uniform(0, 255, (2, 3))
    y, x = np.mgrid[:height, :width]
    angle = random.uniform(0, math.pi)
    along = (x * math.cos(angle) + y * math.sin(angle)) / max(width, height)
    kind = random.integers(4)
    if kind == 0:
        share = np.zeros((height, width))
    elif kind == 1:
        share = along
    elif kind == 2:
        share = (np.sin(along * random.uniform(10, 60)) > 0) * random.uniform(0.1, 0.6)
    else:
        cells = random.uniform(0, 255, (6, 6)).astype(np.uint8)
        share = np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)) / 255
    mixed: np.ndarray = first + (second - first) * share[:, :, None] * 0.7
    return mixed.astype(np.float32)


def _clutter(random: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Draw lines, arcs, ellipses and rectangles as thick as the strokes of digits."""
    height, width = canvas.shape[:2]
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(int(random.integers(0, 9))):
        color = tuple(int(v) for v in random.integers(0, 256, 3))
        x, y = random.uniform(0, width), random.uniform(0, height)
        reach, thick = random.uniform(4, 40), int(random.integers(1, 6))
        corners = (x - reach, y - reach * random.uniform(0.3, 1), x + reach, y + reach * random.uniform(0.3, 1))
        kind = random.integers(4)
        if kind == 0:
            angle = random.uniform(0, 2 * math.pi)
            draw.line((x, y, x + 3 * reach * math.cos(angle), y + 3 * reach * math.sin(angle)), fill=color, width=thick)
        elif kind == 1:
            start = random.uniform(0, 360)
            draw.arc(corners, start, start + random.uniform(40, 160), fill=color, width=thick)
        elif kind == 2:
            draw.rectangle(corners, outline=color, width=thick)
        else:
            draw.ellipse((x - thick, y - thick, x + thick, y + thick), fill=color)
    return np.asarray(image).astype(np.float32)


# --- a digit


def _shape(random: np.random.Generator, pixels: np.ndarray, side: int) -> np.ndarray:
    """Return the opacity (0..1) of a digit, scaled, rotated and cropped to its ink."""
    low, high = math.log(SIZES[0]), math.log(min(SIZES[1], 0.8 * side))
    height = math.exp(random.uniform(low, high))
    width = height * random.uniform(0.75, 1.2)
    wide = np.pad(pixels, 2)  # so that no stroke ends at the edge after scaling and rotation
    size = (max(8, round(width * 1.5)), max(8, round(height * 1.5)))
    big = Image.fromarray(wide).resize(size, Image.Resampling.BICUBIC)
    turned = big.rotate(random.uniform(-ROTATION, ROTATION), Image.Resampling.BICUBIC, expand=True)
    # A steeper edge than the blur of the enlargement, so the strokes keep their width.
    opacity = np.clip((np.asarray(turned, np.float32) / 255 - 0.25) / 0.35, 0, 1)
    ink = opacity > _INK / 255
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return opacity[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _place(
    random: np.random.Generator, shape: tuple[int, ...], size: tuple[int, int], taken: list[Corners]
) -> tuple[int, int] | None:
    """Return the upper left corner for a digit of (height, width) `shape`; None if 20 tries find no space."""
    (height, width), (across, down) = shape, size
    if width > across or height > down:
        return None
    for _ in range(20):
        x, y = int(random.integers(across - width + 1)), int(random.integers(down - height + 1))
        if all(_shared((x, y, x + width, y + height), box) <= OVERLAP for box in taken):
            return x, y
    return None


def _shared(a: Corners, b: Corners) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(width, 0) * max(height, 0) / smaller


def _paint(random: np.random.Generator, canvas: np.ndarray, mask: np.ndarray, box: Corners) -> None:
    """Draw a digit on `canvas` in a color that contrasts with the background."""
    x1, y1, x2, y2 = box
    part = canvas[y1:y2, x1:x2]
    below = float(part.mean())
    for _ in range(50):
        color = random.uniform(0, 255, 3)
        if abs(float(color.mean()) - below) >= CONTRAST:
            break
    else:
        color = np.full(3, 255.0 if below < 128 else 0.0)
    part += (color - part) * mask[:, :, None] * random.uniform(0.85, 1.0)
