"""Channel shuffles are taken out: the same answers, no channel moved, and nothing touched that is no shuffle."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.graph import shuffle

SIDE = 6
node = helper.make_node


class Net:
    """A network of 8 channels, built node by node."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def conv(
        self, given: str, made: str, cin: int, cout: int, group: int = 1, kernel: int = 1, bias: bool = True
    ) -> str:
        self.constants[f"{made}/w"] = self.random.normal(size=(cout, cin // group, kernel, kernel)).astype(np.float32)
        self.constants[f"{made}/b"] = self.random.normal(size=cout).astype(np.float32)
        names = [given, f"{made}/w", *([f"{made}/b"] if bias else [])]
        self.nodes.append(node("Conv", names, [made], group=group, pads=[kernel // 2] * 4))
        return made

    def const(self, name: str, value: object) -> str:
        self.constants[name] = np.array(value, np.int64)
        return name

    def op(self, operator: str, given: list[str], made: str, **attributes: object) -> str:
        self.nodes.append(node(operator, given, [made], **attributes))
        return made

    def in_turns(
        self, given: str, made: str, groups: int = 2, channels: int = 8, perm: tuple[int, ...] = (0, 2, 1, 3, 4)
    ):
        """torchvision's shuffle."""
        wide = self.const(f"{made}/wide", [-1, groups, channels // groups, SIDE, SIDE])
        flat = self.const(f"{made}/flat", [-1, channels, SIDE, SIDE])
        turned = self.op("Transpose", [self.op("Reshape", [given, wide], f"{made}/5")], f"{made}/t", perm=perm)
        return self.op("Reshape", [turned, flat], made)

    def split(self, given: str, made: str, sizes: tuple[int, int] = (4, 4)) -> tuple[str, str]:
        names = (f"{made}0", f"{made}1")
        self.nodes.append(node("Split", [given, self.const(f"{made}/sizes", sizes)], list(names), axis=1))
        return names

    def halves(self, given: str, made: str, taken: tuple[int, int] = (0, 1)) -> tuple[str, str]:
        """The first implementation's shuffle, of one image."""
        pairs = self.const(f"{made}/pairs", [4, 2, SIDE * SIDE])
        parts = self.const(f"{made}/parts", [2, -1, 4, SIDE, SIDE])
        turned = self.op("Transpose", [self.op("Reshape", [given, pairs], f"{made}/3")], f"{made}/t", perm=(1, 0, 2))
        both = self.op("Reshape", [turned, parts], f"{made}/5")
        return tuple(
            self.op("Gather", [both, self.const(f"{made}/{k}/at", at)], f"{made}{k}", axis=0)
            for k, at in enumerate(taken)
        )  # type: ignore[return-value]

    def block(self, parts: tuple[str, str], made: str, activation: str = "LeakyRelu", bias: bool = True) -> str:
        """A block of ShuffleNetV2: one part stays, the other goes through three convolutions."""
        kept, worked = parts
        worked = self.op(activation, [self.conv(worked, f"{made}/a", 4, 4)], f"{made}/aa")
        worked = self.conv(worked, f"{made}/d", 4, 4, group=4, kernel=3)
        worked = self.op(activation, [self.conv(worked, f"{made}/c", 4, 4, bias=bias)], f"{made}/cc")
        return self.op("Concat", [kept, worked], made, axis=1)

    def model(self, *outputs: str, batch: int | str = "N") -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, "net", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 8, SIDE, SIDE])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def answers(model: onnx.ModelProto, batch: int) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(batch, 8, SIDE, SIDE)).astype(np.float32)
    found: list[np.ndarray] = session.run(None, {"images": x})
    return found


def operators(model: onnx.ModelProto) -> list[str]:
    return [one.op_type for one in model.graph.node]


def compared(model: onnx.ModelProto, found: int, batch: int = 2) -> list[str]:
    """The operators after `found` shuffles went; the answers must be the same."""
    before = answers(model, batch)
    assert shuffle.apply(model) == found
    for ours, theirs in zip(answers(model, batch), before):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())
    return operators(model)


def stage(net: Net, shuffled: Callable[[str, str], tuple[str, str]], activation: str, bias: bool) -> str:
    """Two blocks with the shuffle between them; a third convolution over all channels reads what comes out."""
    x = net.block(shuffled("images", "s0"), "b0", activation, bias)
    return net.block(shuffled(x, "s1"), "b1", activation, bias)


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "HardSwish"])
@pytest.mark.parametrize("bias", [True, False])
def test_torchvisions_blocks_move_no_channel(activation: str, bias: bool) -> None:
    net = Net()
    x = stage(net, lambda x, name: net.split(net.in_turns(x, f"{name}/all"), name), activation, bias)
    left = compared(net.model(net.conv(net.in_turns(x, "last"), "answer", 8, 5)), 3)
    assert not {"Reshape", "Transpose", "Split", "Concat"} & {*left}
    assert left.count("Conv") == 7 and left.count("Mul") == left.count("Add") == 2


def test_the_first_implementations_blocks_move_no_channel() -> None:
    net = Net()
    x = stage(net, net.halves, "Relu", True)
    left = compared(net.model(net.conv(x, "answer", 8, 5), batch=1), 2, batch=1)
    assert not {"Reshape", "Transpose", "Gather", "Concat"} & {*left}
    assert left.count("Conv") == 7


def test_parts_taken_in_another_order_stay_in_that_order() -> None:
    net = Net()
    compared(net.model(net.block(net.halves("images", "s", (1, 0)), "answer"), batch=1), 1, batch=1)


def test_one_part_taken_twice() -> None:
    net = Net()
    compared(net.model(net.op("Concat", [*net.halves("images", "s", (1, 1))], "answer", axis=1), batch=1), 1, batch=1)


@pytest.mark.parametrize("groups", [2, 4])
def test_a_filter_of_each_channel_takes_the_order_on(groups: int) -> None:
    net = Net()
    x = net.conv(net.in_turns("images", "s", groups), "d", 8, 8, group=8, kernel=3)
    assert compared(net.model(net.conv(x, "answer", 8, 5)), 1) == ["Conv", "Conv"]


def test_a_convolution_with_a_kernel_reads_another_order() -> None:
    net = Net()
    assert compared(net.model(net.conv(net.in_turns("images", "s"), "answer", 8, 5, kernel=3)), 1) == ["Conv"]


def test_what_must_have_the_channels_in_order_gets_them() -> None:
    """An output, an activation, a convolution in two groups and one that two parts of unlike sizes are read by."""
    net = Net()
    x = net.in_turns("images", "out")
    left, right = net.split(x, "part", (3, 5))
    outputs = [
        x,
        net.op("Sigmoid", [left], "active"),
        net.conv(x, "grouped", 8, 4, group=2),
        net.conv(right, "c", 5, 3),
    ]
    compared(net.model(*outputs), 1)


def test_a_branch_that_something_else_reads_is_joined_as_before() -> None:
    net = Net()
    kept, worked = net.split(net.in_turns("images", "s"), "p")
    worked = net.op("Relu", [net.conv(worked, "c", 4, 4)], "r")
    joined = net.op("Concat", [kept, worked], "j", axis=1)
    left = compared(net.model(net.conv(joined, "answer", 8, 5), worked), 1)
    assert "Concat" in left


@pytest.mark.parametrize("activation", ["Sigmoid", "Softplus"])
def test_a_branch_whose_zero_is_not_zero_is_joined_as_before(activation: str) -> None:
    net = Net()
    joined = net.block(net.split(net.in_turns("images", "s"), "p"), "b", activation)
    assert "Concat" in compared(net.model(net.conv(joined, "answer", 8, 5)), 1)


def test_a_branch_of_another_width_is_joined_as_before() -> None:
    net = Net()
    kept, worked = net.split(net.in_turns("images", "s"), "p")
    joined = net.op("Concat", [kept, net.conv(worked, "c", 4, 6)], "j", axis=1)
    assert "Concat" in compared(net.model(net.conv(joined, "answer", 10, 5)), 1)


def test_another_transposition_is_no_shuffle() -> None:
    net = Net()
    model = net.model(net.conv(net.in_turns("images", "s", perm=(0, 1, 2, 4, 3)), "answer", 8, 5))
    assert compared(model, 0) == ["Reshape", "Transpose", "Reshape", "Conv"]


def test_a_shuffle_whose_middle_is_read_stays() -> None:
    net = Net()
    model = net.model(net.conv(net.in_turns("images", "s"), "answer", 8, 5), "s/t")
    assert compared(model, 0) == ["Reshape", "Transpose", "Reshape", "Conv"]


def test_parts_that_are_joined_again_move_no_channel() -> None:
    """GSConv's shuffle: every second channel, and the others behind them."""
    net = Net()
    x = net.op("Concat", [*net.halves("images", "s")], "j", axis=1)
    assert compared(net.model(net.conv(x, "answer", 8, 5), batch=1), 1, batch=1) == ["Conv"]


def test_a_split_that_says_no_sizes_is_of_equal_parts() -> None:
    net = Net()
    net.nodes.append(node("Split", [net.in_turns("images", "s")], ["a", "b"], axis=1))
    assert compared(net.model(net.conv("a", "answer", 4, 5), net.conv("b", "other", 4, 2)), 1) == ["Conv", "Conv"]


def test_a_split_whose_sizes_are_a_node_is_of_those() -> None:
    net = Net()
    net.nodes.append(node("Constant", [], ["sizes"], value=numpy_helper.from_array(np.array([3, 5]))))
    net.nodes.append(node("Split", [net.in_turns("images", "s"), "sizes"], ["a", "b"], axis=1))
    compared(net.model(net.conv("a", "answer", 3, 5), net.op("Relu", ["b"], "other")), 1)


def test_attention_to_groups_of_channels_is_no_shuffle_of_its_input() -> None:
    """SA-Net as it is simplified: what is shuffled has the groups among its images."""
    net = Net()
    groups = net.op("Reshape", ["images", net.const("g", [4, 2, SIDE, SIDE])], "groups")
    shuffled = net.in_turns(net.op("Sigmoid", [groups], "active"), "s")
    left = compared(net.model(net.conv(shuffled, "answer", 8, 5), batch=1), 0, batch=1)
    assert "Transpose" in left


def test_maps_that_only_become_so_are_no_shuffle() -> None:
    net = Net()
    wide, flat = net.const("wide", [1, 2, 4, 4, 9]), net.const("flat", [1, 8, 4, 9])
    turned = net.op("Transpose", [net.op("Reshape", ["images", wide], "five")], "t", perm=(0, 2, 1, 3, 4))
    compared(net.model(net.op("Reshape", [turned, flat], "answer"), batch=1), 0, batch=1)


def test_a_shuffle_of_float16_stays() -> None:
    net = Net()
    half = net.op("Cast", ["images"], "half", to=TensorProto.FLOAT16)
    left = compared(net.model(net.op("Cast", [net.in_turns(half, "s")], "answer", to=TensorProto.FLOAT)), 0)
    assert "Transpose" in left


def test_a_size_that_is_left_open_is_known() -> None:
    net = Net()
    wide = net.const("wide", [0, 2, -1, SIDE, SIDE])
    turned = net.op("Transpose", [net.op("Reshape", ["images", wide], "five")], "t", perm=(0, 2, 1, 3, 4))
    flat = net.op("Reshape", [turned, net.const("flat", [0, -1, SIDE, SIDE])], "s")
    assert compared(net.model(net.conv(flat, "answer", 8, 5)), 1) == ["Conv"]


def test_a_model_with_a_nested_graph_is_left_alone() -> None:
    net = Net()
    net.constants["yes"] = np.array(True)
    x = net.in_turns("images", "s")
    inner = helper.make_graph([node("Relu", [x], ["r"])], "then", [], [helper.make_tensor_value_info("r", 1, None)])
    other = helper.make_graph([node("Neg", [x], ["n"])], "else", [], [helper.make_tensor_value_info("n", 1, None)])
    net.nodes.append(node("If", ["yes"], ["answer"], then_branch=inner, else_branch=other))
    compared(net.model("answer"), 0)
