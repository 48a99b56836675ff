"""The answer of a restoration model: an image."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from edgewright.tasks import interchange

if TYPE_CHECKING:
    from edgewright.tasks.contract import Line


@dataclass(frozen=True, eq=False)
class Restored:
    """The restored image. `pixels`: (height, width, 3) uint8 RGB. `before`: (width, height) of the photo."""

    pixels: np.ndarray
    before: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the restored image."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def image(self) -> Image.Image:
        """The restored image as a PIL image."""
        return Image.fromarray(self.pixels)

    def to_json(self, top: int = 0) -> dict[str, Any]:
        """Return both sizes. The pixels are in `files`. `top` has no effect."""
        sizes = {"from": list(self.before), "to": list(self.size)}
        return {"restored": sizes}

    def lines(self, top: int = 0) -> list[Line]:
        """Return one line: the sizes before and after. `top` has no effect."""
        (width, height), (wide, high) = self.before, self.size
        return [(("bold", f"{wide}x{high}"), f" pixels restored from {width}x{height}")]

    def files(self) -> dict[str, bytes]:
        """Return the image as a PNG file, by its suffix."""
        content = io.BytesIO()
        self.image.save(content, "PNG")
        return {".png": content.getvalue()}

    def to_coco(self, image: int) -> list[dict[str, Any]]:
        """Return no rows, because COCO has no restored images."""
        return []

    def to_ultralytics(self) -> list[dict[str, Any]]:
        """Return no rows, because Ultralytics has no such task."""
        return []

    def to_supervision(self) -> Any:
        """Raise `InvalidInput`, because supervision has no restored images."""
        interchange.refuse_supervision("a restored image")
