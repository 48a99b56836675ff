"""The answer on the image: a patch of the colour in its corner."""

from __future__ import annotations

from PIL import Image, ImageDraw

from .answer import MeanColour


def draw(image: Image.Image, answer: MeanColour) -> Image.Image:
    """`image` with a patch of the mean colour, an eighth of its size."""
    found = image.convert("RGB")
    side = max(2, min(found.size) // 8)
    ImageDraw.Draw(found).rectangle((0, 0, side, side), fill=tuple(round(min(max(v, 0), 255)) for v in answer))
    return found
