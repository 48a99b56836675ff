"""The common base of passes that replace single operators by several, also in nested graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import names
from .files import attributes, nodes, refill
from .index import constants_of
from .order import nested

if TYPE_CHECKING:
    import onnx

Key = tuple[str, str]
"""Domain and type of an operator."""

Expand = Callable[["onnx.NodeProto", "NodeBuilder"], bool]
"""Adds nodes to the builder that compute the outputs of the node. Returns False if it cannot: the node then stays."""

LARGE = 4096
"""Constants with at least this many elements are weights: shape inference does not need their values."""


class NodeBuilder:
    """Collects the nodes that replace one node; finds unused names, and knows constants and ranks."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
        self.constants = constants_of(model.graph)
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                self.constants[node.output[0]] = node.attribute[0].t
        self.nodes: list[onnx.NodeProto] = []
        self.memory: dict[Any, str] = {}
        self._names = names.Names(model.graph)
        self._ranks: dict[str, int] = {}

    def free(self, wanted: str) -> str:
        """`wanted`, with a number appended if the model has that name; the result counts as used from now on."""
        return self._names.free(wanted)

    def add(self, operator: str, inputs: list[str], wanted: str, output: str | None = None, **attributes: Any) -> str:
        """Add a standard node with one output. Returns its name: `output`, or an unused name like `wanted`."""
        import onnx

        result = output or self.free(f"{wanted}_{operator.lower()}")
        name = self.free(f"{wanted}_{operator.lower()}_node")
        self.nodes.append(onnx.helper.make_node(operator, inputs, [result], name, **attributes))
        return result

    def constant(self, value: np.ndarray | np.generic, wanted: str) -> str:
        """Add a constant to the main graph. Returns its name."""
        from onnx import numpy_helper

        result = self.free(wanted)
        self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), result))
        self.constants[result] = self.model.graph.initializer[-1]
        return result

    def value(self, name: str) -> np.ndarray | None:
        """The value of the constant `name`; None for a computed tensor."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None

    def rank(self, name: str) -> int | None:
        """The number of dimensions of the tensor `name` in the rewritten part of the main graph; None if unknown."""
        if name in self.constants:
            return len(self.constants[name].dims)
        if name not in self._ranks:
            self._ranks = ranks(self.model, self.nodes)
        return self._ranks.get(name)


def apply(model: onnx.ModelProto, table: Mapping[Key, Expand]) -> dict[str, int]:
    """Replace the operators of `table` in `model`, in place. Returns the number of replaced ones by type."""
    found: Counter[str] = Counter()
    if not any((node.domain, node.op_type) in table for node in nodes(model.graph)):
        return {}
    _rewrite(model.graph, NodeBuilder(model), table, found)
    return dict(found)


def ranks(model: onnx.ModelProto, result: list[onnx.NodeProto]) -> dict[str, int]:
    """The numbers of dimensions of the outputs of `result` in the main graph of `model`, without reading weights."""
    import onnx

    graph, light = model.graph, onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(o for o in model.opset_import if o.domain in ("", "ai.onnx"))
    light.graph.input.extend(graph.input)
    for tensor in graph.initializer:
        if int(np.prod(tensor.dims)) < LARGE:
            light.graph.initializer.append(tensor)
        else:
            light.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    light.graph.node.extend(result)
    inferred = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    values = (*inferred.value_info, *inferred.input)
    return {v.name: len(v.type.tensor_type.shape.dim) for v in values if v.type.tensor_type.HasField("shape")}


def forget_domains(model: onnx.ModelProto) -> None:
    """Remove operator sets without any operator in the model: onnx.version_converter refuses them."""
    used = {"", "ai.onnx", *(node.domain for node in nodes(model.graph)), *(f.domain for f in model.functions)}
    refill(model.opset_import, [o for o in model.opset_import if o.domain in used])


def plain_attributes(node: onnx.NodeProto, *but: str) -> dict[str, Any]:
    """The attributes of `node` except those in `but`."""
    return {name: value for name, value in attributes(node).items() if name not in but}


def _rewrite(graph: Any, builder: NodeBuilder, table: Mapping[Key, Expand], found: Counter[str]) -> None:
    outer, builder.nodes = builder.nodes, []
    memory, builder.memory = builder.memory, {}
    for node in graph.node:
        for inner in nested(node):
            _rewrite(inner, builder, table, found)
        expand = table.get((node.domain, node.op_type))
        start = len(builder.nodes)
        if expand is not None and expand(node, builder):
            found[node.op_type] += 1
        else:
            del builder.nodes[start:]
            builder.nodes.append(node)
    result = builder.nodes
    builder.nodes, builder.memory = outer, memory
    refill(graph.node, result)
