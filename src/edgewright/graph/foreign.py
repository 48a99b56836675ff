"""Convert a foreign file (optimized, quantized, in half precision) to a form that all runtimes and quantizers read.

INT8 parts become Q/DQ pairs; everything else becomes float32 in standard operators.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from edgewright.core.errors import InvalidInput

from . import census, dynamic, fused, half, precision, qoperator, rewrite, upcast, weights
from .files import attributes, nodes, tensors

if TYPE_CHECKING:
    import onnx

LAYOUTS = frozenset({"com.microsoft.nchwc", "com.ms.internal.nhwc"})
"""Operators of ONNX Runtime on blocked or channels-last tensors, which suit only the machine that wrote the file."""

_UPCAST = "The model was {}, at least in part: it is FP32 now."
STANDARD = frozenset({"", "ai.onnx"})


def plain(model: onnx.ModelProto, name: str) -> tuple[str, ...]:
    """Convert `model` in place. Returns notes on the changes. `name`: the file, for messages.

    Call it on a cleaned model (`clean.apply`), before its operator set is converted. Raises `InvalidInput`, which names
    operators that cannot be converted, or the type of activations that are not quantized to 8 bits.
    """
    notes = []
    if apart := fused.apply(model):
        notes.append(f"Split fused operators into standard ones: {_words(apart)}.")
    if paired := qoperator.apply(model):
        notes.append(f"Rewrote quantized operators as Q/DQ pairs: {_words(paired)}.")
    if floats := dynamic.apply(model):
        text = "The weights keep their quantized values; activations are no longer rounded."
        notes.append(f"Converted dynamically quantized operators to float: {_words(floats)}. {text}")
    if stored := weights.apply(model):
        notes.append(f"Only the weights were quantized ({_words(stored)}): they are stored as FP32 now.")
    ours = any(entry.key == half.OURS for entry in model.metadata_props)
    if not ours and (had := upcast.apply(model)):
        notes.append(_UPCAST.format(had))
    rewrite.forget_domains(model)
    _require_eight_bits(model, name)
    _require_known(model, name)
    if precision.operators(model):
        notes.append(f"Already in INT8: {precision.quantized(model)}.")
    return tuple(notes)


def keeps_answers(model: onnx.ModelProto) -> bool:
    """Whether `plain` keeps the outputs of `model`, up to the rounding of its own type.

    It does not if ranges are measured for each image, since an INT8 value may then round to the next step. Nor does it
    for bfloat16 and float64, for which ONNX Runtime has no convolutions. In these cases later changes are compared with
    the converted model.
    """
    import onnx

    if set(precision.operators(model)) - weights.PAIR:
        return False
    kinds = (onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)
    values = (value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output))
    stored = (t.data_type for t in tensors(model) if len(t.dims) and max(t.dims, default=0) > 1)
    return not any(kind in kinds for kind in (*values, *stored))


def mend(model: onnx.ModelProto, name: str) -> tuple[str, ...]:
    """Repair what onnx.checker refuses although well-known tools write it, in place; call it before the check.

    Returns notes on changes of the outputs.

    ONNX Runtime writes LayerNormalization into operator sets before 17. torch.onnx.export writes bfloat16 into those
    before 22, where convolutions do not take it. Raises as `require_portable` does.
    """
    import onnx

    require_portable(model, name)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    fused.layer_norms(model)
    if opset < 22 and any(t.data_type == onnx.TensorProto.BFLOAT16 for t in model.graph.initializer):
        return (_UPCAST.format(upcast.apply(model)),)
    return ()


def require_portable(model: onnx.ModelProto, name: str) -> None:
    """Raise `InvalidInput` for a file whose memory layout ONNX Runtime chose for one machine."""
    found = Counter(node.op_type for node in nodes(model.graph) if _is_laid_out(node))
    if found:
        raise InvalidInput(
            f"{name} was optimized for one machine by ONNX Runtime: {_words(found)} in its own layout.",
            "The level ORT_ENABLE_ALL uses a tensor layout for one processor, which no other runtime can read.",
            "Save it at the level ORT_ENABLE_BASIC, or export the original model.",
        )


def _is_laid_out(node: onnx.NodeProto) -> bool:
    if node.domain == "com.microsoft":
        last = node.op_type == "QLinearConv" and bool(attributes(node).get("channels_last"))
        return last or node.op_type.startswith("Nhwc")
    return node.domain in LAYOUTS


def _require_eight_bits(model: onnx.ModelProto, name: str) -> None:
    found = [(node.op_type, kind) for node, kind in census.grids(model)]
    odd = Counter((operator, kind) for operator, kind in found if not census.is_eight_bits(kind, operator))
    if odd:
        operator, kind = max(odd, key=lambda one: (one[0] == "QuantizeLinear", odd[one]))
        raise InvalidInput(
            f"{name} is quantized to {kind} by {odd[operator, kind]} {operator}.",
            "Supported runtimes compute in INT8; OpenVINO gives wrong results for other types.",
            "Quantize the model to 8 bits, or give the float model.",
        )


def _require_known(model: onnx.ModelProto, name: str) -> None:
    every = list(nodes(model.graph))
    pairs = weights.PAIR
    odd = Counter(n.op_type for n in every if precision.is_quantization(n.op_type) and n.op_type not in pairs)
    if odd:
        raise InvalidInput(
            f"{name} is quantized by operators that cannot be rewritten: {_words(odd)}.",
            "Only ONNX Runtime has them, or their parameters are unknown before the model runs.",
            "Give the float model, or quantize it to Q/DQ pairs (QuantFormat.QDQ).",
        )
    if own := Counter(f"{n.domain}.{n.op_type}" for n in every if n.domain not in STANDARD):
        raise InvalidInput(
            f"{name} has operators that only one runtime knows: {_words(own)}.",
            "No other runtime reads them, and quantizers do not recognize their layers.",
            "Save the file at the level ORT_ENABLE_BASIC, or export the original model.",
        )


def _words(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {operator}" for operator, count in found.items())
