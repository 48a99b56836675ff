"""Move the normalization into the graph, so that it takes the image's bytes: uint8, NHWC.

The graph then computes Cast, Transpose and (x - mean * divide) / (divide * std) per channel. If a convolution comes
first, the scale is multiplied into its weights, which is exact with any padding (zero stays zero). The offset is added
to its bias only without padding: padding is zero after normalization, so otherwise it stays a subtraction. An INT8
model whose input grid is that of the bytes (`quantize.qdq.byte_input`) takes the bytes without any computation. A model
of BGR images takes RGB afterwards, if its first convolutions allow it (see `channel_order`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Preprocess

from . import channel_order, clean
from .files import nodes, refill
from .index import constants_of
from .metadata import get_spec, set_spec
from .names import Names, free

if TYPE_CHECKING:
    import onnx

OFF_GRID = 0.01
"""The largest distance, in steps, of a normalized byte from a point of the grid."""


def apply(model: onnx.ModelProto) -> bool:
    """Fold the division, mean and std of the model's stored spec into `model`, and update the spec; both in place.

    A spec of BGR images becomes one of RGB if `channel_order` can convert the model.

    Returns False if they are already inside. The outputs equal those with host-side normalization up to float rounding.
    Raises `InvalidInput` if the model has no spec, or no float32 images as input.
    """

    spec = get_spec(model)
    if spec is not None and not spec.takes_image:
        return False
    if spec is None or (spec.input.dtype != "float32" and spec.preprocess.normalize == "host"):
        raise InvalidInput(
            "The normalization cannot be moved into this model.",
            "The model needs a ModelSpec in its metadata and a float32 input.",
            "Export the model with edgewright first.",
        )
    if spec.preprocess.normalize == "graph":
        return False
    name, planar = spec.input.name, spec.input.layout == "NCHW"
    target = free(model.graph, f"{name}_normalized")
    for node in nodes(model.graph):
        node.input[:] = [target if used == name else used for used in node.input]
    preprocess = spec.preprocess
    if preprocess.color == "BGR" and planar and channel_order.reverse(model, target):
        preprocess = _rgb(preprocess)
    scale = 1.0 / (preprocess.divide * np.asarray(preprocess.std, np.float64))
    offset = preprocess.divide * np.asarray(preprocess.mean, np.float64)
    steps: dict[str, np.ndarray] = {"Sub": offset, "Mul": scale}
    if planar and (conv := first_conv(model, target)) is not None:
        steps = {"Sub": offset} if _into_conv(model, conv, scale, offset) else {}
    clean.apply(model)  # removes the old weights, unless another node uses them
    if planar and (pair := _on_bytes(model, target, scale, offset)):
        _take_bytes(model, name, pair)
    else:
        _prepend(model, name, target, planar, steps)
    value = next(value for value in model.graph.input if value.name == name)
    _retype(value, (spec.input.height, spec.input.width, spec.input.channels))
    inside = msgspec.structs.replace(preprocess, normalize="graph")
    set_spec(model, spec.with_input(dtype="uint8", layout="NHWC", preprocess=inside))
    return True


def _rgb(bgr: Preprocess) -> Preprocess:
    """`bgr` with its colors in the order RGB instead of BGR."""
    pad = bgr.pad if isinstance(bgr.pad, int) else (bgr.pad[2], bgr.pad[1], bgr.pad[0])
    return msgspec.structs.replace(bgr, color="RGB", mean=bgr.mean[::-1], std=bgr.std[::-1], pad=pad)


def _prepend(model: onnx.ModelProto, name: str, target: str, planar: bool, steps: dict[str, np.ndarray]) -> None:
    """Insert Cast, Transpose (for a `planar` model) and the arithmetic `steps` between input `name` and `target`.

    Cast comes before Transpose: OpenVINO merges the transposition with its own change of layout, which is slightly
    faster; ONNX Runtime takes the same time for both orders.
    """
    import onnx

    names = Names(model.graph)
    new, label = names.free(f"{name}_float"), names.free(f"{name}_cast")
    head = [onnx.helper.make_node("Cast", [name], [new], label, to=onnx.TensorProto.FLOAT)]
    if planar:
        new, label = names.free(f"{name}_planar"), names.free(f"{name}_transpose")
        head.append(onnx.helper.make_node("Transpose", [head[-1].output[0]], [new], label, perm=[0, 3, 1, 2]))
    for op, value in steps.items():
        shaped = value.reshape((1, -1, 1, 1) if planar else (1, 1, 1, -1)).astype(np.float32)
        constant = onnx.numpy_helper.from_array(shaped, names.free(f"{name}_{op.lower()}_by"))
        model.graph.initializer.append(constant)
        label = names.free(f"{name}_{op.lower()}")
        head.append(onnx.helper.make_node(op, [head[-1].output[0], constant.name], [label], label))
    head[-1].output[0] = target
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*head, *rest])


def _on_bytes(model: onnx.ModelProto, images: str, scale: np.ndarray, offset: np.ndarray) -> onnx.NodeProto | None:
    """The DequantizeLinear of normalized `images`, if its integers are the bytes; the nodes that compute them are
    removed.

    None if another node reads them, or if one of the 256 values would change.
    """
    import onnx

    constants = {n: onnx.numpy_helper.to_array(t) for n, t in constants_of(model.graph).items()}
    values = (np.arange(256, dtype=np.float32)[None] - offset.astype(np.float32)[:, None]) * scale[:, None]
    here = images
    gone: list[onnx.NodeProto] = []
    while True:
        readers = [node for node in nodes(model.graph) if here in node.input]
        if len(readers) != 1 or here != readers[0].input[0] or not set(readers[0].input[1:]) <= constants.keys():
            return None
        node, numbers = readers[0], [constants[name] for name in readers[0].input[1:]]
        if node.op_type == "DequantizeLinear" and gone and gone[-1].op_type == "QuantizeLinear":
            break
        gone.append(node)
        here = node.output[0]
        if node.op_type == "QuantizeLinear":
            if len(numbers) < 2 or numbers[0].size > 1 or numbers[1].dtype != np.uint8:
                return None
            if np.abs(values / numbers[0] + numbers[1] - np.arange(256)).max() > OFF_GRID:
                return None
        elif node.op_type not in ("Mul", "Add") or numbers[0].size not in (1, len(offset)):
            return None
        else:
            each = numbers[0].reshape(-1, 1).astype(np.float64)
            values = values * each if node.op_type == "Mul" else values + each
    for passed in gone:
        model.graph.node.remove(passed)
    clean.drop_unread(model.graph)
    return node


def _take_bytes(model: onnx.ModelProto, name: str, pair: onnx.NodeProto) -> None:
    """Connect `pair` to the bytes `name` (NHWC), and add a Transpose after it.

    In this order OpenVINO's convolution reads the bytes directly. After a Transpose of bytes it treats the
    DequantizeLinear as arithmetic and computes in float. ONNX Runtime moves the Transpose itself.
    """
    import onnx

    names = Names(model.graph)
    new, target, label = names.free(f"{name}_float"), pair.output[0], names.free(f"{name}_transpose")
    pair.input[0], pair.output[0] = name, new
    first = type(pair).FromString(pair.SerializeToString())
    second = onnx.helper.make_node("Transpose", [new], [target], label, perm=[0, 3, 1, 2])
    model.graph.node.remove(pair)
    refill(model.graph.node, [first, second, *model.graph.node])


def first_conv(model: onnx.ModelProto, images: str) -> onnx.NodeProto | None:
    """The one ungrouped convolution with constant weights that reads `images`; None if another node reads them, too."""
    users = [node for node in model.graph.node if images in node.input]
    constants = constants_of(model.graph)
    if len(users) != 1 or users[0].op_type != "Conv" or not set(users[0].input[1:]) <= constants.keys():
        return None
    group = next((a.i for a in users[0].attribute if a.name == "group"), 1)
    return users[0] if group == 1 else None


def _into_conv(model: onnx.ModelProto, conv: onnx.NodeProto, scale: np.ndarray, offset: np.ndarray) -> bool:
    """Multiply `scale` into the convolution, and without padding add `offset`. Returns whether the offset remains."""
    import onnx

    constants = constants_of(model.graph)
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in conv.attribute}
    weights = onnx.numpy_helper.to_array(constants[conv.input[1]]).astype(np.float64) * scale.reshape(1, -1, 1, 1)
    padded = any(attributes.get("pads", ())) or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    names = Names(model.graph)
    new = {names.free(f"{conv.input[1]}_scaled"): weights}
    if not padded:
        given = conv.input[2] if len(conv.input) > 2 else ""
        bias = onnx.numpy_helper.to_array(constants[given]) if given else np.zeros(len(weights))
        new[names.free(f"{conv.input[1]}_bias")] = bias - (weights * offset.reshape(1, -1, 1, 1)).sum((1, 2, 3))
    for name, value in new.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value.astype(np.float32), name))
    conv.input[:] = [conv.input[0], *new, *([] if len(new) > 1 else conv.input[2:])]
    return padded


def _retype(value: onnx.ValueInfoProto, dims: tuple[int, int, int]) -> None:
    import onnx

    value.type.tensor_type.elem_type = onnx.TensorProto.UINT8
    for dim, size in zip(value.type.tensor_type.shape.dim[1:], dims):
        dim.Clear()
        dim.dim_value = size
