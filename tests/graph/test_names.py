"""Names that are free, and short names for tools that make up others."""

from __future__ import annotations

import onnx
from onnx import parser

from edgewright.graph.names import Aliases, Names, free

GRAPH = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3] x, bool flag) => (float[1,3] x_scale)
{
   x_bias = Relu (x)
   x_bias_q = If (flag) <
      then_branch = a () => (float[1,3] inner) { inner = Neg (x_bias) },
      else_branch = b () => (float[1,3] t0x) { t0x = Abs (x) }
   >
   x_scale = Identity (x_bias_q)
}
"""


def _model() -> onnx.ModelProto:
    model = parser.parse_model(GRAPH)
    for number, node in enumerate(model.graph.node):
        node.name = ("x", "x_scale", "Identity")[number]  # names of tensors, as MXNet gives them
    return model


def test_a_free_name_is_that_of_no_tensor_or_node_of_any_inner_graph() -> None:
    graph = _model().graph
    assert free(graph, "new") == "new"
    assert free(graph, "inner") == "inner_2"
    assert free(graph, "Identity") == "Identity_2"
    names = Names(graph)
    assert [names.free("x_bias") for _ in range(2)] == ["x_bias_2", "x_bias_3"]


def test_after_a_tool_the_old_names_are_back_and_what_it_made_has_free_ones() -> None:
    model, before = _model(), _model()
    aliases = Aliases(model.graph)
    aliases.apply(model.graph)
    relu = model.graph.node[0]
    assert [relu.input[0], aliases.tensor("x")] == ["x", "x"]
    for name, made in (
        ("x", "x_scale"),
        (relu.output[0], f"{relu.output[0]}_q"),
        (relu.output[0], f"{relu.output[0]}_z"),
    ):
        model.graph.node.append(onnx.helper.make_node("Abs", [name], [made], f"{made}_node"))
    aliases.restore(model.graph)
    assert list(model.graph.node)[:3] == list(before.graph.node)
    assert model.graph.output == before.graph.output
    made = [(node.name, node.output[0]) for node in list(model.graph.node)[3:]]
    assert made == [("x_scale_node", "x_scale_2"), ("x_bias_q_node", "x_bias_q_2"), ("x_bias_z_node", "x_bias_z")]
    onnx.checker.check_model(model, full_check=True)
