"""The step that fails if too few layers run in INT8."""

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
    """Raise `RuntimeFailed` if too few layers of the INT8 model are in INT8."""
    require(state.quantized, state.model, state.scheme, state.float_nodes)
    return 0


def require(quantized: onnx.ModelProto, model: onnx.ModelProto, scheme: Scheme, kept: Sequence[str]) -> int:
    """The number of layers in INT8. Raises `RuntimeFailed` if that is too small a share of the possible layers.

    Too small: below `precision.LEAST`. Possible: layers of the float `model` with constant weights, without those in
    `kept`, those that the scheme leaves in float by its own rule, and recurrent ones, which none of our quantizers
    supports.
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
    left = ", ".join(f"{count} {operator}" for operator, count in types.items()) or "no layers that can run in INT8"
    rule = (
        f" Convolutions below {tensorrt.FEWEST_CHANNELS} channels stay in float."
        if scheme.placement == "inputs"
        else ""
    )
    raise RuntimeFailed(
        f"Only {asked} of {len(could)} layers are in INT8 with the scheme '{scheme.name}'.",
        f"The model has {left}; its weights or operators are not supported by the quantizer.{rule}",
        "Use the float model, or try another scheme or method.",
    )
