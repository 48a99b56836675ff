"""Put the choice of the class into the graph: the output is one map of classes, with few bytes.

The maps are first scaled to the network's input, if they are smaller. So regions have smooth outlines when the classes
are scaled to the photo. A pixel between two classes may still get the other one: measurements show how many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.graph.metadata import get_spec, set_spec
from edgewright.graph.names import free

from . import spec as own

if TYPE_CHECKING:
    import onnx

OUTPUT = "classes"


def applies(spec: ModelSpec) -> bool:
    """Whether the class can be chosen in the graph: the model has several maps, and a runtime takes whole numbers."""
    section = own.of(spec)
    return section.scores != "classes" and spec.classes > own.BINARY


def apply(model: onnx.ModelProto) -> None:
    """Add a resize to the input's size, an ArgMax and a cast to `model`, and change its spec; both in place.

    Raises `InvalidInput` if the size of the maps is unknown.
    """
    import onnx
    from onnx import TensorProto, helper

    spec = get_spec(model)
    assert spec is not None
    section, image, graph = own.of(spec), spec.input, model.graph
    maps = next(value for value in graph.output if value.name == spec.outputs[0])
    shape = [dim.dim_value for dim in maps.type.tensor_type.shape.dim]
    axis, sides = (3, shape[1:3]) if section.layout == "NHWC" else (1, shape[2:])
    if len(shape) != 4 or not all(sides):
        raise InvalidInput(
            f"The maps '{maps.name}' have the shape {shape}.",
            "A resize in the graph needs their height and width.",
            "Export the model with a fixed size.",
        )
    nodes, last = list[onnx.NodeProto](), maps.name
    if sides != [image.height, image.width] and section.resize != "nearest":
        if axis == 3:
            nodes.append(helper.make_node("Transpose", [last], [free(graph, "maps_first")], perm=[0, 3, 1, 2]))
            last, axis = nodes[-1].output[0], 1
        scales = helper.make_tensor(
            free(graph, "maps_scales"), TensorProto.FLOAT, [4], [1, 1, image.height / sides[0], image.width / sides[1]]
        )
        graph.initializer.append(scales)
        how = "align_corners" if section.resize == "corners" else "half_pixel"
        nodes.append(
            helper.make_node(
                "Resize",
                [last, "", scales.name],
                [free(graph, "maps_scaled")],
                mode="linear",
                coordinate_transformation_mode=how,
            )
        )
        last, sides = nodes[-1].output[0], [image.height, image.width]
    whole = free(graph, "classes_int64")
    output = free(graph, OUTPUT)
    kind = TensorProto.UINT8 if spec.classes <= 256 else TensorProto.INT32
    nodes += [
        helper.make_node("ArgMax", [last], [whole], axis=axis, keepdims=0),
        helper.make_node("Cast", [whole], [output], to=kind),
    ]
    for number, node in enumerate(nodes):
        node.name = free(graph, f"answer_{number}")
        graph.node.append(node)
    first = maps.type.tensor_type.shape.dim[0]
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(output, kind, [first.dim_param or first.dim_value, *sides]))
    task = msgspec.structs.replace(section, scores="classes", layout="NCHW")
    set_spec(model, msgspec.structs.replace(spec, outputs=(output,), task=task))
