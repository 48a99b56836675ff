"""ONNX files as bytes: none that a runtime gets keeps tensors elsewhere, wherever in the file they stand."""

from __future__ import annotations

import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgewright.core.errors import IntegrityError
from edgewright.graph import files as graph_files
from edgewright.runtimes import onnx_file


def test_every_way_from_a_model_to_a_tensor_is_looked_at() -> None:
    """The table is that of the installed onnx: a version with another place for tensors fails here first."""

    def nested(message: object) -> dict[int, str]:
        fields = message.fields  # type: ignore[attr-defined]
        return {f.number: f.message_type.name for f in fields if f.message_type and leads(f.message_type, ())}

    def leads(message: object, seen: tuple[str, ...]) -> bool:
        name = message.name  # type: ignore[attr-defined]
        if name == "TensorProto":
            return True
        inner = (f.message_type for f in message.fields if f.message_type)  # type: ignore[attr-defined]
        return name not in seen and any(leads(one, (*seen, name)) for one in inner)

    found, todo = {}, [onnx.ModelProto.DESCRIPTOR]
    while todo:
        message = todo.pop()
        if message.name != "TensorProto" and message.name not in found:
            found[message.name] = nested(message)
            todo += [f.message_type for f in message.fields if f.number in found[message.name]]
    assert found == onnx_file.NESTED
    numbers = {f.name: f.number for f in TensorProto.DESCRIPTOR.fields}
    assert (numbers["name"], numbers["external_data"], numbers["data_location"]) == (
        onnx_file.NAME, onnx_file.EXTERNAL_DATA, onnx_file.DATA_LOCATION,
    )  # fmt: skip


def model(tensor: TensorProto) -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    return helper.make_model(helper.make_graph([node], "g", [], [y]))


def test_a_whole_file_passes_and_an_external_tensor_is_named() -> None:
    inside = helper.make_tensor("weights", TensorProto.FLOAT, [2], [1.0, 2.0])
    onnx_file.require_whole(model(inside).SerializeToString(), "model.onnx")
    for change in ("location", "entry"):
        outside = TensorProto.FromString(inside.SerializeToString())
        if change == "location":
            outside.data_location = TensorProto.EXTERNAL
        else:
            outside.external_data.add(key="location", value="weights.bin")
        with pytest.raises(IntegrityError, match="tensor 'weights' is outside"):
            onnx_file.require_whole(model(outside).SerializeToString(), "model.onnx")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_still_whole(data: st.DataObject) -> None:
    """Where a byte was changed either it is refused, or what onnx still parses of it has no external tensor."""
    inside = helper.make_tensor("weights", TensorProto.FLOAT, [2], [1.0, 2.0])
    content = bytearray(model(inside).SerializeToString())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        onnx_file.require_whole(bytes(content), "model.onnx")
    except IntegrityError:
        return
    try:
        parsed = onnx.ModelProto.FromString(bytes(content))
    except DecodeError:
        return
    assert all(t.data_location == TensorProto.DEFAULT and not t.external_data for t in graph_files.tensors(parsed))
