"""Calibration images: read one batch at a time, checked, and never a default.

Ranges come from what the model will see, so the images must be real ones of the user's. Of the preprocessed ones `KEPT`
bytes are kept for the next pass, and the others are read anew from their files: peak memory is that and one batch,
whatever the number of images.
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
"""Fewest images. A per-tensor range is an extreme over images: with 32 the next image exceeds a range in about 3 % of
the tensors (1 in 33), with 8 in 11 %."""

KEPT = 128 << 20
"""Bytes of preprocessed images that are kept: 200 of 224 pixels, decoded once instead of on each pass."""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """What a calibration was made of: the number of images and the SHA-256 over their sorted SHA-256 digests."""

    images: int
    digest: str


def require_enough(images: int) -> None:
    """Raise `InvalidInput` for fewer than `MINIMUM` different images."""
    if images < MINIMUM:
        raise InvalidInput(
            f"There are {images} different calibration images.",
            f"Quantization needs at least {MINIMUM} to know the ranges of the activations.",
            "Add images of the kind that the model will see.",
        )


class Calibration:
    """Batches of preprocessed calibration images for one model.

    Raises `InvalidInput` for fewer than `MINIMUM` different images, and while iterating for a file that is no image and
    for a value that is not finite, by the image's name.
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
        """Images a batch: what the model takes, 1 where it takes any number."""
        return self.spec.input.batch or 1

    def batches(self, limit: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Feeds for the model, in the order of the images; the last is filled up with images from the start.

        `limit`: only about that many images, evenly spread (folders are sorted by class: the first would be of one).
        """
        chosen = self.images
        if limit is not None and limit < len(chosen):
            chosen = [chosen[i * len(chosen) // limit] for i in range(limit)]
        for start in range(0, len(chosen), self.batch_size):
            group = [chosen[(start + i) % len(chosen)] for i in range(self.batch_size)]
            yield {self.spec.input.name: np.stack([self._checked(path) for path in group])}

    def read(self, index: int) -> np.ndarray:
        """One preprocessed image, without the axis of a batch."""
        return self._checked(self.images[index]).copy()

    def _checked(self, path: Path) -> np.ndarray:
        if path in self._kept:
            return self._kept[path]
        array = self._decode(path, self.spec)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidInput(
                f"The calibration image {path} holds a value that is not finite after preprocessing.",
                "One NaN or infinity makes every range of the model meaningless, and quantizers take it silently.",
                "Remove the image, or correct mean and std of the model's preprocessing.",
            )
        if array.nbytes <= self._room:
            self._kept[path] = array
            self._room -= array.nbytes
        return array


Decode = Callable[[Path, ModelSpec], np.ndarray]
"""From a file to one preprocessed input."""


def _preprocessed(path: Path, spec: ModelSpec) -> np.ndarray:
    return preprocess(open_image(path, spec.preprocess.turns), spec.preprocess, spec.input)
