"""Draw the classes of an image: a color over each region, its outline, and a legend."""

from __future__ import annotations

import numpy as np
from PIL import Image

from edgewright.vision.draw import Canvas, Rectangle, class_color

from .answer import ClassMap

BACKGROUNDS = frozenset({"background", "__background__", "backgroundnothing", "bg", "none", "other", "unlabeled"})
"""Names of class 0 that are not drawn."""
OPACITY = 0.55
LEGEND = 0.002
"""Classes with a smaller share of the image are not in the legend."""
MOST = 12


def draw(image: Image.Image, answer: ClassMap) -> Image.Image:
    """Return a copy of `image` as RGB with a color over the pixels of each class, and the classes' names.

    The answer is in pixels of this image. A class has the same color in every image. The background is not colored: it
    is class 0 of a model with two classes without names, or with a name such as "background".
    """
    classes = answer.classes
    count = int(classes.max(initial=0)) + 1
    drawn = [k for k in range(count) if k > 0 or not is_background(answer.names)]
    colors = np.zeros((count, 3), np.float32)
    colors[drawn] = [class_color(k) for k in drawn]
    cover = np.zeros((count, 1), np.float32)
    cover[drawn] = OPACITY
    pixels = np.asarray(image.convert("RGB"), np.float32)
    share = cover[classes]
    share[_edges(classes, Canvas(image).line)] = 1.0
    share[cover[classes] == 0] = 0.0
    mixed = pixels + (colors[classes] - pixels) * share
    canvas, taken = Canvas(Image.fromarray(np.rint(mixed).astype(np.uint8))), list[Rectangle]()
    x, y = canvas.line * 2, canvas.line * 2
    for one in [one for one in answer.shares if one.index in drawn and one.share >= LEGEND][:MOST]:
        text = f"{one.label} {one.share:.0%}" if one.share >= 0.01 else f"{one.label} <1%"
        place = canvas.place(text, (x, y, x, y), taken)
        if place[1] < y:  # above the corner is no room
            place = (place[0], y, place[2], y + place[3] - place[1])
        if place[3] >= image.height:
            break
        canvas.label(text, place, class_color(one.index))
        taken.append(place)
        y = place[3] + 1 + canvas.line
    return canvas.image


def is_background(names: tuple[str, ...]) -> bool:
    """Whether class 0 is the background, by its name."""
    return not names or names[0].strip().lower() in BACKGROUNDS


def _edges(classes: np.ndarray, width: int) -> np.ndarray:
    """Return where a region ends, a line of about `width` pixels inside each region, bool (height, width)."""
    found = np.zeros(classes.shape, bool)
    for axis in (0, 1):
        first, second = (np.swapaxes(array, 0, axis) for array in (found, classes))
        differs = second[1:] != second[:-1]
        first[:-1] |= differs
        first[1:] |= differs
    for _ in range(width // 2):
        found = found | np.roll(found, 1, 0) | np.roll(found, -1, 0) | np.roll(found, 1, 1) | np.roll(found, -1, 1)
    return found
