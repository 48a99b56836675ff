"""Measure how much quantization changes the outputs: of single layers, or with different kinds of ranges."""

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
"""Maximum number of images per kind of ranges: all outputs of two models are in memory at once. On 32 images
SqueezeNet's kinds for TensorRT are a tie, on 100 they are not."""
CHANCE = 2.0
"""Differences up to this many standard errors count as chance."""

Place = Callable[["onnx.ModelProto", list[str]], "onnx.ModelProto"]
"""Quantizes a copy of a model, except the named nodes."""


def most_sensitive(
    model: onnx.ModelProto, place: Place, calibration: Calibration, fraction: float, kept: Sequence[str], tick: Tick
) -> list[str]:
    """The names of the `fraction` of layers (rounded up) whose quantization alone has the highest `loss.divergence` of
    the task.

    Nodes in `kept` stay in float in any case.
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
    """The name of the best trial, by how its outputs differ from the float model's. All but `kept` is quantized.

    `choose` decides. `tick` is called with (trials done, trials, text).
    """
    spec = calibration.spec
    changes = tasks.of(spec).loss.changes
    limit = min(TRIAL_IMAGES, max(MINIMUM, TRIAL_PIXELS // spec.values))

    def answered(by: onnx.ModelProto) -> list[np.ndarray]:
        return answers(by, calibration.batches(limit))  # Read again each time, so that few images are in memory.

    exact = answered(model)
    images = min(len(calibration.images), limit)  # The images that complete the last batch are no extra evidence.
    found: dict[Name, np.ndarray] = {}
    for step, (name, trial) in enumerate(trials.items()):
        found[name] = changes(exact, answered(trial(model, list(kept))), spec)[:images]
        tick(step + 1, len(trials), "outputs with each kind of ranges")
    return choose(found)


def choose(found: Mapping[Name, np.ndarray]) -> Name:
    """The name of the best trial. `found`: for each trial, how much the output for each image changes, from 0 to 1;
    (images,).

    List trials from the most cautious one. A later trial replaces an earlier one only if its mean over images is better
    by more than `CHANCE` standard errors. (The ranges were found on these images, among others.)
    """
    taken, *others = found
    for name in others:
        gain = found[taken] - found[name]
        if gain.mean() > CHANCE * gain.std(ddof=1) / np.sqrt(len(gain)):
            taken = name
    return taken


def answers(model: onnx.ModelProto, feeds: Iterable[Feed], optimize: bool = False) -> list[np.ndarray]:
    """Every output of `model`, images first: (images, values) for classifiers, the outputs' own shape for other models.

    `optimize`: see `sessions.open_session`.
    """
    names = [value.name for value in model.graph.output]
    session = open_session(until(model, names), optimize=optimize)
    rows = []
    for feed in feeds:
        images = len(next(iter(feed.values()))) if np.ndim(next(iter(feed.values()))) else 1
        # Some exporters drop the batch axis when the batch is 1.
        rows.append([a if np.ndim(a) and len(a) == images else np.asarray(a)[None] for a in session.run(names, feed)])
    return [np.concatenate(column) for column in zip(*rows)]
