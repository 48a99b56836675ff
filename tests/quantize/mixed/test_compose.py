"""Some nodes of a finished INT8 file are given back to float, and the others stay as they were."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from edgewright.core.errors import RuntimeFailed
from edgewright.quantize import quantize, schemes
from edgewright.quantize.calibration.sessions import open_session
from edgewright.quantize.mixed import block_sensitivity, compose
from edgewright.vision.preprocess import batch

from ..conftest import Tiny

KINDS = [("openvino", "round"), ("openvino", "nncf"), ("ort-x86", "round"), ("tensorrt", "minmax")]


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def made(request: pytest.FixtureRequest, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    scheme, method = request.param
    folder = tmp_path_factory.mktemp(f"{scheme}-{method}")
    quantize.quantize(
        quantize.QuantizeRequest(model=str(tiny.model), images=tiny.images[:40]), scheme, method, str(folder)
    )
    return folder, scheme


def answers(model: onnx.ModelProto, tiny: Tiny) -> np.ndarray:
    session = open_session(model, 1)
    return np.concatenate([session.run(None, {"images": batch([path], tiny.spec)})[0] for path in tiny.images[80:]])


def quantized_layers(model: onnx.ModelProto) -> set[str]:
    initial = {tensor.name for tensor in model.graph.initializer}
    weights = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in initial}
    return {n.name for n in model.graph.node if n.op_type in ("Conv", "Gemm") and n.input[1] in weights}


def test_all_float_is_the_float_model_and_no_float_the_int8_file(made: tuple[Path, str], tiny: Tiny) -> None:
    folder, name = made
    scheme = schemes.get(name)
    exact, whole = compose.load(folder, tiny.model)
    every = {node.name for node in exact.graph.node}
    assert np.array_equal(answers(compose.compose(exact, whole, every, scheme), tiny), answers(exact, tiny))
    same, int8 = answers(compose.compose(exact, whole, (), scheme), tiny), answers(whole, tiny)
    noise = np.abs(int8 - answers(exact, tiny)).max()
    assert np.abs(same - int8).max() <= 0.5 * noise  # but for a pair on the answers, which mixed precision leaves out


def test_mixed_precision_is_written_with_what_stayed_in_float(
    made: tuple[Path, str], tiny: Tiny, tmp_path: Path
) -> None:
    folder, scheme = made
    compose.build(str(folder), str(tiny.model), ["conv2"], tiny.images[:40], str(tmp_path))
    mixed = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(mixed, full_check=True)
    assert quantized_layers(mixed) == quantized_layers(onnx.load(folder / "model.onnx")) - {"conv2", "conv3"}
    provenance = msgspec.json.decode((tmp_path / "provenance.json").read_bytes())
    assert {"conv2", "relu2", "conv3", "add"} <= set(provenance["float_nodes"])
    assert provenance["scheme"] == scheme


def test_nodes_that_a_method_put_in_are_refused(made: tuple[Path, str], tiny: Tiny) -> None:
    folder, name = made
    exact, whole = compose.load(folder, tiny.model)
    whole.graph.node.append(onnx.helper.make_node("Mul", ["logits", "logits"], ["more"], "smooth"))
    with pytest.raises(RuntimeFailed, match="smooth"):
        compose.compose(exact, whole, (), schemes.get(name))


def test_sensitivity_of_blocks_and_layers(
    made: tuple[Path, str], tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A figure is what a whole run of the mixed file gives, though only what comes behind the block was computed."""
    folder, name = made
    scheme = schemes.get(name)
    monkeypatch.setattr(block_sensitivity, "IMAGES", 40)
    block_sensitivity.measure(str(tiny.model), str(folder), tiny.images[:40], str(tmp_path))
    found = block_sensitivity.read(tmp_path)
    assert [row.block.layers for row in found.layers] == [("conv1",), ("conv2",), ("conv3",), ("head",)]
    assert [row.block.layers for row in found.blocks] == [("conv1",), ("conv2", "conv3"), ("head",)]
    exact, whole = compose.load(folder, tiny.model)
    every, repaired = {node.name for node in exact.graph.node}, compose.repairs(folder)
    session = open_session(exact, 1)
    images = [batch([path], tiny.spec) for path in tiny.images[:40]]
    right = np.concatenate([session.run(None, {"images": x})[0] for x in images])
    for row in (*found.layers, found.blocks[1]):
        for nodes, told in ((every - {*row.block.nodes}, row.alone), ({*row.block.nodes}, row.others)):
            session = open_session(compose.compose(exact, whole, nodes, scheme, told is row.others or not repaired), 1)
            wrong = np.concatenate([session.run(None, {"images": x})[0] for x in images])
            assert told.sqnr_db == pytest.approx(
                block_sensitivity.compare([right], [wrong], tiny.spec).sqnr_db, abs=0.5
            )
    assert all(row.alone.sqnr_db > found.whole.sqnr_db - 1 for row in found.layers)  # its bias is not repaired
