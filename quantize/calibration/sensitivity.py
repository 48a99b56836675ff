"""How much quantization changes the answers: of one layer alone, or with one or another way to find ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

from edgewright.core.spec import ModelSpec
from edgewright.graph.census import PRODUCTS
from edgewright.tasks.detect.decode import read

from .images import MINIMUM, Calibration
from .sessions import Feed, open_session, until
from .statistics import Tick

if TYPE_CHECKING:
    import onnx

Name = TypeVar("Name", bound=str)

IMAGES = 16
TRIAL_IMAGES, TRIAL_PIXELS = 100, 100 * 416 * 416
"""At most so many are looked at for each way to find ranges: all the answers of two models are in memory then. On 32
images those of SqueezeNet for TensorRT are a tie, on 100 they are not."""
CHANCE = 2.0
"""Standard errors that chance may explain."""
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
        n.name for n in model.graph.node if n.op_type in PRODUCTS and n.input[1] in constants and n.name not in kept
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


def best_trial(
    model: onnx.ModelProto, trials: Mapping[Name, Place], calibration: Calibration, kept: Sequence[str], tick: Tick
) -> Name:
    """The name of the trial to take, by how its answers, with all but `kept` quantized, differ from the float model's.

    Which, `choose` says. `tick` is called with (trials done, trials, what).
    """
    shape = calibration.spec.input
    limit = min(TRIAL_IMAGES, max(MINIMUM, TRIAL_PIXELS // (shape.height * shape.width)))

    def answered(by: onnx.ModelProto) -> list[np.ndarray]:
        return answers(by, calibration.batches(limit))  # read anew each time: so many are not held

    exact = answered(model)
    images = min(len(calibration.images), limit)  # what fills up the last batch is no more evidence
    found: dict[Name, np.ndarray] = {}
    for step, (name, trial) in enumerate(trials.items()):
        found[name] = changes(exact, answered(trial(model, list(kept))), calibration.spec)[:images]
        tick(step + 1, len(trials), "answers by each kind of ranges")
    return choose(found)


def choose(found: Mapping[Name, np.ndarray]) -> Name:
    """The name of the trial to take, of what each `found`: `changes` of the same images (images,).

    Trials should stand in the order of caution: one is taken instead of those before it only where it is better by more
    than chance, by more than `CHANCE` standard errors of the mean over images. (The ranges were found on these images
    among others.)
    """
    taken, *others = found
    for name in others:
        gain = found[taken] - found[name]
        if gain.mean() > CHANCE * gain.std(ddof=1) / np.sqrt(len(gain)):
            taken = name
    return taken


def changes(exact: Sequence[np.ndarray], found: Sequence[np.ndarray], spec: ModelSpec) -> np.ndarray:
    """How much the answer to each image changes from `exact` to `found`, from 0 to 1; (images,).

    For class scores the probability that moves to other classes (the total variation distance), else `loss` of the
    image by itself. No image counts for more than one wrong answer: a loss without bounds would tell of little but how
    many images with outliers there were among those that were looked at.
    """
    if spec.task == "classify" and spec.postprocess.scores == "softmax":
        from scipy.special import softmax

        p, q = (softmax(x[0].reshape(len(x[0]), -1).astype(np.float64), axis=1) for x in (exact, found))
        return np.asarray(np.abs(p - q).sum(axis=1) / 2)
    each = (([a[i : i + 1] for a in exact], [b[i : i + 1] for b in found]) for i in range(len(exact[0])))
    return np.array([min(1.0, loss(one, other, spec)) for one, other in each])


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
        wanted = read([array[image : image + 1] for array in exact], _one(spec), [size], BOX_SCORE)[0]
        given = read([array[image : image + 1] for array in found], _one(spec), [size], BOX_SCORE / 10)[0]
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


def answers(model: onnx.ModelProto, feeds: Iterable[Feed], optimize: bool = False) -> list[np.ndarray]:
    """Every output of `model`, images first: of classifiers (images, values), of others in the outputs' own shape.

    `optimize`: as of `sessions.open_session`.
    """
    names = [value.name for value in model.graph.output]
    session = open_session(until(model, names), optimize=optimize)
    rows = []
    for feed in feeds:
        images = len(next(iter(feed.values())))
        # Some exporters drop the axis of a batch of one.
        rows.append([a if len(a) == images else a[None] for a in session.run(names, feed)])
    return [np.concatenate(column) for column in zip(*rows)]
