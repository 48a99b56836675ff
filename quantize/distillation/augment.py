"""Training images: decoded once if memory allows, cropped and mirrored at random each time.

Teacher and student get the same pixels, preprocessed by the model's own rule (color order, division, mean, std).
Evaluation gets exactly the pixels of `vision.preprocess`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from PIL import Image

from edgewright import tasks
from edgewright.core.spec import ModelSpec
from edgewright.vision.image import open_image
from edgewright.vision.preprocess import preprocess

MEMORY = 1 << 30
"""Bytes of decoded images to keep. Other images are read from their files each time."""
ROOM = 1.15
"""How much larger than for evaluation an image is kept, so that a crop has the full detail of the input."""


class Move(NamedTuple):
    """The position in a view of the point that evaluation has at (x, y), as shares of the input's sides: (`zoom` x +
    `right`, `zoom` y + `down`), then mirrored left to right if `mirrored`."""

    zoom: float = 1.0
    right: float = 0.0
    down: float = 0.0
    mirrored: bool = False


class Batch(NamedTuple):
    """A training batch: `pixels` (N, C, H, W) float32 as the model takes them, image indices, and how each was
    augmented.

    `moves` gives the augmentation for detectors, whose boxes move with the image. A classifier's crop keeps its class.
    """

    pixels: torch.Tensor
    indices: list[int]
    moves: list[Move]


class Views:
    """The training images `paths` of a model with this `spec`.

    Classifiers get timm's random crops (at least the share `zoom` of the area), mirrored half of the time with
    `mirror`, and the augmentation `augment` of timm's ``auto_augment``. Detectors get the evaluation's pixels scaled by
    a share of the area between `zoom` and its inverse, shifted, with `pad` around them, and mirrored likewise. Raises
    `InvalidInput` for a file that is not an image, when it is first read.
    """

    def __init__(
        self, paths: Sequence[str | Path], spec: ModelSpec, *, zoom: float = 1.0, mirror: bool = False,
        augment: str | None = None, memory: int = MEMORY,
    ) -> None:  # fmt: skip
        self.paths, self.mirror = [str(path) for path in paths], mirror
        # Torch modules take planes; a batch is normalized here at once.
        self._input = msgspec.structs.replace(spec.input, layout="NCHW", dtype="uint8")
        self._how = msgspec.structs.replace(spec.preprocess, normalize="graph")
        self._scale = spec.preprocess
        view = tasks.of(spec).training.view(spec)
        self._crop = self._crops(zoom, augment) if view == "crop" else None
        self._zoom = zoom if view == "zoom" else 1.0
        self._kept: dict[tuple[str, int], np.ndarray] = {}
        self._free = memory
        self._pool = ThreadPoolExecutor(os.cpu_count())  # Pillow's decoders release the lock

    def evaluation(self, indices: Sequence[int]) -> torch.Tensor:
        """The images as they are evaluated, (N, C, H, W) float32."""
        return self._normalized(torch.from_numpy(np.stack(self._read("evaluation", indices))))

    def training(self, indices: Sequence[int], seed: int) -> Batch:
        """The images as they are trained on. Only `seed` decides crops, shifts and mirroring."""
        indices = list(indices)
        if self._crop is None:
            read = self._read("evaluation", indices)
            moves = self._moves(len(indices), seed)
            pixels = torch.stack(list(self._pool.map(self._moved, read, moves)))
            return Batch(self._normalized(pixels), indices, moves)
        with randomness(seed):  # timm uses the generators of all three libraries
            views = [self._crop(Image.fromarray(array)) for array in self._read("picture", indices)]
            flips = [self.mirror and random.random() < 0.5 for _ in views]
        pixels = torch.stack([view.flip(2) if flip else view for view, flip in zip(views, flips)])
        if self._how.color == "BGR":
            pixels = pixels.flip(1)
        return Batch(self._normalized(pixels), indices, [Move(mirrored=flip) for flip in flips])

    def _moves(self, count: int, seed: int) -> list[Move]:
        """For each of `count` images: whether it is mirrored, its zoom, and its position: anywhere where it fills the
        input, or where the input contains it."""
        generator = torch.Generator().manual_seed(seed)
        mirrored = (torch.rand(count, generator=generator) < 0.5).tolist()
        far, right, down = torch.rand(3, count, generator=generator).tolist()
        zooms = [self._zoom ** (0.5 - share) for share in far]  # of a side: larger and smaller are equally likely
        return [
            Move(zoom, (1 - zoom) * x, (1 - zoom) * y, self.mirror and flip)
            for zoom, x, y, flip in zip(zooms, right, down, mirrored)
        ]

    def _moved(self, image: np.ndarray, move: Move) -> torch.Tensor:
        """The evaluation's pixels (C, H, W) after `move`."""
        from torchvision.transforms.v2 import InterpolationMode, functional

        pixels = torch.from_numpy(image)
        if move.zoom != 1:
            pad = self._how.pad
            height, width = pixels.shape[1:]
            shift = [(move.right + (move.zoom - 1) / 2) * width, (move.down + (move.zoom - 1) / 2) * height]
            pixels = functional.affine(
                pixels, angle=0, translate=shift, scale=move.zoom, shear=[0, 0], fill=pad if isinstance(pad, int)
                else list(pad), interpolation=InterpolationMode.BILINEAR,
            )  # fmt: skip
        return pixels.flip(2) if move.mirrored else pixels

    def _crops(self, zoom: float, augment: str | None) -> Any:
        from timm.data import create_transform

        i, how = self._input, self._how
        interpolation = "bilinear" if how.interpolation == "opencv" else how.interpolation
        return create_transform(
            (i.channels, i.height, i.width), is_training=True, scale=(zoom, 1.0), hflip=0.0, color_jitter=None,
            auto_augment=augment, interpolation=interpolation, normalize=False,
        )  # fmt: skip

    def _read(self, kind: str, indices: Sequence[int]) -> list[np.ndarray]:
        """uint8: the pixels of the evaluation (C, H, W), or a picture (height, width[, 3]) to crop from."""
        missing = [index for index in dict.fromkeys(indices) if (kind, index) not in self._kept]
        fresh = dict(zip(missing, self._pool.map(self._evaluated if kind == "evaluation" else self._picture, missing)))
        found = [self._kept[kind, index] if (kind, index) in self._kept else fresh[index] for index in indices]
        for index, array in fresh.items():
            if array.nbytes <= self._free:
                self._free -= array.nbytes
                self._kept[kind, index] = array
        return found

    def _evaluated(self, index: int) -> np.ndarray:
        return preprocess(open_image(self.paths[index], self._how.turns), self._how, self._input)

    def _picture(self, index: int) -> np.ndarray:
        """The image in the model's colors, no larger than needed, and squashed if evaluation squashes it."""
        image = open_image(self.paths[index], self._how.turns).convert("L" if self._how.color == "L" else "RGB")
        to_height, to_width = (round(ROOM * side) for side in self._how.resize_to)
        width, height = image.size
        if self._how.resize == "exact":
            if width > to_width or height > to_height or width * to_height != height * to_width:
                image = self._resize(image, (to_width, to_height))
        elif (scale := max(to_width, to_height) / min(width, height)) < 1:
            image = self._resize(image, (round(width * scale), round(height * scale)))
        return np.asarray(image)

    def _resize(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        name = "bilinear" if self._how.interpolation == "opencv" else self._how.interpolation
        return image.resize(size, Image.Resampling[name.upper()])

    def _normalized(self, pixels: torch.Tensor) -> torch.Tensor:
        """(pixel / divide - mean) / std, each step rounded to float32 as in `vision.preprocess`."""
        how = self._scale
        mean, std = (torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1) for values in (how.mean, how.std))
        return (pixels.float() / torch.tensor(how.divide, dtype=torch.float32) - mean) / std


@contextmanager
def randomness(seed: int) -> Iterator[None]:
    """Seed the random numbers of Python, numpy and torch inside the block, and restore their state after it."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
