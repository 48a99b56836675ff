"""Draw boxes, labels and skeletons on an image."""

from __future__ import annotations

from PIL import Image

from edgewright.points.draw import draw_points
from edgewright.points.skeletons import Skeleton
from edgewright.vision.draw import Canvas, Rectangle, class_color

from .answer import Pose, Poses


def draw(image: Image.Image, answer: Poses) -> Image.Image:
    """Return a copy of `image` as RGB with the box, the label and the skeleton of each object of `answer`.

    The pixels of `answer` are those of this image. The best object is drawn last, on top of the others.
    """
    canvas, taken = Canvas(image), list[Rectangle]()
    for item in answer:  # the best objects place their labels first
        taken.append(canvas.place(_text(item), canvas.corners(item.box), taken))
    skeleton = Skeleton(answer.point_names, answer.edges)
    order = range(len(answer) - 1, -1, -1)
    for k in order:
        item = answer[k]
        x1, y1, x2, y2 = item.box
        canvas.rectangle(canvas.corners(item.box), class_color(item.index))
        points = answer.keypoints[k]
        draw_points(canvas, points[:, :2], points[:, 2], skeleton, size=max(x2 - x1, y2 - y1, 1.0))
    for k in order:  # after all skeletons, so that no line crosses a label
        canvas.label(_text(answer[k]), taken[k], class_color(answer[k].index))
    return canvas.image


def _text(item: Pose) -> str:
    return f"{item.label} {item.score:.0%}"
