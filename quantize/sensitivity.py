"""How much quantization changes the answers: of one layer alone, or with one or another way to find ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .calibration import Calibration
from .ranges import Tick
from .sessions import Feed, open_session, until

if TYPE_CHECKING:
    import onnx

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
IMAGES = 16

Place = Callable[["onnx.ModelProto", list[str]], "onnx.ModelProto"]
"""Quantizes a copy of a model, all but the nodes that are named."""


def most_sensitive(
    model: onnx.ModelProto, place: Place, calibration: Calibration, fraction: float, tick: Tick
) -> list[str]:
    """The names of the `fraction` of layers (rounded up) whose quantization changes the outputs most.

    Measured as the error's energy in the model's first output over a few calibration images.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    layers = [n.name for n in model.graph.node if n.op_type in LAYERS and n.input[1] in constants]
    every = [node.name for node in model.graph.node]
    feeds = list(calibration.batches(IMAGES))
    exact = _answers(model, feeds)
    errors: dict[str, float] = {}
    for step, layer in enumerate(layers):
        alone = place(model, [name for name in every if name != layer])
        errors[layer] = float(((_answers(alone, feeds) - exact) ** 2).sum())
        tick(step + 1, len(layers), "sensitivity of layers")
    ranked = sorted(layers, key=lambda name: -errors[name])
    return ranked[: int(np.ceil(fraction * len(layers)))]


def least_error(model: onnx.ModelProto, trials: Sequence[Place], calibration: Calibration) -> Place:
    """The one of `trials` whose answers, with all layers quantized, differ least from those of the float model.

    Compared by the median over a few calibration images of the relative error, which outliers do not move.
    """
    feeds = list(calibration.batches(IMAGES))
    exact = _answers(model, feeds)
    flat = (len(exact), -1)

    def error(place: Place) -> float:
        lost = ((_answers(place(model, []), feeds) - exact) ** 2).reshape(flat).sum(axis=1)
        return float(np.median(lost / ((exact**2).reshape(flat).sum(axis=1) + 1e-12)))

    return min(trials, key=error)


def _answers(model: onnx.ModelProto, feeds: list[Feed]) -> np.ndarray:
    output = model.graph.output[0].name
    session = open_session(until(model, [output]))
    return np.concatenate([session.run([output], feed)[0] for feed in feeds])
