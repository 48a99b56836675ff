"""One graph with a chain of independent layers, so that a runtime's profiler times all of them in one run."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from .layers import Layer

if TYPE_CHECKING:
    import onnx

INPUT, OUTPUT = "x", "y"
_OPSET = 17
_FUNCTIONS = {"relu": "Relu", "leakyrelu": "LeakyRelu", "sigmoid": "Sigmoid", "hardswish": "HardSwish"}
_HARDSIGMOID = {"alpha": 1 / 6, "beta": 0.5}


def build(layers: Sequence[Layer], seed: int = 0) -> onnx.ModelProto:
    """A float graph with input ``x`` and output ``y``, both (1, 1, 1, 1).

    Branch i spreads a number over the input map of layer i, runs the layer (nodes ``layer<i>`` and ``layer<i>/...``)
    and takes the mean, which the next branch spreads. So the layers run in this order, and their inputs are in the
    caches as in a network. Numbers stay near one, away from slow denormal numbers.
    """
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {
        "one": np.ones(1, np.int64), "scalar": np.ones(4, np.int64), "zero": np.array(0.0, np.float32),
        "low": np.array(0.5, np.float32), "high": np.array(1.0, np.float32), "six": np.array(6.0, np.float32),
    }  # fmt: skip

    def node(operator: str, given: Sequence[str], output: str, name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, list(given), [output], name, **attributes))
        return output

    last = INPUT
    for i, layer in enumerate(map(_unstrided, layers)):
        name = f"layer{i}"
        linear = layer.kind == "linear"
        shape = _input_shape(layer)
        weights = _weights(layer, random)
        constants |= {f"w{i}": weights, f"b{i}": np.zeros(layer.cout, np.float32), f"shape{i}": np.array(shape)}
        x = node("Reshape", [last, "one"], f"flat{i}", f"flat{i}") if linear else last
        x = node("Expand", [x, f"shape{i}"], f"in{i}", f"spread{i}")
        if linear:
            x = node("Gemm", [x, f"w{i}", f"b{i}"], f"made{i}", name)
        else:
            operator = "Conv" if layer.kind == "conv" else "ConvTranspose"
            x = node(
                operator, [x, f"w{i}", f"b{i}"], f"made{i}", name, kernel_shape=layer.kernel, strides=layer.stride,
                dilations=layer.dilation, pads=layer.pads, group=layer.groups,
            )  # fmt: skip
        out = f"out{i}"
        match layer.activation:
            case "none":
                out = x
            case "clip":
                node("Clip", [x, "zero", "six"], out, f"{name}/function")
            case "silu":
                gate = node("Sigmoid", [x], f"gate{i}", f"{name}/gate")
                node("Mul", [x, gate], out, f"{name}/function")
            case "hardsigmoid":
                node("HardSigmoid", [x], out, f"{name}/function", **_HARDSIGMOID)
            case function:
                node(_FUNCTIONS[function], [x], out, f"{name}/function")
        axes = [0, 1] if linear else [0, 1, 2, 3]
        mean = node("ReduceMean", [out], f"mean{i}", f"mean{i}", axes=axes, keepdims=1)
        kept = node("Clip", [mean, "low", "high"], f"kept{i}", f"keep{i}")
        last = node("Reshape", [kept, "scalar"], f"next{i}", f"next{i}") if linear else kept
    node("Identity", [last], OUTPUT, "end")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 1, 1]) for name in (INPUT, OUTPUT)]
    graph = helper.make_graph(
        nodes, "probe", values[:1], values[1:], [numpy_helper.from_array(v, n) for n, v in constants.items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)


def ranges(layers: Sequence[Layer]) -> dict[str, tuple[float, float]]:
    """A range for each tensor of the graph that `build` gives for `layers`, as calibration on images would find it."""
    found = {INPUT: (0.0, 1.0), OUTPUT: (0.0, 1.0)}
    for i, layer in enumerate(layers):
        never = layer.activation in ("relu", "clip", "sigmoid", "hardsigmoid")
        found |= {
            f"in{i}": (-1.0 if layer.signed else 0.0, 3.0), f"made{i}": (-3.0, 3.0), f"gate{i}": (0.0, 1.0),
            f"out{i}": (0.0 if never else -0.5, 3.0),
        }  # fmt: skip
        found |= {f"{name}{i}": (0.0, 1.0) for name in ("mean", "kept", "next", "flat")}
    return found


def outside(model: onnx.ModelProto) -> list[str]:
    """The nodes of a probe that stay in float: they pass a number from branch to branch.

    The mean after each layer is not one of them: in a network, too, the output of a layer is quantized for the next.
    """
    return [node.name for node in model.graph.node if not node.name.startswith(("layer", "mean"))]


def _unstrided(layer: Layer) -> Layer:
    """A pointwise layer with a stride, as one without a stride over the pixels that it reads.

    If no other layer reads its input, OpenVINO moves such a stride to the node before, as a pool. The layer then runs
    in float32. In a network another node reads the input, for the shortcut of a block. So the probe has no stride,
    for all runtimes.
    """
    if layer.kind != "conv" or layer.kernel != (1, 1) or any(layer.pads):
        return layer
    height, width = (-(-size // step) for size, step in zip((layer.height, layer.width), layer.stride))
    return msgspec.structs.replace(layer, stride=(1, 1), height=height, width=width)


def _input_shape(layer: Layer) -> list[int]:
    if layer.kind == "linear":
        return [layer.batch * layer.height, layer.cin]
    return [layer.batch, layer.cin, layer.height, layer.width]


def _weights(layer: Layer, random: np.random.Generator) -> np.ndarray:
    """Weights that sum up to one for each output."""
    if layer.kind == "linear":
        shape: tuple[int, ...] = (layer.cin, layer.cout)
    elif layer.kind == "conv":
        shape = (layer.cout, layer.cin // layer.groups, *layer.kernel)
    else:
        shape = (layer.cin, layer.cout // layer.groups, *layer.kernel)
    terms = layer.cin // layer.groups * prod(layer.kernel)
    return (random.uniform(0.5, 1.5, shape) / terms).astype(np.float32)
