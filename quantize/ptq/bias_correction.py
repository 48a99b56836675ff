"""Bias correction: subtract the mean error that quantization adds to a layer's output from its bias.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2, in its
empirical form: layer by layer in graph order, on real images, so that each layer also repairs the remaining errors of
earlier layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgewright.core.spec import ModelSpec
from edgewright.graph.index import constants_of
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.calibration.sessions import Stretches, channel_means, mean
from edgewright.quantize.calibration.statistics import Tick
from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import CorrectBiases

from .gptq import round_weights, second_moment

if TYPE_CHECKING:
    import onnx

PIXELS = 32 * 224 * 224
"""How much data is used: 32 images of 224 x 224, more smaller ones. Their live activations are in memory, so memory
does not grow with the calibration set. Deep layers of small images have few positions and need more images for a mean.
"""
MOST_IMAGES = 256
TRIMMED = 0.1

_CHANNEL_AXIS = {"Conv": 1, "ConvTranspose": 1, "Gemm": -1}


def apply(step: CorrectBiases, state: Int8State) -> int:
    """Correct the biases of the INT8 model, except for protected nodes."""
    return correct(state.quantized, state.model, state.calibration, state.tick, step.gptq, state.protected)


def correct(
    model: onnx.ModelProto,
    reference: onnx.ModelProto,
    calibration: Calibration,
    tick: Tick,
    gptq: bool = False,
    kept: Sequence[str] = (),
) -> int:
    """Correct the biases of the Q/DQ model `model` in place, so that layer outputs have the means that they have in
    `reference`.

    `reference` is the float model with the same node names. `gptq`: round each layer's weights again before its bias.
    Layers in `kept` stay unchanged. Each section of the graph from one layer to the next runs once: a correction shifts
    a layer's output by a constant, which is added to the computed output. `tick` is called with (layers done, layers,
    text). Returns the number of corrected layers.
    """
    layers = [node for node in model.graph.node if node.name not in kept and _is_correctable(model, node)]
    if not layers:
        return 0
    named = {node.name: node for node in reference.graph.node}
    wanted = [named[node.name].output[0] for node in layers]
    axes = [_CHANNEL_AXIS[node.op_type] for node in layers]
    images = images_for(calibration.spec)
    right = channel_means(reference, wanted, axes, calibration.batches(images))
    stretches = Stretches(model, calibration.batches(images))
    for step, (node, axis, means) in enumerate(zip(layers, axes, right)):
        if gptq:
            _round(model, node, reference, named[node.name], stretches.advance(node.input[0]))
        arrays = stretches.advance(node.output[0])
        delta = trimmed_mean(means - [mean(array, axis) for array in arrays])
        along = [1] * arrays[0].ndim
        along[axis] = -1
        added = _shift(model, node, delta).reshape(along)
        for array in arrays:
            np.add(array, added, out=array)
        tick(step + 1, len(layers), "bias correction")
    return len(layers)


def trimmed_mean(errors: np.ndarray) -> np.ndarray:
    """The mean of `errors` (images, channels) over the images, without the tenth of the images with the largest errors.

    If ranges clip the outliers of a few images, correcting that error would shift all other images.
    """
    size = np.square(errors).sum(axis=1)
    kept = np.argsort(size, kind="stable")[: len(size) - int(len(size) * TRIMMED)]
    return np.asarray(errors[kept].mean(axis=0))


def images_for(spec: ModelSpec) -> int:
    """How many images of this size are used."""
    return min(MOST_IMAGES, max(8, PIXELS // spec.values))


def _round(
    model: onnx.ModelProto, node: onnx.NodeProto, reference: onnx.ModelProto, original: onnx.NodeProto,
    arrays: list[np.ndarray],
) -> None:  # fmt: skip
    """Round the weights of `node` again, from those of `original`, for its inputs `arrays`. Scales do not change."""
    from onnx import numpy_helper

    pair = next((n for n in model.graph.node if node.input[1] in n.output), None)
    if pair is None or pair.op_type != "DequantizeLinear":
        return  # The layer is in float.
    initial = constants_of(model.graph)
    tensor = initial[pair.input[0]]
    exact = numpy_helper.to_array(constants_of(reference.graph)[original.input[1]])
    turned = node.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in node.attribute)
    rows = exact.T if turned else exact
    scale = numpy_helper.to_array(initial[pair.input[1]]).reshape(-1)
    if len(scale) not in (1, len(rows)):
        return  # ConvTranspose: the scales follow another axis.
    scale = np.broadcast_to(scale, len(rows))
    old = numpy_helper.to_array(tensor).astype(np.float32)
    near = np.abs((old.T if turned else old).reshape(len(rows), -1) * scale[:, None] - rows.reshape(len(rows), -1))
    if (near > 1.01 * scale[:, None]).any():
        return  # the quantizer changed these weights (SmoothQuant), or their scales follow another axis
    moment = second_moment(node, exact.shape[2:], arrays)
    if moment is None:
        return
    shape = (len(moment), len(rows) // len(moment), -1)
    limit = min(int(np.abs(old).max()), 127)  # 7 or 8 bits: as the quantizer chose
    new = round_weights(rows.reshape(shape), scale.reshape(shape), moment, -limit, limit).reshape(rows.shape)
    new = (new.T if turned else new).astype(np.int8)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(new), tensor.name))


def _is_correctable(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    """A layer with a constant bias. A layer in float counts too: its bias can repair the mean error of its input."""
    initial = constants_of(model.graph).keys()
    pairs = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in initial}
    return node.op_type in _CHANNEL_AXIS and len(node.input) > 2 and node.input[2] in initial | pairs


def _shift(model: onnx.ModelProto, node: onnx.NodeProto, delta: np.ndarray) -> np.ndarray:
    """Add `delta` (channels,) to the bias of `node`, float or int32 with a DequantizeLinear. Returns the change."""
    from onnx import numpy_helper

    initial = constants_of(model.graph)
    source = next((n for n in model.graph.node if node.input[2] in n.output), None)
    tensor = initial[source.input[0] if source else node.input[2]]
    old = numpy_helper.to_array(tensor)
    step = numpy_helper.to_array(initial[source.input[1]]) if source else np.float32(1)
    new = (old + np.rint(delta / step)).astype(np.int32) if source else (old + delta).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    return np.asarray((new.astype(np.float64) - old) * step, np.float32)
