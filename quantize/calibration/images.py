"""Calibration images and samples: read in batches, checked. There is no default set.

Ranges must come from images like those that the model will see, so the user provides them. `KEPT` bytes of preprocessed
images are kept for the next pass; the others are read again. Peak memory is that and one batch, whatever the number of
images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgewright.core import files
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.vision import feeds
from edgewright.vision.feeds import Feeds

MINIMUM = 32
"""Minimum number of images. A per-tensor range is an extreme over images: with 32 images, the next image exceeds a
range in about 3% of the tensors (1 in 33); with 8 images, in 11%."""

KEPT = 128 << 20
"""Bytes of preprocessed images to keep: 200 images of 224 pixels, decoded once instead of on each pass."""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """The calibration set: the number of images, and the SHA-256 over their sorted SHA-256 digests."""

    images: int
    digest: str


def require_enough(images: int) -> None:
    """Raise `InvalidInput` for fewer than `MINIMUM` different images."""
    if images < MINIMUM:
        raise InvalidInput(
            f"There are only {images} different calibration images.",
            f"Quantization needs at least {MINIMUM} to find the ranges of the activations.",
            "Add images like those that the model will see in use.",
        )


class Calibration:
    """Batches of preprocessed calibration images for one model.

    Raises `InvalidInput` for fewer than `MINIMUM` different images. Iterating raises `InvalidInput`, with the name of
    the image, for a file that is not an image and for a value that is not finite.
    """

    def __init__(self, images: Sequence[str | Path], spec: ModelSpec, decode: Decode | None = None) -> None:
        self.images = [Path(image) for image in images]
        self.spec = spec
        self._decode = decode or feeds.one
        self._kept: dict[Path, Feeds] = {}
        self._room = KEPT
        digests = [files.sha256(path) for path in self.images]
        require_enough(len(set(digests)))
        total = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
        self.provenance = Provenance(images=len(digests), digest=total)

    def __len__(self) -> int:
        return (len(self.images) + self.batch_size - 1) // self.batch_size

    @property
    def batch_size(self) -> int:
        """Images per batch: the model's batch size, or 1 if it accepts any."""
        return self.spec.batch or 1

    def batches(self, limit: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Feeds for the model, in the order of the images. Images from the start complete the last batch.

        `limit`: only about that many images, evenly spread. (Folders are sorted by class, so the first images have one
        class.)
        """
        chosen = self.images
        if limit is not None and limit < len(chosen):
            chosen = [chosen[i * len(chosen) // limit] for i in range(limit)]
        for start in range(0, len(chosen), self.batch_size):
            group = [chosen[(start + i) % len(chosen)] for i in range(self.batch_size)]
            yield feeds.named(feeds.joined([self._checked(path) for path in group], self.spec), self.spec)

    def read(self, index: int) -> Feeds:
        """One preprocessed image or sample: an array for each input, without the batch axis."""
        return tuple(array.copy() for array in self._checked(self.images[index]))

    def _checked(self, path: Path) -> Feeds:
        if path in self._kept:
            return self._kept[path]
        arrays = self._decode(path, self.spec)
        if not all(array.dtype.kind != "f" or np.isfinite(array).all() for array in arrays):
            what = "image" if self.spec.takes_image else "sample"
            raise InvalidInput(
                f"The calibration {what} {path} has a value that is not finite after preprocessing.",
                "One NaN or infinity makes every range of the model useless, and quantizers do not report it.",
                f"Remove the {what}, or correct mean and std in the model's preprocessing.",
            )
        size = sum(array.nbytes for array in arrays)
        if size <= self._room:
            self._kept[path] = arrays
            self._room -= size
        return arrays


Decode = Callable[[Path, ModelSpec], Feeds]
"""Read a file as one preprocessed sample: an array for each input, without the batch axis."""
