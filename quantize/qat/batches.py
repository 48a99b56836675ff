"""What an INT8 model is trained with: calibration images, changed a little, and what the float model makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from edgewright.graph import batch, files, inputs
from edgewright.graph.census import PRODUCTS
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.calibration.sessions import open_session, until
from edgewright.quantize.training import holdout

from .loss import Distance
from .schedule import Training

if TYPE_CHECKING:
    import onnx


class Batch(NamedTuple):
    """Images in parts that the model takes at once, and the distance from what the teacher makes of them."""

    parts: list[np.ndarray]
    distance: Distance


class Batches:
    """The batches of a training; which images one has, and how they are changed, `seed` and its step decide.

    `compared`: the tensors of the float model `reference` whose distance counts, its outputs first. `labels`: the class
    of each calibration image, where it is known. `at_once` images make a part: as many as a step has where the model
    takes any number, else its own batch.
    """

    def __init__(
        self, reference: onnx.ModelProto, compared: list[str], calibration: Calibration, training: Training, seed: int,
        labels: Sequence[int],
    ) -> None:  # fmt: skip
        self.calibration, self.training, self.seed, self.labels, self.compared = (
            calibration,
            training,
            seed,
            labels,
            compared,
        )
        self.outputs = [value.name for value in reference.graph.output]
        shape = calibration.spec.input
        self.name = shape.name
        self.learning, self.held_out = holdout.spread(len(calibration.images))
        self.size = max(1, min(training.most_images, training.pixels // (shape.height * shape.width)))
        first = self._images(0)[0]
        self.at_once = self.size if _takes(reference, self.outputs, self.name, first) else shape.batch or 1
        self.size = -(-self.size // self.at_once) * self.at_once  # gradients of several parts add up
        teacher = files.copy(reference)
        batch.apply(teacher, self.at_once)
        self.session = open_session(until(teacher, compared), optimize=True)
        self.spread = _spread(teacher, first[: self.at_once], self.name)
        """The standard deviation of each layer's output, by the layer's name."""

    def of(self, step: int) -> Batch:
        """What is learned in a step."""
        return self._batch(*self._images(step), self.compared)

    def validation(self) -> Batch:
        """The held-out images, unchanged, and only the model's outputs; filled up to whole parts from their start."""
        held_out = self.held_out
        chosen = [held_out[i % len(held_out)] for i in range(-(-len(held_out) // self.at_once) * self.at_once)]
        return self._batch(np.stack([self.calibration.read(i) for i in chosen]), chosen, self.outputs)

    def _batch(self, images: np.ndarray, chosen: list[int], names: list[str]) -> Batch:
        starts = range(0, len(images), self.at_once)
        parts = [images[start : start + self.at_once] for start in starts]
        wanted = [[torch.from_numpy(array) for array in self.session.run(names, {self.name: x})] for x in parts]
        right = [torch.tensor([self.labels[i] for i in chosen[s : s + self.at_once]]) for s in starts if self.labels]
        t = self.training
        return Batch(parts, Distance(wanted, len(self.outputs), self.calibration.spec, t.features, right, t.labels))

    def _images(self, step: int) -> tuple[np.ndarray, list[int]]:
        """The images of a step, mirrored and zoomed into at random, and which they are."""
        generator = np.random.default_rng([self.seed, step])
        chosen = generator.choice(self.learning, self.size, replace=self.size > len(self.learning)).tolist()
        images = [_changed(torch.from_numpy(self.calibration.read(i)), self.training, generator) for i in chosen]
        return torch.stack(images).numpy(), chosen


def _takes(model: onnx.ModelProto, outputs: list[str], name: str, images: np.ndarray) -> bool:
    """Whether `model` answers for a batch of `images` as one by one: another size may be frozen all over a graph."""
    changed, few = files.copy(model), images[: inputs.shape(inputs.real(model)[0])[0] or 1]
    try:
        batch.apply(changed, len(images))
        several = open_session(until(changed, outputs)).run(outputs, {name: images})
    except Exception:  # ONNX Runtime's errors have no class in common
        return False
    alone = open_session(until(model, outputs)).run(outputs, {name: few})
    return all(
        len(a) == len(images) and np.abs(a[: len(few)] - b).max() <= 1e-3 * np.abs(b).max()
        for a, b in zip(several, alone)
    )


def _changed(image: torch.Tensor, training: Training, generator: np.random.Generator) -> torch.Tensor:
    """A float image (channels, height, width), or its mirror image, or a part of it enlarged."""
    if training.mirror and generator.random() < 0.5:
        image = image.flip(-1)
    share = 1 - training.zoom * generator.random()
    height, width = (round(side * share) for side in image.shape[-2:])
    top, left = (int(generator.integers(0, old - new + 1)) for old, new in zip(image.shape[-2:], (height, width)))
    part = image[..., top : top + height, left : left + width]
    return F.interpolate(part[None], image.shape[-2:], mode="bilinear", align_corners=False, antialias=True)[0]


def _spread(model: onnx.ModelProto, images: np.ndarray, name: str) -> dict[str, float]:
    """The standard deviation of each layer's output for `images` as the input `name`, over all of it."""
    layers = {node.name: node.output[0] for node in model.graph.node if node.op_type in PRODUCTS}
    arrays = open_session(until(model, list(layers.values()))).run(list(layers.values()), {name: images})
    return {name: float(array.std()) for name, array in zip(layers, arrays)}
