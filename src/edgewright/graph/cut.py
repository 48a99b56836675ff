"""Remove the decoding of boxes from a detector, so that it ends at the raw head; the device decodes.

In the graph, boxes and scores are computed for every cell; on the device only for the few cells above the threshold.
Without decoding, no arithmetic on pixel coordinates is left that a runtime could run in a low precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from . import clean, inputs
from .index import constants_of, producers_of

if TYPE_CHECKING:
    import onnx

HEAD = "head"
"""The name of the remaining output."""


_SAME = ("Identity", "Cast")
"""Operators that keep the numbers: an FP16 graph casts its output."""


class Cut(NamedTuple):
    """The result of `apply`: the layout `decoder` of `core.spec.Detect`, and for "dfl" the number of `bins` per
    side."""

    decoder: Literal["dfl", "set"]
    bins: int = 1


def apply(model: onnx.ModelProto) -> Cut | None:
    """Remove the decoding of `model`, a detector with one output as Ultralytics exports it, in place.

    `model` then has the output `HEAD`. Boxes and class scores (N, 4 + classes, cells) become the logits from which they
    are computed, (N, 4 x bins + classes, cells): the layout "dfl". The best of a set of queries (RT-DETR), (N, boxes,
    6) with center, size, score and class, become all queries, (N, queries, 4 + classes): the layout "set". Returns
    None, without a change, for any other graph.

    A model with more outputs has further values of each cell after the class scores, such as coefficients of masks.
    They become the second output, and the other outputs follow.
    """
    makers = producers_of(model.graph)
    last = _behind(model.graph.output[0].name, makers, _SAME)
    if last is None or last.op_type != "Concat":
        return None
    parts = list(last.input)
    if len(model.graph.output) > 1:  # further values of each cell follow the class scores
        further = parts.pop()
        first = _behind(parts[0], makers, _SAME) if len(parts) == 1 else None
        parts = list(first.input) if first is not None and first.op_type == "Concat" else parts
        return _before_decoding(model, parts, makers, further) if len(parts) == 2 else None
    return _before_decoding(model, parts, makers) if len(parts) == 2 else _before_selection(model, last, makers)


def _before_decoding(
    model: onnx.ModelProto, parts: list[str], makers: dict[str, onnx.NodeProto], further: str = ""
) -> Cut | None:
    """Cut before the Sigmoid over class logits, and after the concatenation of distances over the strides.

    `parts`: the tensors of boxes and class scores. `further`: that of further values of each cell.
    """
    sigmoid = _behind(parts[1], makers, _SAME)
    if sigmoid is None or sigmoid.op_type != "Sigmoid":
        return None
    distances = _joined(parts[0], sigmoid.input[0], makers)
    if distances is None:
        return None
    (kind, raw), (_, logits) = (
        (kind, shape or [None, _channels(model, name, makers), None])
        for name, (kind, shape) in zip((distances, sigmoid.input[0]), _known(model, distances, sigmoid.input[0]))
    )
    if len(raw) != 3 or len(logits) != 3 or not raw[1] or not logits[1] or raw[1] % 4 or raw[2] != logits[2]:
        return None
    _end(
        model,
        [distances, sigmoid.input[0]],
        1,
        kind or model.graph.output[0].type.tensor_type.elem_type,
        [raw[0], raw[1] + logits[1], raw[2]],
        further,
    )
    return Cut("dfl", raw[1] // 4)


def _before_selection(model: onnx.ModelProto, last: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> Cut | None:
    """Cut before the TopK over flattened scores, which selects the best pairs of query and class."""
    gather = _behind(last.input[0], makers, _SAME)
    best = _behind(last.input[1], makers, ("Unsqueeze", "Reshape", *_SAME))
    if len(last.input) != 3 or gather is None or gather.op_type != "GatherElements":
        return None
    if best is None or best.op_type != "TopK":
        return None
    flat = _behind(best.input[0], makers, _SAME)
    if flat is None or flat.op_type not in ("Flatten", "Reshape"):
        return None
    (kind, boxes), (_, scores) = _known(model, gather.input[0], flat.input[0])
    if len(boxes) != 3 or len(scores) != 3 or boxes[2] != 4 or not scores[2] or boxes[1] != scores[1]:
        return None
    _end(model, [gather.input[0], flat.input[0]], 2, kind, [boxes[0], boxes[1], 4 + scores[2]])
    return Cut("set")


def _known(model: onnx.ModelProto, *names: str) -> list[tuple[int, list[int | None]]]:
    """The inferred element types and shapes of the tensors `names`; 0 and an empty shape if unknown."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    known = {v.name: (v.type.tensor_type.elem_type, inputs.shape(v)) for v in inferred.graph.value_info}
    return [known.get(name, (0, [])) for name in names]


def _end(
    model: onnx.ModelProto, parts: list[str], axis: int, kind: int, shape: list[int | None], further: str = ""
) -> None:
    """Make `HEAD` the first output of `model`: `parts` of type `kind` concatenated along `axis`; remove the rest.

    `further`: the second output. The outputs after the first one stay.
    """
    import onnx

    others = list(model.graph.output)[1:]
    behind = _known(model, further)[0][1] if further else []

    model.graph.node.append(onnx.helper.make_node("Concat", parts, [HEAD], HEAD, axis=axis))
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(HEAD, kind, shape))
    if further:
        size = behind or [shape[0], None, shape[2]]
        model.graph.output.append(onnx.helper.make_tensor_value_info(further, kind, size))
    model.graph.output.extend(others)
    clean.apply(model)


def _behind(name: str, makers: dict[str, onnx.NodeProto], passed: tuple[str, ...]) -> onnx.NodeProto | None:
    """The node that computes the tensor `name`, before any of the operators `passed`."""
    node = makers.get(name)
    while node is not None and node.op_type in passed:
        node = makers.get(node.input[0])
    return node


def _joined(name: str, logits: str, makers: dict[str, onnx.NodeProto]) -> str | None:
    """The nearest tensor before `name` that concatenates the outputs of convolutions over the strides.

    Exports of Ultralytics before 8.4 first concatenate distances and class scores. Then the nearest one is the Split
    that also gives the class `logits`.
    """
    front, seen = [name], {name}
    while front:
        current = front.pop(0)
        node = makers.get(current)
        if node is None:
            continue
        if node.op_type == "Concat" and all(_convolution(part, makers) for part in node.input):
            return current
        if node.op_type == "Split" and node is makers.get(logits):
            return current
        new = [part for part in node.input if part and part not in seen]
        seen.update(new)
        front += new
    return None


def _channels(model: onnx.ModelProto, name: str, makers: dict[str, onnx.NodeProto]) -> int | None:
    """The number of channels of the convolutions that `name` concatenates; None if their weights do not show it."""
    joined = makers.get(name)
    conv = _convolution(joined.input[0], makers) if joined is not None and joined.op_type == "Concat" else None
    weights = constants_of(model.graph)
    return int(weights[conv.input[1]].dims[0]) if conv is not None and conv.input[1] in weights else None


def _convolution(name: str, makers: dict[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """The convolution whose output is the tensor `name`, perhaps reshaped; None if there is none."""
    node = _behind(name, makers, ("Reshape", "Flatten", *_SAME))
    return node if node is not None and node.op_type == "Conv" else None
