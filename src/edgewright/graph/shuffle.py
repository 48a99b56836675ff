"""Remove channel shuffles without moving a channel: the layers that read them get reordered weights.

ShuffleNet's shuffle (Zhang et al. 2018, Ma et al. 2018) interleaves the channels of two branches, and a split after it
separates them again. On a processor with very fast products (AMX) such moves take a good part of the time. In this pass
the channels stay in place, and their order is tracked. Convolutions that read them get their weights in that order,
with zeros for channels that they do not read. A branch that is joined with untouched channels writes to the places that
it read, by a product with 0 and 1 and a sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import clean, files
from .index import constants_of, producers_of, readers_of, reads_of
from .names import Names

if TYPE_CHECKING:
    import onnx

KEEP_ZERO = ("Relu", "LeakyRelu", "HardSwish")
"""Activations that map zero to zero and have no parameters per channel."""


class _Order(NamedTuple):
    """A virtual tensor: its channels are the channels `places` of the tensor `of`, which has `size` channels."""

    of: str
    places: np.ndarray
    size: int


class _Shuffle(NamedTuple):
    """The `nodes` of a shuffle of `size` channels, and the channels of each tensor after it."""

    nodes: list[onnx.NodeProto]
    size: int
    channels: dict[str, np.ndarray]


def apply(model: onnx.ModelProto) -> int:
    """Remove the channel shuffles of `model` in place. Returns their number.

    The outputs are the same up to float rounding: sums get further terms, all of them zero as long as the activations
    are finite. A model with nested graphs is left unchanged, as is a shuffle of anything except float32 maps with
    channels first.
    """
    return _Pass(model).run()


class _Pass:
    """One walk over the graph. `orders`: tensors that no node computes so far. `nodes`: the remaining and new nodes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.model = model
        self.names = Names(model.graph)
        self.constants = constants_of(model.graph)
        self.shapes = _shapes(model)
        self.makers = producers_of(model.graph)
        self.read = reads_of(model.graph)
        self.readers = readers_of(model.graph)
        self.orders: dict[str, _Order] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.restored: set[str] = set()

    def run(self) -> int:
        if sum(1 for _ in files.nodes(self.graph)) > len(self.graph.node):
            return 0
        found = 0
        gone: set[int] = set()
        for node in self.graph.node:
            if id(node) in gone:
                continue
            if (shuffle := self._shuffle(node)) is not None:
                before = self.orders.get(node.input[0], _Order(node.input[0], np.arange(shuffle.size), shuffle.size))
                for name, channels in shuffle.channels.items():
                    self.orders[name] = before._replace(places=before.places[channels])
                gone.update(id(one) for one in shuffle.nodes)
                found += 1
            elif not self._pass_on(node):
                self._write(node)
        for value in self.graph.output:
            self._restore(value.name)
        if found:
            files.refill(self.graph.node, self.nodes)
            del self.graph.value_info[:]  # some tensors have more channels now
            clean.apply(self.model)
        return found

    def _shuffle(self, node: onnx.NodeProto) -> _Shuffle | None:
        """The shuffle that begins with `node`: in torchvision's form, or in that of the first implementation."""
        if node.op_type != "Reshape":
            return None
        nodes = [node]
        while len(nodes) < 3:
            last = nodes[-1].output[0]
            if self.read[last] != 1 or last not in self.readers:
                return None
            nodes += self.readers[last]
        if [n.op_type for n in nodes] != ["Reshape", "Transpose", "Reshape"]:
            return None
        shapes = [self.shapes.get(name) for name in (node.input[0], nodes[0].output[0], nodes[2].output[0])]
        turn = files.attributes(nodes[1]).get("perm")
        before, between, behind = shapes
        if before is None or between is None or behind is None or len(before) != 4 or None in before[1:]:
            return None
        if (len(between), turn) == (5, [0, 2, 1, 3, 4]):
            return self._in_turns(nodes, before, between, behind)
        return self._halves(nodes, before, between, behind) if (len(between), turn) == (3, [1, 0, 2]) else None

    def _in_turns(self, nodes: list[onnx.NodeProto], before: Any, between: Any, behind: Any) -> _Shuffle | None:
        """(N, groups, channels, H, W), transposed and flattened again."""
        groups, size = between[1], before[1]
        if between[3:] != before[2:] or behind[1:] != before[1:] or None in between[1:]:
            return None
        if groups * between[2] != size or min(between[1:3]) < 2:
            return None
        return _Shuffle(nodes, size, {nodes[2].output[0]: np.arange(size).reshape(groups, -1).T.reshape(-1)})

    def _halves(self, nodes: list[onnx.NodeProto], before: Any, between: Any, behind: Any) -> _Shuffle | None:
        """(channels / 2, 2, H * W) of one image, transposed; each Gather takes every second channel."""
        images, size, height, width = before
        if images != 1 or between != [size // 2, 2, height * width] or behind != [2, 1, size // 2, height, width]:
            return None
        takers = self.readers.get(nodes[2].output[0], [])
        taken = [self._value(n.input[1]) for n in takers if n.op_type == "Gather"]
        if len(taken) != self.read[nodes[2].output[0]] or any(isinstance(k, list) or k not in (0, 1) for k in taken):
            return None
        if any(files.attributes(n).get("axis", 0) != 0 for n in takers):
            return None
        channels = {n.output[0]: np.arange(size)[k::2] for n, k in zip(takers, taken)}
        return _Shuffle([*nodes, *takers], size, channels)

    def _pass_on(self, node: onnx.NodeProto) -> bool:
        """Add the outputs of `node` to `orders` if they are reordered channels, too. Returns whether they are."""
        order = self.orders.get(node.input[0]) if node.input else None
        if order is None:
            return False
        attrs = files.attributes(node)
        if node.op_type == "Split" and attrs.get("axis", 0) == 1:
            return self._split(node, order)
        if node.op_type == "Conv" and self._is_depthwise(node, order):
            self._widen(node, 0, order.places, order.size)
            ordered = self.names.free(f"{node.output[0]}_ordered")
            self.orders[node.output[0]] = order._replace(of=ordered)
            node.input[0], node.output[0] = order.of, ordered
            self.nodes.append(node)
            return True
        if node.op_type != "Concat" or attrs.get("axis") != 1:
            return False
        parts = [self.orders.get(name) for name in node.input]
        known = [part for part in parts if part is not None and part.of == order.of]
        if len(known) == len(parts):
            places = np.concatenate([part.places for part in known])
            if len(np.unique(places)) == len(places):
                self.orders[node.output[0]] = order._replace(places=places)
                return True
        return len(parts) == 2 and self._join(node, order)

    def _split(self, node: onnx.NodeProto, order: _Order) -> bool:
        sizes = [self.shapes[name][1] or 0 for name in node.output if name in self.shapes]
        if len(sizes) != len(node.output) or sum(sizes) != len(order.places):
            return False
        for name, places in zip(node.output, np.split(order.places, np.cumsum(sizes)[:-1])):
            self.orders[name] = order._replace(places=places)
        return True

    def _is_depthwise(self, node: onnx.NodeProto, order: _Order) -> bool:
        """Whether the convolution `node` filters each channel separately, for all channels that `order` reorders."""
        known = all(name in self.constants for name in node.input[1:])
        if not known or files.attributes(node).get("group", 1) != order.size or len(order.places) != order.size:
            return False
        return bool(self.constants[node.input[1]].dims[0] == order.size)

    def _join(self, node: onnx.NodeProto, kept: _Order) -> bool:
        """Make the second input of `node` write to the places that are not `kept`. Returns whether it can."""
        chain = self._branch(node.input[1])
        free = np.setdiff1d(np.arange(kept.size), kept.places)
        if chain is None or len(free) != self.constants[chain[0].input[1]].dims[0]:
            return False
        conv = chain[0]
        self._widen(conv, 0, free, kept.size)
        mask = np.zeros((1, kept.size, 1, 1), np.float32)
        mask[:, kept.places] = 1
        out = node.output[0]
        left, placed = self.names.free(f"{out}_left"), self.names.free(f"{out}_placed")
        self._node("Mul", [kept.of, self._constant(f"{out}_kept", mask)], left, out)
        self._node("Add", [chain[-1].output[0], left], placed, out)
        self.orders[out] = _Order(placed, np.concatenate([kept.places, free]), kept.size)
        return True

    def _branch(self, name: str) -> list[onnx.NodeProto] | None:
        """The convolution and the activation that compute the tensor `name`, if nothing else reads it."""
        chain: list[onnx.NodeProto] = []
        while (node := self.makers.get(name)) is not None and self.read[name] == 1 and name not in self.orders:
            chain.insert(0, node)
            if node.op_type == "Conv":
                plain = files.attributes(node).get("group", 1) == 1
                return chain if plain and all(i in self.constants for i in node.input[1:]) else None
            if node.op_type not in KEEP_ZERO:
                return None
            name = node.input[0]
        return None

    def _write(self, node: onnx.NodeProto) -> None:
        """Add `node`, after restoring the virtual tensors that it reads."""
        order = self.orders.get(node.input[0]) if node.input else None
        is_conv = node.op_type == "Conv" and node.input[1] in self.constants
        if order and is_conv and files.attributes(node).get("group", 1) == 1:
            self._widen(node, 1, order.places, order.size)
            node.input[0] = order.of
        for name in node.input:
            self._restore(name)
        self.nodes.append(node)

    def _restore(self, name: str) -> None:
        """Compute the virtual tensor `name` for a node that needs its original form."""
        if name not in self.orders or name in self.restored:
            return
        self.restored.add(name)
        order = self.orders[name]
        moves = np.zeros((len(order.places), order.size, 1, 1), np.float32)
        moves[np.arange(len(order.places)), order.places] = 1
        self._node("Conv", [order.of, self._constant(f"{name}_moves", moves)], name, f"{name}_moved")

    def _widen(self, conv: onnx.NodeProto, axis: int, places: np.ndarray, size: int) -> None:
        """Give `conv` weights with `size` output (`axis` 0) or input (1) channels: its own at `places`, else 0."""
        for position, name in enumerate(conv.input):
            if position == 0 or (axis == 1 and position == 2):
                continue
            weights = self._array(name)
            shape = list(weights.shape)
            shape[axis] = size
            wide = np.zeros(shape, weights.dtype)
            wide[(slice(None),) * axis + (places,)] = weights
            conv.input[position] = self._constant(f"{conv.output[0]}_wide{axis}{position}", wide)

    def _array(self, name: str) -> np.ndarray:
        from onnx import numpy_helper

        found: np.ndarray = numpy_helper.to_array(self.constants[name])
        return found

    def _value(self, name: str) -> Any:
        return self._array(name).tolist() if name in self.constants else None

    def _node(self, operator: str, given: list[str], output: str, wanted: str) -> None:
        from onnx import helper

        name = self.names.free(f"{wanted}/{operator}")
        self.nodes.append(helper.make_node(operator, given, [output], name=name))

    def _constant(self, wanted: str, value: np.ndarray) -> str:
        from onnx import numpy_helper

        name = self.names.free(wanted)
        tensor = numpy_helper.from_array(value, name)
        self.graph.initializer.append(tensor)
        self.constants[name] = tensor
        return name


def _shapes(model: onnx.ModelProto) -> dict[str, list[int | None]]:
    """The known shapes of float32 tensors; None for open sizes."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: [d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and value.type.tensor_type.HasField("shape")
    }
