"""Channel shuffles without moving a channel: the layers that read them read another order instead.

ShuffleNet's shuffle (Zhang et al. 2018, Ma et al. 2018) puts the channels of two branches in turns, and a split behind
it takes them apart again. On a processor whose products are nearly free (AMX) such moves cost about as much as the
convolutions. Here the channels stay where they are and their order is kept in mind: convolutions that read them get
their weights in that order, with zeros for channels that they do not read. Where a branch is joined with channels that
it left alone, it writes into the places that it read, by a product with 0 and 1 and a sum. Only zeros are added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import clean, files

if TYPE_CHECKING:
    import onnx

KEEP_ZERO = ("Relu", "LeakyRelu", "HardSwish")
"""Activations of zero that are zero, without numbers of their own for each channel."""


class _Order(NamedTuple):
    """A tensor that is not there: its channels are the channels `places` of the tensor `of`, which has `size`."""

    of: str
    places: np.ndarray
    size: int


class _Shuffle(NamedTuple):
    """The `nodes` of a shuffle of `size` channels, and which of the channels each tensor that it makes has."""

    nodes: list[onnx.NodeProto]
    size: int
    made: dict[str, np.ndarray]


def is_in(model: onnx.ModelProto) -> bool:
    """Whether `model` has a channel shuffle that can be taken out."""
    walk = _Pass(model)
    return any(walk.shuffle(node) for node in model.graph.node)


def apply(model: onnx.ModelProto) -> int:
    """Take the channel shuffles out of the float32 `model`, in place; returns how many there were.

    Results are those of the model before to float rounding: sums get further terms, all of them zero. A model with
    nested graphs is left as it is.
    """
    return _Pass(model).run()


class _Pass:
    """One walk over the graph: `orders` are the tensors that no node makes any more, `nodes` what is left and new."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.model = model
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.makers = {name: node for node in model.graph.node for name in node.output}
        self.read = files.readers(model.graph)
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.is_flat = sum(1 for _ in files.nodes(model.graph)) == len(model.graph.node)
        self.orders: dict[str, _Order] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.made: set[str] = set()

    def run(self) -> int:
        found = 0
        gone: set[int] = set()
        for node in self.graph.node:
            if id(node) in gone:
                continue
            if (shuffle := self.shuffle(node)) is not None:
                before = self.orders.get(node.input[0], _Order(node.input[0], np.arange(shuffle.size), shuffle.size))
                for name, channels in shuffle.made.items():
                    self.orders[name] = before._replace(places=before.places[channels])
                gone.update(id(one) for one in shuffle.nodes)
                found += 1
            elif not self._is_kept(node):
                self._write(node)
        for value in self.graph.output:
            self._make(value.name)
        if found:
            del self.graph.node[:]
            self.graph.node.extend(self.nodes)
            del self.graph.value_info[:]  # of tensors that are wider now
            clean.apply(self.model)
        return found

    def shuffle(self, node: onnx.NodeProto) -> _Shuffle | None:
        """The shuffle that begins with `node`: of torchvision's form, or of the first implementation's."""
        nodes = [node]
        while node.op_type == "Reshape" and self.is_flat and len(nodes) < 3:
            last = nodes[-1].output[0]
            if self.read[last] != 1 or last not in self.readers:
                return None
            nodes += self.readers[last]
        if [n.op_type for n in nodes] != ["Reshape", "Transpose", "Reshape"]:
            return None
        first, second = self._value(nodes[0].input[1]), self._value(nodes[2].input[1])
        turn = files.attributes(nodes[1]).get("perm")
        if not isinstance(first, list) or not isinstance(second, list):
            return None
        if (len(first), len(second), turn) == (5, 4, [0, 2, 1, 3, 4]):
            return self._in_turns(nodes, first, second)
        return self._halves(nodes, first, second) if (len(first), len(second), turn) == (3, 5, [1, 0, 2]) else None

    def _in_turns(self, nodes: list[onnx.NodeProto], wide: list[int], flat: list[int]) -> _Shuffle | None:
        """(N, groups, channels, H, W), turned and made flat again."""
        groups, size = wide[1], wide[1] * wide[2]
        if min(wide[1:3]) < 2 or flat[1] not in (-1, size) or flat[2:] != wide[3:]:
            return None
        return _Shuffle(nodes, size, {nodes[2].output[0]: np.arange(size).reshape(groups, -1).T.reshape(-1)})

    def _halves(self, nodes: list[onnx.NodeProto], pairs: list[int], parts: list[int]) -> _Shuffle | None:
        """(channels / 2, 2, H * W) of one image, turned, of which each Gather takes every second channel."""
        half, (sides, images, channels, *_) = pairs[0], parts
        takers = self.readers.get(nodes[2].output[0], [])
        taken = [self._value(n.input[1]) for n in takers if n.op_type == "Gather"]
        is_one = half == channels and images in (-1, 1) and pairs[1] == sides == 2
        if not is_one or len(taken) != self.read[nodes[2].output[0]] or any(k not in (0, 1) for k in taken):
            return None
        if any(files.attributes(n).get("axis", 0) != 0 for n in takers):
            return None
        made = {n.output[0]: np.arange(2 * half)[k::2] for n, k in zip(takers, taken)}
        return _Shuffle([*nodes, *takers], 2 * half, made)

    def _is_kept(self, node: onnx.NodeProto) -> bool:
        """Whether the outputs of `node` need not be made now, since they are channels in another order."""
        order = self.orders.get(node.input[0]) if node.input else None
        if node.op_type == "Split" and order and files.attributes(node).get("axis", 0) == 1:
            sizes = self._value(node.input[1]) if len(node.input) > 1 else None
            count = len(node.output)
            sizes = sizes or [-(-len(order.places) // count)] * count
            for name, places in zip(node.output, np.split(order.places, np.cumsum(sizes)[:-1])):
                self.orders[name] = order._replace(places=places)
            return True
        if node.op_type == "Conv" and order and self._is_depthwise(node, order):
            self._widen(node, 0, order.places, order.size)
            self.orders[node.output[0]] = order._replace(of=f"{node.output[0]}_ordered")
            node.input[0], node.output[0] = order.of, f"{node.output[0]}_ordered"
            self.nodes.append(node)
            return True
        if node.op_type == "Concat" and len(node.input) == 2 and files.attributes(node).get("axis") == 1:
            return order is not None and self._join(node, order)
        return False

    def _is_depthwise(self, node: onnx.NodeProto, order: _Order) -> bool:
        """Whether the convolution `node` filters each channel by itself, all that `order` puts in another order."""
        known = all(name in self.constants for name in node.input[1:])
        if not known or files.attributes(node).get("group", 1) != order.size or len(order.places) != order.size:
            return False
        return bool(self.constants[node.input[1]].dims[0] == order.size)

    def _join(self, node: onnx.NodeProto, kept: _Order) -> bool:
        """Let the second input of `node` write into the places of the tensor that are not `kept`; whether it can."""
        chain = self._branch(node.input[1])
        free = np.setdiff1d(np.arange(kept.size), kept.places)
        if chain is None or len(free) != self.constants[chain[0].input[1]].dims[0]:
            return False
        conv = chain[0]
        self._widen(conv, 0, free, kept.size)
        mask = np.zeros((1, kept.size, 1, 1), np.float32)
        mask[:, kept.places] = 1
        out = node.output[0]
        self.nodes.append(_node("Mul", [kept.of, self._constant(f"{out}_kept", mask)], f"{out}_left", out))
        self.nodes.append(_node("Add", [chain[-1].output[0], f"{out}_left"], f"{out}_placed", out))
        self.orders[out] = _Order(f"{out}_placed", np.concatenate([kept.places, free]), kept.size)
        return True

    def _branch(self, name: str) -> list[onnx.NodeProto] | None:
        """The convolution and the activation that make the tensor `name`, which nothing else reads."""
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
        """`node` as it is, but for what it reads that is not there."""
        order = self.orders.get(node.input[0]) if node.input else None
        is_conv = node.op_type == "Conv" and node.input[1] in self.constants
        if order and is_conv and files.attributes(node).get("group", 1) == 1:
            self._widen(node, 1, order.places, order.size)
            node.input[0] = order.of
        for name in node.input:
            self._make(name)
        self.nodes.append(node)

    def _make(self, name: str) -> None:
        """Make the tensor `name` where it is not there and something must have it as it was."""
        if name not in self.orders or name in self.made:
            return
        self.made.add(name)
        order = self.orders[name]
        moves = np.zeros((len(order.places), order.size, 1, 1), np.float32)
        moves[np.arange(len(order.places)), order.places] = 1
        self.nodes.append(_node("Conv", [order.of, self._constant(f"{name}_moves", moves)], name, f"{name}_moved"))

    def _widen(self, conv: onnx.NodeProto, axis: int, places: np.ndarray, size: int) -> None:
        """Give `conv` weights with `size` channels of output (`axis` 0) or input (1): its own at `places`, else 0."""
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

    def _constant(self, name: str, value: np.ndarray) -> str:
        from onnx import numpy_helper

        tensor = numpy_helper.from_array(value, name)
        self.graph.initializer.append(tensor)
        self.constants[name] = tensor
        return name


def _node(operator: str, given: list[str], made: str, name: str) -> Any:
    from onnx import helper

    return helper.make_node(operator, given, [made], name=f"{name}/{operator}")
