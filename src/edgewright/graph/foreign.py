"""A file as others wrote it (optimized, quantized, in half precision), made one that all runtimes and quantizers read.

What stays in INT8 is a file with Q/DQ pairs; all else is float32 in standard operators.
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
"""Operators of ONNX Runtime on blocked or channels-last tensors: they suit the machine that wrote the file."""

_UPCAST = "The model was {}, at least in part: it is FP32 now."
STANDARD = frozenset({"", "ai.onnx"})


def plain(model: onnx.ModelProto, name: str) -> tuple[str, ...]:
    """Make `model` plain, in place; notes in words on what was done. `name` stands in messages.

    To be called on a cleaned model (`clean.apply`), before its operator set is raised. Raises `InvalidInput` that names
    the operators for what cannot be made plain, or the type where activations are quantized to other than 8 bits.
    """
    notes = []
    if apart := fused.apply(model):
        notes.append(f"Took {_words(apart)} apart.")
    if paired := qoperator.apply(model):
        notes.append(f"Wrote {_words(paired)} as Q/DQ pairs.")
    if floats := dynamic.apply(model):
        text = "The weights stay on their grids, activations are no longer rounded."
        notes.append(f"Dynamically quantized, now a float model: {_words(floats)}. {text}")
    if stored := weights.apply(model):
        notes.append(f"Only the weights were quantized ({_words(stored)}): they are stored as FP32.")
    ours = any(entry.key == half.OURS for entry in model.metadata_props)
    if not ours and (had := upcast.apply(model)):
        notes.append(_UPCAST.format(had))
    rewrite.forget_domains(model)
    _require_eight_bits(model, name)
    _require_known(model, name)
    if precision.operators(model):
        notes.append(f"INT8 already: {precision.quantized(model)}.")
    return tuple(notes)


def keeps_answers(model: onnx.ModelProto) -> bool:
    """Whether `model` answers the same, but for the rounding of its own type, after `plain`.

    Not where ranges are measured anew for each image, where an INT8 answer may fall to the next step, and where it
    computes in bfloat16 or float64, for which ONNX Runtime has no convolutions: there the plain model is what later
    changes are compared with.
    """
    import onnx

    if set(precision.operators(model)) - weights.PAIR:
        return False
    kinds = (onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)
    values = (value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output))
    stored = (t.data_type for t in tensors(model) if len(t.dims) and max(t.dims, default=0) > 1)
    return not any(kind in kinds for kind in (*values, *stored))


def mend(model: onnx.ModelProto, name: str) -> tuple[str, ...]:
    """Mend what onnx.checker refuses though well-known writers write it, in place; to be called before it looks.

    Returns notes on what changes the answers.

    ONNX Runtime writes LayerNormalization into operator sets before 17, torch.onnx.export bfloat16 into those before
    22, where convolutions do not take it. Raises what `require_portable` raises.
    """
    import onnx

    require_portable(model, name)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    fused.layer_norms(model)
    if opset < 22 and any(t.data_type == onnx.TensorProto.BFLOAT16 for t in model.graph.initializer):
        return (_UPCAST.format(upcast.apply(model)),)
    return ()


def require_portable(model: onnx.ModelProto, name: str) -> None:
    """Raise `InvalidInput` for a file whose layout ONNX Runtime chose for one machine."""
    found = Counter(node.op_type for node in nodes(model.graph) if _is_laid_out(node))
    if found:
        raise InvalidInput(
            f"{name} was optimized for one machine by ONNX Runtime: {_words(found)} in its own layout.",
            "At the level ORT_ENABLE_ALL it lays tensors out for one processor, and only it can read them.",
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
            "The runtimes here compute in INT8; OpenVINO gives wrong answers for other types.",
            "Quantize the model to 8 bits, or give the float model.",
        )


def _require_known(model: onnx.ModelProto, name: str) -> None:
    every = list(nodes(model.graph))
    pairs = weights.PAIR
    odd = Counter(n.op_type for n in every if precision.is_quantization(n.op_type) and n.op_type not in pairs)
    if odd:
        raise InvalidInput(
            f"{name} is quantized by operators that cannot be rewritten: {_words(odd)}.",
            "Only ONNX Runtime has them, or they hold what is not known before the model runs.",
            "Give the float model, or quantize it to Q/DQ pairs (QuantFormat.QDQ).",
        )
    if own := Counter(f"{n.domain}.{n.op_type}" for n in every if n.domain not in STANDARD):
        raise InvalidInput(
            f"{name} has operators of one runtime alone: {_words(own)}.",
            "No other runtime reads them, and no quantizer knows their layers.",
            "Save the file at the level ORT_ENABLE_BASIC, or export the original model.",
        )


def _words(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {operator}" for operator, count in found.items())
