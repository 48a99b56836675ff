"""The restored image itself."""

from __future__ import annotations

from PIL import Image

from .answer import Restored


def draw(image: Image.Image, answer: Restored) -> Image.Image:
    """Return the restored image, which may be larger than `image`."""
    return answer.image
