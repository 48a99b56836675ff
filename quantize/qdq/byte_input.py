"""Align the input's grid with the image's byte values: nothing is rounded there, and no zero point is needed.

If the first convolution has no padding, the normalization is folded into it, and the graph converts normalized inputs
back to bytes / divide before it (OpenVINO does that in the kernel that quantizes). If it has padding, an offset cannot
be folded, because the padding is zero after normalization. Then this step works only without an offset. Once the graph
also accepts bytes (`graph.normalize`), nothing remains before the convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.core.spec import ModelSpec
from edgewright.graph import clean, files, normalize
from edgewright.graph.index import constants_of
from edgewright.graph.names import Names
from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import ByteInput

if TYPE_CHECKING:
    import onnx


def apply(_step: ByteInput, state: Int8State) -> int:
    """Fold the normalization into the first convolution, and set its input range to that of bytes."""
    assert state.ranges is not None, "no step has chosen ranges"
    if not state.spec.takes_image:
        return 0
    conv = normalize.first_conv(state.model, state.spec.input.name)
    if conv is None or conv.name in state.float_nodes:
        return 0
    if offsets(state.spec) and not state.scheme.fuses_functions:
        return 0  # converting the images back to bytes would be two passes over them there
    known = {node.name for node in state.model.graph.node}
    tensor = fold(state.model, state.spec)
    state.float_nodes += [node.name for node in state.model.graph.node if node.name not in known]
    if tensor:
        highest = 255 / state.spec.preprocess.divide
        if tensor == state.spec.input.name:
            highest /= state.spec.preprocess.std[0]
        state.ranges.tensors[tensor] = (0.0, highest)
    return int(bool(tensor))


def repeat(model: onnx.ModelProto, spec: ModelSpec, quantized: onnx.ModelProto) -> None:
    """Fold the normalization into the float `model`, in place, if its INT8 file `quantized` has it folded."""
    if not spec.takes_image:
        return
    trial = files.copy(model)
    tensor = fold(trial, spec)
    if tensor != spec.input.name and any(tensor in node.output for node in quantized.graph.node):
        fold(model, spec)


def offsets(spec: ModelSpec) -> bool:
    """Whether normalization does more than multiply all channels by one number."""
    return any(spec.preprocess.mean) or len(set(spec.preprocess.std)) > 1


def fold(model: onnx.ModelProto, spec: ModelSpec) -> str:
    """Make the first convolution of the float `model` read bytes / divide, in place; return the tensor that it reads.

    Outputs stay the same up to float rounding. Returns "" if this is not possible: there is padding and an offset,
    another node reads the images, or the graph normalizes itself. If there is nothing to fold, returns the input.
    """
    import onnx
    from onnx import numpy_helper

    how, name = spec.preprocess, spec.input.name
    conv = normalize.first_conv(model, name)
    if conv is None or spec.input.dtype != "float32" or spec.input.layout != "NCHW" or how.normalize != "host":
        return ""
    mean, std = np.asarray(how.mean, np.float64), np.asarray(how.std, np.float64)
    if not offsets(spec):
        return name
    if mean.any() and files.pads(conv):
        return ""
    constants, names = constants_of(model.graph), Names(model.graph)
    weights = numpy_helper.to_array(constants[conv.input[1]]) / std.reshape(1, -1, 1, 1)
    bias = numpy_helper.to_array(constants[conv.input[2]]) if len(conv.input) > 2 else np.zeros(len(weights))
    bias = bias - (weights * mean.reshape(1, -1, 1, 1)).sum((1, 2, 3))
    inputs = [conv.input[0]]
    for value, what in ((std, "std"), (mean, "mean"), (weights, "weights"), (bias, "bias")):
        label = names.free(f"{name}_bytes_{what}")
        shaped = value.reshape(1, -1, 1, 1) if what in ("std", "mean") else value
        model.graph.initializer.append(numpy_helper.from_array(shaped.astype(np.float32), label))
        inputs.append(label)
    scaled, moved = names.free(f"{name}_scaled"), names.free(f"{name}_bytes")
    conv.input[:] = [moved, inputs[3], inputs[4]]
    head = [
        onnx.helper.make_node("Mul", [name, inputs[1]], [scaled], names.free(f"{name}_scale")),
        onnx.helper.make_node("Add", [scaled, inputs[2]], [moved], names.free(f"{name}_move")),
    ]
    files.refill(model.graph.node, [*head, *model.graph.node])
    clean.drop_unread(model.graph)
    return moved
