"""How much quantization changes the answers: of one layer alone, or with one or another way to find ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from edgewright import tasks
from edgewright.graph.census import PRODUCTS
from edgewright.graph.index import constants_of

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

Place = Callable[["onnx.ModelProto", list[str]], "onnx.ModelProto"]
"""Quantizes a copy of a model, all but the nodes that are named."""


def most_sensitive(
    model: onnx.ModelProto, place: Place, calibration: Calibration, fraction: float, kept: Sequence[str], tick: Tick
) -> list[str]:
    """The names of the `fraction` of layers (rounded up) whose quantization alone loses most.

    How much, the task's `loss.divergence` tells. Nodes in `kept` stay in float anyway.
    """
    constants = constants_of(model.graph)
    layers = [
        n.name for n in model.graph.node if n.op_type in PRODUCTS and n.input[1] in constants and n.name not in kept
    ]
    every = [node.name for node in model.graph.node]
    feeds, spec = list(calibration.batches(IMAGES)), calibration.spec
    divergence = tasks.of(spec).loss.divergence
    exact = answers(model, feeds)
    lost: dict[str, float] = {}
    for step, layer in enumerate(layers):
        alone = place(model, [name for name in every if name != layer])
        lost[layer] = divergence(exact, answers(alone, feeds), spec)
        tick(step + 1, len(layers), "sensitivity of layers")
    ranked = sorted(layers, key=lambda name: -lost[name])
    return ranked[: int(np.ceil(fraction * len(layers)))]


def best_trial(
    model: onnx.ModelProto, trials: Mapping[Name, Place], calibration: Calibration, kept: Sequence[str], tick: Tick
) -> Name:
    """The name of the trial to take, by how its answers, with all but `kept` quantized, differ from the float model's.

    Which, `choose` says. `tick` is called with (trials done, trials, what).
    """
    spec = calibration.spec
    shape, changes = spec.input, tasks.of(spec).loss.changes
    limit = min(TRIAL_IMAGES, max(MINIMUM, TRIAL_PIXELS // (shape.height * shape.width)))

    def answered(by: onnx.ModelProto) -> list[np.ndarray]:
        return answers(by, calibration.batches(limit))  # read anew each time: so many are not held

    exact = answered(model)
    images = min(len(calibration.images), limit)  # what fills up the last batch is no more evidence
    found: dict[Name, np.ndarray] = {}
    for step, (name, trial) in enumerate(trials.items()):
        found[name] = changes(exact, answered(trial(model, list(kept))), spec)[:images]
        tick(step + 1, len(trials), "answers by each kind of ranges")
    return choose(found)


def choose(found: Mapping[Name, np.ndarray]) -> Name:
    """The name of the trial to take, of what each `found`: how much the answer to each of the
    same images changes, from 0 to 1; (images,).

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
