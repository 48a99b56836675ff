"""Draw the best class of an image in its corner."""

from __future__ import annotations

from PIL import Image

from edgewright.vision.draw import Canvas, class_color

from .answer import Classification


def draw(image: Image.Image, answer: Classification) -> Image.Image:
    """Return a copy of `image` as RGB with the label of its best class and the score in percent, at the top left."""
    canvas, text = Canvas(image), f"{answer.label} {answer.score:.0%}"
    canvas.label(text, canvas.place(text, (0, 0, image.width - 1, image.height - 1), ()), class_color(answer.index))
    return canvas.image
