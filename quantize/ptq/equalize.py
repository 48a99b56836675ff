"""Equalization: scale a tensor's channels to similar ranges, and compensate in the layers around it.

One scale serves all channels of an activation, so channels with small values are rounded coarsely. Dividing a channel
by a factor where it is computed, and multiplying the weights that read it, changes nothing in float. Between layers
this is cross-layer equalization (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction"), after a LayerNormalization it is SmoothQuant (Xiao et al. 2022). We use SmoothQuant's factors in both
places: weights have one scale per output channel here, so the factor costs nothing in the layer that computes the
channel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgewright.graph.index import constants_of, producers_of, readers_of
from edgewright.quantize.calibration.sessions import Feed, open_session, until
from edgewright.quantize.state import FloatState
from edgewright.quantize.steps import Equalize

if TYPE_CHECKING:
    import onnx

ALPHA = 0.8
"""How much of the difficulty moves from activations into the weights that read them. Weights have a scale per channel
and are rounded with care, activations have one scale. SmoothQuant's 0.5 is for weights with one scale."""
LARGEST = 16.0
IMAGES = 128

HOMOGENEOUS = frozenset({"Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity"})
"""Operators that pass a positive factor per channel."""

READERS = frozenset({"Conv", "Gemm", "MatMul"})


class Scalable(NamedTuple):
    """Where factors can move: the nodes that compute a tensor's channels, the tensor, and the layers that read it.

    With several makers, each computes its part of the channels, in this order.
    """

    makers: list[onnx.NodeProto]
    tensor: str
    readers: list[onnx.NodeProto]


def apply(_step: Equalize, state: FloatState) -> int:
    """Equalize the float model. Returns the number of equalized tensors."""
    found = sites(state.model)
    if found:
        scale(state.model, found, maxima(state.model, found, state.calibration.batches(IMAGES)))
        state.tick(1, 1, f"{len(found)} tensors equalized")
    return len(found)


def sites(model: onnx.ModelProto) -> list[Scalable]:
    """All places of a float graph where factors can move between layers, in graph order."""
    graph = model.graph
    outputs = {value.name for value in graph.output}
    readers = readers_of(graph)
    constants = constants_of(graph)
    own = {name: tuple(tensor.dims) for name, tensor in constants.items() if len(readers.get(name, [])) == 1}
    produced = producers_of(graph)

    def makers(tensor: str) -> list[onnx.NodeProto] | None:
        """The nodes that compute the channels of `tensor`, if all of them accept factors; else None."""
        node = produced.get(tensor)
        if node is None or tensor in outputs:
            return None
        if node.op_type in ("Conv", "Gemm", "LayerNormalization"):
            return [node] if all(name in own for name in node.input[1:]) else None
        joins = node.op_type == "Concat" and _option(node, "axis", 0) == 1
        if not (joins or node.op_type in HOMOGENEOUS) or any(len(readers[name]) > 1 for name in node.input):
            return None
        parts = [makers(name) for name in node.input]
        return None if None in parts or not parts else [maker for part in parts if part for maker in part]

    found = []
    for tensor, behind in readers.items():
        made = makers(tensor) if all(reader.op_type in READERS for reader in behind) else None
        if made and all(_takes(reader, tensor, maker, own) for reader in behind for maker in made):
            found.append(Scalable(made, tensor, behind))
    return found


def maxima(model: onnx.ModelProto, found: Iterable[Scalable], feeds: Iterable[Feed]) -> dict[str, np.ndarray]:
    """The largest magnitude of each channel of the sites' tensors, over all feeds."""
    axes = {site.tensor: 1 if site.makers[0].op_type == "Conv" else -1 for site in found}
    largest: dict[str, np.ndarray] = {}
    if not axes:
        return largest
    session = open_session(until(model, list(axes)))
    for feed in feeds:
        for name, array in zip(axes, session.run(list(axes), feed)):
            others = tuple(a for a in range(array.ndim) if a != axes[name] % array.ndim)
            largest[name] = np.maximum(largest.get(name, 0), np.abs(array).max(axis=others))
    return largest


def scale(model: onnx.ModelProto, found: Iterable[Scalable], largest: dict[str, np.ndarray]) -> None:
    """Apply the factors at the sites `found`, in place. `largest`: the largest magnitude of each channel, by tensor."""
    from onnx import numpy_helper

    stored = constants_of(model.graph)

    def value(name: str) -> np.ndarray:
        return np.asarray(numpy_helper.to_array(stored[name]))

    def multiply(name: str, factors: np.ndarray, axis: int) -> None:
        array = value(name)
        along = [1] * array.ndim
        along[axis] = -1
        stored[name].CopyFrom(numpy_helper.from_array((array * factors.reshape(along)).astype(array.dtype), name))

    for makers, tensor, readers in found:
        weights = np.max([_reading(node, value(node.input[1])) for node in readers], axis=0)
        wide = largest[tensor]
        alive = (wide > 0) & (weights > 0)
        factors = np.ones(len(wide), np.float64)
        factors[alive] = wide[alive] ** ALPHA / weights[alive] ** (1 - ALPHA)
        factors[alive] /= np.exp(np.log(factors[alive]).mean()) if alive.any() else 1
        factors = np.clip(factors, 1 / LARGEST, LARGEST)
        begin = 0
        for maker in makers:
            axis = _made_axis(maker)
            end = begin + value(maker.input[1]).shape[axis]
            multiply(maker.input[1], 1 / factors[begin:end], axis)
            for name in maker.input[2:3]:
                multiply(name, 1 / factors[begin:end], 0)
            begin = end
        for node in readers:
            multiply(node.input[1], factors, _read_axis(node))


def _takes(reader: onnx.NodeProto, tensor: str, maker: onnx.NodeProto, own: dict[str, tuple[int, ...]]) -> bool:
    """Whether constant weights of `reader` alone can absorb factors for the channels that it reads."""
    if reader.input[0] != tensor or len(reader.input) < 2 or reader.input[1] not in own:
        return False
    if reader.op_type == "Conv":
        groups = _option(reader, "group", 1)
        return maker.op_type == "Conv" and (groups == 1 or own[reader.input[1]][:2] == (groups, 1))
    rows = reader.op_type == "MatMul" or (reader.op_type == "Gemm" and not _option(reader, "transA", 0))
    return rows and maker.op_type in ("Gemm", "LayerNormalization")


def _reading(node: onnx.NodeProto, weights: np.ndarray) -> np.ndarray:
    """The largest weight with which `node` reads each channel."""
    axis = _read_axis(node)
    return np.asarray(np.abs(weights).max(axis=tuple(a for a in range(weights.ndim) if a != axis)))


def _read_axis(node: onnx.NodeProto) -> int:
    if node.op_type == "Conv":
        return 0 if _option(node, "group", 1) > 1 else 1
    return 1 if node.op_type == "Gemm" and _option(node, "transB", 0) else 0


def _made_axis(node: onnx.NodeProto) -> int:
    return 1 if node.op_type == "Gemm" and not _option(node, "transB", 0) else 0


def _option(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), default)
