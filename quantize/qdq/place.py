"""The step that places Q/DQ pairs as a scheme requires."""

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
    """Create the INT8 model with the chosen ranges."""
    assert state.ranges is not None, "no step has chosen ranges"
    state.quantized = place(state.model, state.ranges, state.scheme, state.float_nodes)
    return 1


def place(model: onnx.ModelProto, ranges: Ranges, scheme: Scheme, float_nodes: Sequence[str]) -> onnx.ModelProto:
    """A copy of `model` with the Q/DQ pairs of `scheme`. `float_nodes` stay in float."""
    engine = tensorrt if scheme.placement == "inputs" else onnxruntime
    placed = engine.place(files.copy(model), ranges.tensors, scheme, list(float_nodes))
    if scheme.centered:
        centering.compensate(placed, model)
    if scheme.fuses_functions:
        fused_activations.apply(placed, model)
    if engine is onnxruntime:
        made = shared_grids.apply(placed, model, ranges.tensors, keep=scheme.quantized_output)
        # The output of an operator that only moves values has the grid of its input: another one would round again.
        per_channel_activations.apply(placed, {n: ends for n, ends in ranges.channels.items() if n not in made})
    if scheme.activations == "u8 or s8":
        zero_points.apply(placed)
    return placed


def placing(scheme: Scheme, ranges: Ranges) -> Callable[[onnx.ModelProto, list[str]], onnx.ModelProto]:
    """`place` for this scheme and these ranges, as a function of a model and the nodes that stay in float."""
    return lambda model, float_nodes: place(model, ranges, scheme, float_nodes)
