"""The step that puts Q/DQ pairs where a scheme wants them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgewright.graph import files
from edgewright.quantize.calibration.statistics import Ranges
from edgewright.quantize.ptq import centering
from edgewright.quantize.schemes import Scheme
from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import PlaceQdq

from . import fused_activations, onnxruntime, per_channel_activations, shared_grids, tensorrt, zero_points

if TYPE_CHECKING:
    import onnx


def apply(_step: PlaceQdq, state: Int8State) -> int:
    """Make the INT8 model, for the ranges that were chosen."""
    assert state.ranges is not None, "no step has chosen ranges"
    state.quantized = place(state.model, state.ranges, state.scheme, state.float_nodes)
    return 1


def place(model: onnx.ModelProto, ranges: Ranges, scheme: Scheme, float_nodes: Sequence[str]) -> onnx.ModelProto:
    """A copy of `model` with the Q/DQ pairs of `scheme`; `float_nodes` stay in float."""
    engine = tensorrt if scheme.placement == "inputs" else onnxruntime
    placed = engine.place(files.copy(model), ranges.tensors, scheme, list(float_nodes))
    if scheme.centered:
        centering.compensate(placed, model)
    if scheme.fuses_functions:
        fused_activations.apply(placed, model)
    if engine is onnxruntime:
        made = shared_grids.apply(placed, model, ranges.tensors, keep=scheme.quantized_output)
        # What a mover makes is on the grid of what it reads: a finer one would only round it again.
        per_channel_activations.apply(placed, {n: ends for n, ends in ranges.channels.items() if n not in made})
    if scheme.activations == "u8 or s8":
        zero_points.apply(placed)
    return placed


def placing(scheme: Scheme, ranges: Ranges) -> Callable[[onnx.ModelProto, list[str]], onnx.ModelProto]:
    """`place` for this scheme and these ranges: of a model and the nodes that stay in float."""
    return lambda model, float_nodes: place(model, ranges, scheme, float_nodes)
