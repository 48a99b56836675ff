"""The step that fails where too few layers came out in INT8."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgewright.core.errors import RuntimeFailed
from edgewright.graph import census, precision
from edgewright.quantize.schemes import Scheme
from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import RequireInt8

from . import tensorrt

if TYPE_CHECKING:
    import onnx


def apply(_step: RequireInt8, state: Int8State) -> int:
    """Raise `RuntimeFailed` where too few layers of the INT8 model are in INT8."""
    require(state.quantized, state.model, state.scheme, state.float_nodes)
    return 0


def require(quantized: onnx.ModelProto, model: onnx.ModelProto, scheme: Scheme, kept: Sequence[str]) -> int:
    """How many layers are in INT8; raises `RuntimeFailed` where these are too few of those that could be.

    Too few: below `precision.LEAST`. Could be: layers of the float `model` with constant weights, but for those in
    `kept`, those that the scheme leaves in float by its own rule, and recurrent ones, of which no engine here makes
    INT8.
    """
    constants = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    could = [
        node
        for node in model.graph.node
        if node.op_type in census.PRODUCTS and node.input[1] in constants and node.name not in kept
    ]
    if scheme.placement == "inputs":
        narrow = tensorrt.FEWEST_CHANNELS
        could = [n for n in could if n.op_type != "Conv" or min(tensorrt.channels(n, constants[n.input[1]])) >= narrow]
    asked = precision.quantized(quantized).int8
    if not precision.Quantized(asked, len(could)).few or (could == [] and kept):
        return asked
    types = Counter(node.op_type for node in could)
    left = ", ".join(f"{count} {operator}" for operator, count in types.items()) or "no layers that could be"
    rule = (
        f" Convolutions below {tensorrt.FEWEST_CHANNELS} channels stay in float."
        if scheme.placement == "inputs"
        else ""
    )
    raise RuntimeFailed(
        f"Only {asked} of {len(could)} layers came out in INT8 with the scheme '{scheme.name}'.",
        f"The model has {left}; its weights or operators are not of the kind that is quantized.{rule}",
        "Use the float model, or another scheme or method.",
    )
