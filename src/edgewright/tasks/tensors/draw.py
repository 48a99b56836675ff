"""Draw the names, shapes and ranges of the outputs on an image."""

from __future__ import annotations

from PIL import Image

from edgewright.vision.draw import Canvas, class_color

from .answer import Arrays


def draw(image: Image.Image, answer: Arrays) -> Image.Image:
    """Return a copy of `image` as RGB with one label per output: name, shape and range."""
    canvas, taken = Canvas(image), list[tuple[int, int, int, int]]()
    for number, (name, array) in enumerate(answer.arrays.items()):
        size = "x".join(map(str, array.shape)) or "number"
        text = f"{name} {size}: {float(array.min()):.3g} to {float(array.max()):.3g}"
        place = canvas.place(text, (0, 0, image.width - 1, image.height - 1), taken)
        canvas.label(text, place, class_color(number))
        taken.append(place)
    return canvas.image
