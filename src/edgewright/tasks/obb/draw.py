"""Draw rotated boxes and labels on an image."""

from __future__ import annotations

from PIL import Image

from edgewright.vision.draw import Canvas, Rectangle, class_color

from .answer import RotatedBox, RotatedBoxes
from .rotated import around


def draw(image: Image.Image, answer: RotatedBoxes) -> Image.Image:
    """Return a copy of `image` as RGB with the outline of each box of `answer`, its label and its score in percent.

    The boxes of `answer` are in pixels of this image. The best box is drawn last, on top of the others. A class has the
    same color in every image.
    """
    canvas, taken = Canvas(image), list[Rectangle]()
    bounds = [canvas.corners(box) for box in around(answer.corners).tolist()]
    for item, box in zip(answer, bounds):  # the best boxes place their labels first
        taken.append(canvas.place(_text(item), box, taken))
    order = range(len(answer) - 1, -1, -1)
    for k in order:
        canvas.outline(answer[k].corners, class_color(answer[k].index))
    for k in order:  # after all boxes, so no line crosses a label
        canvas.label(_text(answer[k]), taken[k], class_color(answer[k].index))
    return canvas.image


def _text(item: RotatedBox) -> str:
    return f"{item.label} {item.score:.0%}"
