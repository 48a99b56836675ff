"""Draw points and their edges on an image."""

from __future__ import annotations

from PIL import Image

from edgewright.points.distance import size_of
from edgewright.points.draw import draw_points
from edgewright.points.skeletons import Skeleton
from edgewright.vision.draw import Canvas

from .answer import Points


def draw(image: Image.Image, answer: Points) -> Image.Image:
    """Return a copy of `image` as RGB with the points of `answer` and the edges between them."""
    canvas = Canvas(image)
    if len(answer):
        skeleton = Skeleton(answer.names, answer.edges)
        draw_points(canvas, answer.points, answer.scores, skeleton, size=size_of(answer.points))
    return canvas.image
