"""Training batches for an INT8 model: augmented calibration images, and the float model's outputs for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from edgewright.graph import batch, files, inputs
from edgewright.graph.census import PRODUCTS
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.calibration.sessions import Feed, open_session, until
from edgewright.quantize.training import holdout
from edgewright.vision import feeds
from edgewright.vision.feeds import Feeds

from .loss import Distance
from .schedule import Training

if TYPE_CHECKING:
    import onnx


class Batch(NamedTuple):
    """Images in parts of the size that the model accepts, by input name, and the distance to the teacher's outputs for
    them."""

    parts: list[Feed]
    distance: Distance


class Batches:
    """The batches of a training. `seed` and the step decide which images a batch has and how they are augmented.

    `compared`: the tensors of the float model `reference` whose distance counts, outputs first. `labels`: the class of
    each calibration image, if known. `at_once`: images per part, the batch of a step if the model accepts any batch
    size, else the model's own batch size.
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
        self.spec = calibration.spec
        self.learning, self.held_out = holdout.spread(len(calibration.images))
        self.size = max(1, min(training.most_images, training.pixels // self.spec.values))
        first = self._images(0)[0]
        self.at_once = self.size if _takes(reference, self.outputs, self._named(first), self.size) else 1
        if self.at_once == 1:
            self.at_once = self.spec.batch or 1
        self.size = -(-self.size // self.at_once) * self.at_once  # The gradients of several parts are summed.
        teacher = files.copy(reference)
        batch.apply(teacher, self.at_once)
        self.session = open_session(until(teacher, compared), optimize=True)
        self.spread = _spread(teacher, self._named(feeds.rows(first, self.spec, slice(0, self.at_once))))
        """The standard deviation of each layer's output, by layer name."""

    def of(self, step: int) -> Batch:
        """The training batch of a step."""
        return self._batch(*self._images(step), self.compared)

    def validation(self) -> Batch:
        """The held-out images without augmentation, and only the model's outputs. Images from the start complete the
        last part."""
        held_out = self.held_out
        chosen = [held_out[i % len(held_out)] for i in range(-(-len(held_out) // self.at_once) * self.at_once)]
        return self._batch(feeds.joined([self.calibration.read(i) for i in chosen], self.spec), chosen, self.outputs)

    def _named(self, x: Feeds) -> Feed:
        return feeds.named(x, self.spec)

    def _batch(self, images: Feeds, chosen: list[int], names: list[str]) -> Batch:
        starts = range(0, len(chosen), self.at_once)
        parts = [self._named(feeds.rows(images, self.spec, slice(start, start + self.at_once))) for start in starts]
        wanted = [[torch.from_numpy(array) for array in self.session.run(names, x)] for x in parts]
        right = [torch.tensor([self.labels[i] for i in chosen[s : s + self.at_once]]) for s in starts if self.labels]
        t = self.training
        return Batch(parts, Distance(wanted, len(self.outputs), self.calibration.spec, t.features, right, t.labels))

    def _images(self, step: int) -> tuple[Feeds, list[int]]:
        """The images of a step, mirrored and zoomed at random, and their indices. Samples of arrays are not changed."""
        generator = np.random.default_rng([self.seed, step])
        chosen = generator.choice(self.learning, self.size, replace=self.size > len(self.learning)).tolist()
        images = [self.calibration.read(i) for i in chosen]
        if self.spec.takes_image:
            last = self.spec.input.layout == "NHWC"
            images = [(_changed(x, last, self.training, generator),) for (x,) in images]
        return feeds.joined(images, self.spec), chosen


def _takes(model: onnx.ModelProto, outputs: list[str], images: Feed, count: int) -> bool:
    """Whether `model` gives the same outputs for a batch of `count` images as for single images. A graph may contain a
    fixed size."""
    changed, size = files.copy(model), inputs.shape(inputs.real(model)[0])[:1]
    few = {name: array[: (size and size[0]) or 1] for name, array in images.items()}
    try:
        batch.apply(changed, count)
        several = open_session(until(changed, outputs)).run(outputs, images)
        alone = open_session(until(model, outputs)).run(outputs, few)
    except Exception:  # ONNX Runtime's errors have no common class.
        return False
    return all(
        np.ndim(a) and len(a) == count and np.abs(a[: len(b)] - b).max() <= 1e-3 * np.abs(b).max()
        for a, b in zip(several, alone)
    )


def _changed(image: np.ndarray, last: bool, training: Training, generator: np.random.Generator) -> np.ndarray:
    """An image, its mirror image, or an enlarged part of it. `last`: channels are the last axis, else the first."""
    pixels = torch.from_numpy(np.moveaxis(image, -1, 0) if last else image).float()
    if training.mirror and generator.random() < 0.5:
        pixels = pixels.flip(-1)
    share = 1 - training.zoom * generator.random()
    height, width = (round(side * share) for side in pixels.shape[-2:])
    top, left = (int(generator.integers(0, old - new + 1)) for old, new in zip(pixels.shape[-2:], (height, width)))
    part = pixels[..., top : top + height, left : left + width]
    found = F.interpolate(part[None], pixels.shape[-2:], mode="bilinear", align_corners=False, antialias=True)[
        0
    ].numpy()
    whole = np.rint(found) if np.issubdtype(image.dtype, np.integer) else found
    changed: np.ndarray = np.moveaxis(whole, 0, -1) if last else whole
    return np.ascontiguousarray(changed.astype(image.dtype))


def _spread(model: onnx.ModelProto, images: Feed) -> dict[str, float]:
    """The standard deviation of each layer's output over all values, for `images` by input name."""
    layers = {node.name: node.output[0] for node in model.graph.node if node.op_type in PRODUCTS}
    arrays = open_session(until(model, list(layers.values()))).run(list(layers.values()), images)
    return {name: float(array.std()) for name, array in zip(layers, arrays)}
