"""Bring layers into the form that quantizers support: constant stored weights, and a bias with one value per output.

ONNX Runtime's quantizer fails on a Gemm whose C is a scalar, [1] or [1, N] (onnxslim creates the last from MatMul and
Add), and ignores alpha when it scales the bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.graph import clean, files
from edgewright.graph.census import PRODUCTS
from edgewright.graph.index import constants_of
from edgewright.graph.names import Names
from edgewright.quantize.calibration.sessions import open_session, until

if TYPE_CHECKING:
    import onnx


def apply(model: onnx.ModelProto) -> bool:
    """Bring the layers of `model` into that form, in place; return whether any changed. Outputs stay the same."""
    stored = _store(model)
    gemms = _Gemms(model)
    changed = [gemms.plain(node) for node in list(model.graph.node) if node.op_type == "Gemm"]
    if stored or any(changed):
        clean.apply(model)
    return stored or any(changed)


def add_types(model: onnx.ModelProto) -> bool:
    """Add the types and shapes that ONNX Runtime infers and onnx does not to `model`, in place; return whether there
    are any.

    onnx 1.23 infers nothing for some function operators (GroupNormalization), nor for what follows them.
    """
    import onnx

    graph = model.graph
    given = {value.name: value for value in graph.value_info if _has_type(value)}
    files.refill(graph.value_info, given.values())  # onnxslim lists values twice, and without a type
    inferred = onnx.shape_inference.infer_shapes(model).graph
    known = {v.name for v in (*inferred.value_info, *inferred.output) if _has_type(v)}
    unknown = [name for node in graph.node for name in node.output if name and name not in known]
    if not unknown:
        return False
    for value in open_session(until(model, unknown)).get_outputs():
        if value.type in _KINDS:
            noted = onnx.helper.make_tensor_value_info(value.name, _KINDS[value.type], value.shape)
            graph.value_info.append(noted)
    return True


_KINDS = {"tensor(float)": 1, "tensor(int64)": 7, "tensor(int32)": 6, "tensor(bool)": 9, "tensor(uint8)": 2,
          "tensor(double)": 11, "tensor(float16)": 10}  # fmt: skip
"""ONNX Runtime's names of types, and ONNX's numbers."""


def _has_type(value: onnx.ValueInfoProto) -> bool:
    """Whether the type is known; for a tensor, the type of its elements."""
    kind = value.type.WhichOneof("value")
    return bool(kind and (kind != "tensor_type" or value.type.tensor_type.elem_type))


def _store(model: onnx.ModelProto) -> bool:
    """Store weights and biases that nodes compute from constants only (Constant, Identity, Transpose ...), in place."""
    from onnx import numpy_helper

    graph = model.graph
    initial = constants_of(graph).keys()
    constants = set(initial)
    for node in graph.node:
        if constants.issuperset(name for name in node.input if name) and not any(
            a.HasField("g") for a in node.attribute
        ):
            constants.update(node.output)
    read = [name for node in graph.node if node.op_type in PRODUCTS for name in node.input[1:]]
    outputs = {value.name for value in graph.output}
    made = [name for name in dict.fromkeys(read) if name in constants - initial - outputs and name]
    if not made:
        return False
    values = dict(zip(made, open_session(until(model, made)).run(made, {})))
    for node in graph.node:
        node.output[:] = ["" if name in values else name for name in node.output]
    empty = [node for node in graph.node if not any(node.output)]
    for node in empty:
        graph.node.remove(node)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in values.items())
    return True


class _Gemms:
    """Makes Gemms with constant weights plain: alpha and beta 1, A not transposed, C of shape [N]."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._names = Names(model.graph)
        self._constants = constants_of(model.graph)

    def plain(self, node: onnx.NodeProto) -> bool:
        """Make `node` plain, in place; return whether it was not."""
        from onnx import helper

        if node.input[1] not in self._constants:
            return False
        own = files.attributes(node)
        alpha, beta, across = own.pop("alpha", 1.0), own.pop("beta", 1.0), own.pop("transA", 0)
        weights = self._value(node.input[1])
        outputs = weights.shape[0 if own.get("transB") else 1]
        c = node.input[2] if len(node.input) > 2 else ""
        shape = list(self._constants[c].dims) if c in self._constants else None
        if (alpha, beta, across) == (1.0, 1.0, 0) and (not c or shape == [outputs]):
            return False
        if alpha != 1.0:
            node.input[1] = self._store(node.input[1], weights * np.float32(alpha))
        if across:
            turned = self._names.free(f"{node.output[0]}_turned")
            self._put(node, helper.make_node("Transpose", [node.input[0]], [turned], turned, perm=[1, 0]), before=True)
            node.input[0] = turned
        if c:
            self._add(node, c, beta, outputs)
        del node.attribute[:]
        node.attribute.extend(helper.make_attribute(name, value) for name, value in own.items())
        return True

    def _add(self, node: onnx.NodeProto, c: str, beta: float, outputs: int) -> None:
        """Make `node` add beta times `c` as its own bias; if rows get different values, by an Add after it."""
        from onnx import helper

        value = self._value(c) * np.float32(beta) if c in self._constants else None
        if value is not None and (value.size == 1 or value.shape[-1:] == (value.size,) or value.shape == (1, outputs)):
            node.input[2] = self._store(c, np.ascontiguousarray(np.broadcast_to(value.reshape(-1), outputs)))
            return
        out, product = node.output[0], self._names.free(f"{node.output[0]}_product")
        if value is None and beta != 1.0:
            scaled, by = self._names.free(f"{c}_scaled"), self._store(f"{c}_factor", np.float32(beta))
            self._put(node, helper.make_node("Mul", [c, by], [scaled], scaled), before=True)
            c = scaled
        elif value is not None and beta != 1.0:
            c = self._store(c, value)
        del node.input[2:]
        node.output[0] = product
        name = self._names.free(f"{node.name}_add")
        self._put(node, helper.make_node("Add", [product, c], [out], name), before=False)

    def _value(self, name: str) -> np.ndarray:
        from onnx import numpy_helper

        return np.asarray(numpy_helper.to_array(self._constants[name]))

    def _store(self, wanted: str, value: Any) -> str:
        from onnx import numpy_helper

        name = self._names.free(wanted)
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        self._constants[name] = self._graph.initializer[-1]
        return name

    def _put(self, node: onnx.NodeProto, new: onnx.NodeProto, before: bool) -> None:
        place = next(i for i, other in enumerate(self._graph.node) if other.output[0] == node.output[0])
        self._graph.node.insert(place if before else place + 1, new)
