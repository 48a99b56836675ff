"""The answer of a depth model: a map of distances."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgewright.tasks import interchange

from .place import Place, to_photo
from .spec import Depth

if TYPE_CHECKING:
    from edgewright.tasks.contract import Line

MILLIMETERS = 1000.0
"""Units of a 16-bit PNG per meter. 0 means no value, and 65.535 m is the largest distance."""


@dataclass(frozen=True, eq=False)
class DepthMap:
    """The depth of each pixel of one photo.

    - `unit`: "m" (meters along the optical axis) or "relative".
    - `inverse`: whether larger numbers are nearer: a relative disparity. In meters it is always False.
    - `size`: (width, height) of the photo.
    - `network`: the map as the network gives it, (h, w) float32. `depth` is computed from it on first use.
    """

    network: np.ndarray
    section: Depth
    place: Place
    size: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", self.place.size)

    @property
    def unit(self) -> Literal["m", "relative"]:
        """The unit of `depth`."""
        return self.section.unit

    @property
    def inverse(self) -> bool:
        """Whether larger numbers are nearer."""
        return self.section.unit == "relative" and self.section.values == "disparity"

    @functools.cached_property
    def depth(self) -> np.ndarray:
        """The map at the photo's size, (height, width) float32; NaN where the model does not see the photo."""
        return to_photo(self.network, self.section, self.place)

    @property
    def quantity(self) -> str:
        """The name of the numbers: "depth" or "inverse depth"."""
        return "inverse depth" if self.inverse else "depth"

    def summary(self) -> tuple[float, float, float]:
        """Return the minimum, the median and the maximum of `depth`."""
        seen = self.depth[np.isfinite(self.depth)]
        if not len(seen):
            return (float("nan"),) * 3
        return float(seen.min()), float(np.median(seen)), float(seen.max())

    def to_json(self, top: int = 0) -> dict[str, Any]:
        """Return the unit, the size, and the minimum, median and maximum. `top` has no effect."""
        low, middle, high = self.summary()
        return {
            "depth": {
                "unit": self.unit, "inverse": self.inverse, "width": self.size[0], "height": self.size[1],
                "min": low, "median": middle, "max": high,
            }
        }  # fmt: skip

    def lines(self, top: int = 0) -> list[Line]:
        """Return one line: the median and the range. `top` has no effect."""
        low, middle, high = self.summary()
        unit = " m" if self.unit == "m" else ""
        return [(("bold", f"{middle:.3g}{unit}"), f" median {self.quantity}, {low:.3g} to {high:.3g}{unit}")]

    def files(self) -> dict[str, bytes]:
        """Return the files that keep the map, by suffix: float32 as ``.npy`` and, for meters, a 16-bit PNG in
        millimeters, where 0 means no value and larger depths are clipped to 65.535 m."""
        content = io.BytesIO()
        np.save(content, self.depth)
        found = {".npy": content.getvalue()}
        if self.unit == "m":
            from PIL import Image

            pixels = np.nan_to_num(np.clip(np.rint(self.depth * MILLIMETERS), 0, 65535)).astype(np.uint16)
            content = io.BytesIO()
            Image.fromarray(pixels).save(content, "PNG")
            found[".png"] = content.getvalue()
        return found

    def to_coco(self, image: int) -> list[dict[str, Any]]:
        """Return no rows, because COCO has no depth."""
        return []

    def to_ultralytics(self) -> list[dict[str, Any]]:
        """Return no rows, as Ultralytics' ``Results.summary()`` for depth."""
        return []

    def to_supervision(self) -> Any:
        """Raise `InvalidInput`, because supervision has no depth maps."""
        interchange.refuse_supervision("a depth map")
