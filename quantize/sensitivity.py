"""How much quantization changes the answers: of one layer alone, or with one or another way to find ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

from edgewright.core.spec import ModelSpec
from edgewright.vision.detection import detect

from .calibration import Calibration
from .ranges import Tick
from .sessions import Feed, open_session, until
from .tail import LAYERS

if TYPE_CHECKING:
    import onnx

Name = TypeVar("Name", bound=str)

IMAGES, TRIAL_IMAGES = 16, 32
BOX_SCORE = 0.1
"""Boxes of the float model from here on are looked at: there are too few above a detector's usual threshold."""

Place = Callable[["onnx.ModelProto", list[str]], "onnx.ModelProto"]
"""Quantizes a copy of a model, all but the nodes that are named."""


def most_sensitive(
    model: onnx.ModelProto, place: Place, calibration: Calibration, fraction: float, kept: Sequence[str], tick: Tick
) -> list[str]:
    """The names of the `fraction` of layers (rounded up) whose quantization alone loses most (see `loss`).

    Nodes in `kept` stay in float anyway.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    layers = [
        n.name for n in model.graph.node if n.op_type in LAYERS and n.input[1] in constants and n.name not in kept
    ]
    every = [node.name for node in model.graph.node]
    feeds = list(calibration.batches(IMAGES))
    exact = answers(model, feeds)
    lost: dict[str, float] = {}
    for step, layer in enumerate(layers):
        alone = place(model, [name for name in every if name != layer])
        lost[layer] = loss(exact, answers(alone, feeds), calibration.spec)
        tick(step + 1, len(layers), "sensitivity of layers")
    ranked = sorted(layers, key=lambda name: -lost[name])
    return ranked[: int(np.ceil(fraction * len(layers)))]


def least_loss(
    model: onnx.ModelProto, trials: Mapping[Name, Place], calibration: Calibration, kept: Sequence[str]
) -> Name:
    """The name of the trial whose answers, with all but `kept` quantized, lose least against the float model's."""
    feeds = list(calibration.batches(TRIAL_IMAGES))
    exact = answers(model, feeds)
    return min(trials, key=lambda k: loss(exact, answers(trials[k](model, list(kept)), feeds), calibration.spec))


def loss(exact: Sequence[np.ndarray], found: Sequence[np.ndarray], spec: ModelSpec) -> float:
    """How much the answers `found` lose against `exact`: arrays (images, values), one an output.

    For class scores the Kullback-Leibler divergence of the probabilities, in nats an image: an error counts where it
    can change the answer. Of a detector how much of the boxes' scores is lost. For other outputs the error's energy
    relative to the output's, summed over outputs.
    """
    if spec.detect:
        return _lost_boxes(exact, found, spec)
    if spec.task == "classify" and spec.postprocess.scores == "softmax":
        from scipy.special import log_softmax

        p, q = (log_softmax(x[0].reshape(len(x[0]), -1).astype(np.float64), axis=1) for x in (exact, found))
        return float((np.exp(p) * (p - q)).sum(axis=1).mean())
    return sum(float(((b - a) ** 2).sum() / ((a**2).sum() + 1e-12)) for a, b in zip(exact, found))


def _lost_boxes(exact: Sequence[np.ndarray], found: Sequence[np.ndarray], spec: ModelSpec) -> float:
    """Over the float model's boxes: the score less what is left of it, relative to all scores.

    A box is found again by the one of its class with the largest intersection over union, which counts as a factor.
    """
    size = (spec.input.width, spec.input.height)
    total, lost = 1e-12, 0.0
    for image in range(len(exact[0])):
        wanted = detect([array[image : image + 1] for array in exact], _one(spec), [size], BOX_SCORE)[0]
        given = detect([array[image : image + 1] for array in found], _one(spec), [size], BOX_SCORE / 10)[0]
        for box in wanted:
            same = given.indices == box.index
            left = (_overlap(np.array(box.box), given.boxes[same]) * np.minimum(given.scores[same], box.score)).max(
                initial=0.0
            )
            total, lost = total + box.score, lost + box.score - float(left)
    return lost / total


def _one(spec: ModelSpec) -> ModelSpec:
    return msgspec.structs.replace(spec, input=msgspec.structs.replace(spec.input, batch=1))


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))


def answers(model: onnx.ModelProto, feeds: list[Feed], optimize: bool = False) -> list[np.ndarray]:
    """Every output of `model`, images first: of classifiers (images, values), of others in the outputs' own shape.

    `optimize`: as of `sessions.open_session`.
    """
    names = [value.name for value in model.graph.output]
    session = open_session(until(model, names), optimize=optimize)
    rows = [session.run(names, feed) for feed in feeds]
    images = len(next(iter(feeds[0].values())))
    # Some exporters drop the axis of a batch of one.
    whole = [[a if len(a) == images else a[None] for a in column] for column in zip(*rows)]
    return [np.concatenate(column) for column in whole]
