"""The network's input on the grid of the image's bytes: nothing is rounded there, and no zero point is needed.

Where the first convolution pads nothing, the normalization goes into it, and the graph takes what was normalized back
to bytes / divide in front of it (OpenVINO computes that in the kernel that quantizes). In front of one that pads, an
offset cannot go: its padding is zero behind the normalization. There is only what has no offset. Once the graph also
takes the bytes themselves (`graph.normalize`), all in front of the convolution falls away.
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
    """Fold the normalization into the first convolution, and give what it reads the range of bytes."""
    assert state.ranges is not None, "no step has chosen ranges"
    conv = normalize.first_conv(state.model, state.spec.input.name)
    if conv is None or conv.name in state.float_nodes:
        return 0
    if offsets(state.spec) and not state.scheme.fuses_functions:
        return 0  # what takes the images back to bytes would be two passes over them there
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
    """Fold the normalization into the float `model`, in place, where `quantized`, an INT8 file of it, has it so."""
    trial = files.copy(model)
    tensor = fold(trial, spec)
    if tensor != spec.input.name and any(tensor in node.output for node in quantized.graph.node):
        fold(model, spec)


def offsets(spec: ModelSpec) -> bool:
    """Whether normalization does more than to multiply all channels with one number."""
    return any(spec.preprocess.mean) or len(set(spec.preprocess.std)) > 1


def fold(model: onnx.ModelProto, spec: ModelSpec) -> str:
    """Make the first convolution of the float `model` read bytes / divide, in place; returns the tensor that it reads.

    Answers stay what they are, to float rounding. Empty where that cannot be: it pads and there is an offset, something
    else reads the images, or the graph normalizes itself. Where there is nothing to fold it is the input.
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
