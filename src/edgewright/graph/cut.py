"""Cut the decoding of boxes off a detector, so that it ends at the raw head and the device decodes what survives.

In the graph, distances are decoded and scores computed for every cell; outside it only for the few that pass the
threshold. And no arithmetic on pixel coordinates is left that a runtime could put into a low precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import clean, inputs

if TYPE_CHECKING:
    import onnx

HEAD = "head"
"""The name of the output that is left."""


def apply(model: onnx.ModelProto) -> int | None:
    """Cut `model`, whose one output is boxes and class scores (N, 4 + classes, cells), in place.

    It then gives the logits that these are computed from, (N, 4 x bins + classes, cells): the layout "dfl" of
    `core.spec.Detect`. Returns the bins; None, and the model untouched, where the output is not made of a Sigmoid over
    class logits and of distances that are joined over the strides before they are decoded, as Ultralytics exports it.
    """
    import onnx

    makers = {name: node for node in model.graph.node for name in node.output}
    last = makers.get(model.graph.output[0].name) if len(model.graph.output) == 1 else None
    if last is None or last.op_type != "Concat" or len(last.input) != 2:
        return None
    sigmoid = makers.get(last.input[1])
    distances = _joined(last.input[0], makers)
    if sigmoid is None or sigmoid.op_type != "Sigmoid" or distances is None:
        return None
    inferred = onnx.shape_inference.infer_shapes(model)
    shapes = {value.name: inputs.shape(value) for value in inferred.graph.value_info}
    raw, logits = shapes.get(distances, []), shapes.get(sigmoid.input[0], [])
    if len(raw) != 3 or len(logits) != 3 or not raw[1] or not logits[1] or raw[1] % 4 or raw[2] != logits[2]:
        return None
    model.graph.node.append(onnx.helper.make_node("Concat", [distances, sigmoid.input[0]], [HEAD], HEAD, axis=1))
    kind = model.graph.output[0].type.tensor_type.elem_type
    del model.graph.output[:]
    shape = [raw[0], raw[1] + logits[1], raw[2]]
    model.graph.output.append(onnx.helper.make_tensor_value_info(HEAD, kind, shape))
    clean.apply(model)
    return raw[1] // 4


def _joined(name: str, makers: dict[str, onnx.NodeProto]) -> str | None:
    """The tensor that joins the outputs of convolutions over the strides, nearest before the tensor `name`."""
    front, seen = [name], {name}
    while front:
        current = front.pop(0)
        node = makers.get(current)
        if node is None:
            continue
        if node.op_type == "Concat" and all(_is_convolution(part, makers) for part in node.input):
            return current
        new = [part for part in node.input if part and part not in seen]
        seen.update(new)
        front += new
    return None


def _is_convolution(name: str, makers: dict[str, onnx.NodeProto]) -> bool:
    node = makers.get(name)
    while node is not None and node.op_type in ("Reshape", "Flatten", "Identity"):
        node = makers.get(node.input[0])
    return node is not None and node.op_type == "Conv"
