"""Calibration images: read in batches, checked. There is no default set.

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
from edgewright.vision.image import open_image
from edgewright.vision.preprocess import preprocess

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
        self._decode = decode or _preprocessed
        self._kept: dict[Path, np.ndarray] = {}
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
        return self.spec.input.batch or 1

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
            yield {self.spec.input.name: np.stack([self._checked(path) for path in group])}

    def read(self, index: int) -> np.ndarray:
        """One preprocessed image, without the batch axis."""
        return self._checked(self.images[index]).copy()

    def _checked(self, path: Path) -> np.ndarray:
        if path in self._kept:
            return self._kept[path]
        array = self._decode(path, self.spec)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidInput(
                f"The calibration image {path} has a value that is not finite after preprocessing.",
                "One NaN or infinity makes every range of the model useless, and quantizers do not report it.",
                "Remove the image, or correct mean and std in the model's preprocessing.",
            )
        if array.nbytes <= self._room:
            self._kept[path] = array
            self._room -= array.nbytes
        return array


Decode = Callable[[Path, ModelSpec], np.ndarray]
"""Read a file as one preprocessed input."""


def _preprocessed(path: Path, spec: ModelSpec) -> np.ndarray:
    return preprocess(open_image(path, spec.preprocess.turns), spec.preprocess, spec.input)
