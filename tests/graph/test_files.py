"""A foreign ONNX file is read only if it is whole, valid and stays in its folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.graph import files


def external(model: Any, path: Path, location: str, content: bytes | None = None, **more: str) -> None:
    """Save `model` with its convolution's weights in the file `location`."""
    tensor = next(t for t in model.graph.initializer if t.name == "w")
    if content is not None:
        (path.parent / "weights.bin").write_bytes(content)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())


def weights(model: Any) -> bytes:
    return bytes(next(t.raw_data for t in model.graph.initializer if t.name == "w"))


def test_what_is_saved_is_loaded(small: Any, tmp_path: Path) -> None:
    files.save(small(), tmp_path / "m.onnx")
    assert files.load(tmp_path / "m.onnx") == small()


def test_external_data_is_taken_in(small: Any, tmp_path: Path) -> None:
    raw = weights(small())
    external(small(), tmp_path / "m.onnx", "weights.bin", b"????" + raw, offset="4", length=str(len(raw)))
    model = files.load(tmp_path / "m.onnx")
    assert weights(model) == raw
    assert not any(t.external_data for t in model.graph.initializer)


def test_external_data_is_found_from_a_bare_file_name(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    external(small(), tmp_path / "m.onnx", "weights.bin", weights(small()))
    monkeypatch.chdir(tmp_path)
    assert weights(files.load("m.onnx")) == weights(small())


@pytest.mark.parametrize("bare", [False, True], ids=["absolute", "bare name"])
@pytest.mark.parametrize("way", ["dotdot", "absolute", "symlink", "folder symlink", "hard link", "inner dotdot"])
def test_external_data_cannot_leave_the_folder(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, bare: bool
) -> None:
    secret, home = tmp_path / "secret.bin", tmp_path / "home"
    home.mkdir()
    secret.write_bytes(weights(small()))
    location = {"dotdot": "../secret.bin", "absolute": str(secret), "inner dotdot": "sub/../../secret.bin"}.get(
        way, "w"
    )
    if way == "symlink":
        (home / "w").symlink_to(secret)
    elif way == "folder symlink":
        (home / "sub").symlink_to(tmp_path)
        location = "sub/secret.bin"
    elif way == "hard link":
        os.link(secret, home / "w")
    external(small(), home / "m.onnx", location)
    monkeypatch.chdir(home)
    with pytest.raises(IntegrityError, match="Refused to open"):
        files.load("m.onnx" if bare else home / "m.onnx")


def test_external_data_in_a_subgraph_cannot_leave_the_folder(small: Any, tmp_path: Path) -> None:
    model = small()
    node = model.graph.node.add(op_type="Constant", output=["hidden"])
    node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
    node.attribute[0].t.CopyFrom(onnx.TensorProto(name="h", dims=[1], data_type=1, data_location=1))
    node.attribute[0].t.external_data.add(key="location", value="/etc/passwd")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(IntegrityError):
        files.load(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"offset": "400"}, "ends at byte 832"),
        ({"length": "99999999999"}, "99999999999 bytes where"),
        ({"offset": "-4"}, "not a number"),
        ({"offset": "99999999999999999"}, "ends at byte"),
    ],
)
def test_external_data_out_of_bounds_is_named(small: Any, tmp_path: Path, more: dict[str, str], said: str) -> None:
    external(small(), tmp_path / "m.onnx", "weights.bin", weights(small()), **more)
    with pytest.raises(InvalidInput, match=said):
        files.load(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04....", "PyTorch checkpoint"),
        (b"\x80\x04\x95....", "pickle"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<html>", "HTML"),
        (b"hello, this is text", "not an ONNX model"),
        (b"\xf8\x7f\x01", "not an ONNX model"),  # an unknown field: parses to nothing
    ],
)
def test_what_is_no_onnx_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(InvalidInput, match=said):
        files.load(tmp_path / "m.onnx")


def test_every_truncation_is_refused(small: Any, tmp_path: Path) -> None:
    content = small().SerializeToString()
    for cut in np.linspace(1, len(content) - 1, 40).astype(int):
        (tmp_path / "m.onnx").write_bytes(content[:cut])
        with pytest.raises(InvalidInput):
            files.load(tmp_path / "m.onnx")


def test_missing_folder_and_oversized(small: Any, tmp_path: Path) -> None:
    files.save(small(), tmp_path / "m.onnx")
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(InvalidInput, match="no file"):
            files.load(path)
    with pytest.raises(InvalidInput, match="The limit is 100"):
        files.load(tmp_path / "m.onnx", limit_bytes=100)


@pytest.mark.parametrize("opset", [2147483647, 99, 0, -1])
def test_unknown_operator_sets_are_refused(small: Any, tmp_path: Path, opset: int) -> None:
    model = small()
    model.opset_import[0].version = opset
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidInput, match=f"operator set {opset}"):
        files.load(tmp_path / "m.onnx")


def test_a_newer_ir_and_custom_operators_are_named(small: Any, tmp_path: Path) -> None:
    model = small()
    model.ir_version = 99
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidInput, match="IR version 99"):
        files.load(tmp_path / "m.onnx")
    model = small()
    model.graph.node[1].domain = "acme.plugins"
    model.opset_import.add(domain="acme.plugins", version=1)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidInput, match=r"acme\.plugins::Relu"):
        files.load(tmp_path / "m.onnx")


def test_an_absurd_tensor_is_named(small: Any, tmp_path: Path) -> None:
    model = small()
    model.graph.node[0].attribute[0].ints[:] = [1 << 20, 1 << 20, 1 << 20, 1 << 20]
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidInput, match="elements"):
        files.load(tmp_path / "m.onnx")


@pytest.mark.zoo
def test_every_malformed_file_is_refused(zoo: Path) -> None:
    """OpenVINO hangs on these; onnx.checker lets two of them pass, whose operator set is 2147483647."""
    found = sorted((zoo / "malformed").glob("*.onnx"))
    assert len(found) == 36
    for path in found:
        with pytest.raises(InvalidInput):
            files.load(path)
