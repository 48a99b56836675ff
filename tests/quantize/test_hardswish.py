"""HardSwish stands in for SiLU: near it, for as much of the network as is asked, least loss first."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from edgewright.core.spec import ModelSpec
from edgewright.graph import files, metadata
from edgewright.quantize import hardswish
from edgewright.quantize.calibration import sessions
from edgewright.tasks.classify.loss import divergence
from edgewright.vision.preprocess import batch

WIDTH = 12


def net(spec: ModelSpec, layers: int = 4) -> onnx.ModelProto:
    """images -> convolutions, each with a SiLU behind it -> pooled logits."""
    rng = np.random.default_rng(0)
    nodes, values, x, channels = [], {}, "images", 3
    for k in range(layers):
        values[f"w{k}"] = rng.normal(size=(WIDTH, channels, 3, 3)) / np.sqrt(3 * channels)
        values[f"b{k}"] = rng.normal(size=WIDTH)
        nodes += [
            helper.make_node("Conv", [x, f"w{k}", f"b{k}"], [f"c{k}"], f"conv{k}", pads=[1, 1, 1, 1]),
            helper.make_node("Sigmoid", [f"c{k}"], [f"g{k}"], f"gate{k}"),
            helper.make_node("Mul", [f"g{k}", f"c{k}"] if k % 2 else [f"c{k}", f"g{k}"], [f"s{k}"], f"silu{k}"),
        ]
        x, channels = f"s{k}", WIDTH
    values |= {"w": rng.normal(size=(4, WIDTH, 1, 1)), "b": np.zeros(4)}
    nodes += [
        helper.make_node("Conv", [x, "w", "b"], ["maps"], "last"),
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["logits"], "flatten"),
    ]
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    metadata.set_spec(model, spec)
    return model


class Case(msgspec.Struct):
    model: Path
    fitted: Path
    images: list[str]
    spec: ModelSpec

    def put(self, share: float, folder: Path) -> onnx.ModelProto:
        folder.mkdir()
        hardswish.put(str(self.model), self.images[:96], str(self.fitted), share, str(folder))
        return files.load(folder / "model.onnx")

    def answers(self, model: onnx.ModelProto) -> np.ndarray:
        session = sessions.open_session(model)
        return np.concatenate([session.run(None, {"images": batch([x], self.spec)})[0] for x in self.images[-24:]])

    def loss(self, model: onnx.ModelProto) -> float:
        exact = self.answers(files.load(self.model))
        return divergence([exact], [self.answers(model)], self.spec)


@pytest.fixture(scope="module")
def case(tiny, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("hardswish")
    spec = tiny.spec
    files.save(net(spec), folder / "model.onnx")
    hardswish.fit(str(folder / "model.onnx"), tiny.images[:96], str(folder))
    return Case(folder / "model.onnx", folder, tiny.images, spec)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_a_share_of_the_values_is_replaced_and_the_rest_stays(case: Case, tmp_path: Path) -> None:
    for share, count in ((0.25, 1), (0.5, 2), (1.0, 4)):
        found = operators(case.put(share, tmp_path / f"{count}"))
        assert (found.count("HardSwish"), found.count("Sigmoid")) == (count, 4 - count)


def test_the_fit_is_nearer_than_a_plain_hardswish(case: Case, tmp_path: Path) -> None:
    fitted = case.put(1.0, tmp_path / "fitted")
    plain = net(case.spec)
    for k in range(4):
        one = np.stack([np.full(WIDTH, value, np.float32) for value in (1, 0, 1, 0)])
        plain = hardswish.replaced(plain, {f"s{k}": one})
    assert case.loss(fitted) < case.loss(plain) / 5


def test_those_that_lose_least_come_first(case: Case) -> None:
    fits = load_file(case.fitted / hardswish.WEIGHTS)
    alone = {name: case.loss(hardswish.replaced(files.load(case.model), {name: fit})) for name, fit in fits.items()}
    order = [f.name for f in hardswish.read_fitted(case.fitted).functions]
    assert min(alone, key=alone.__getitem__) == order[0]  # on images that the order was not found on


def test_the_nearest_is_as_near_as_any_other_that_is_looked_for() -> None:
    from scipy.optimize import minimize

    x = np.random.default_rng(0).normal(-0.5, 1.5, (3, 2000)).astype(np.float32)

    def error(p: np.ndarray, row: np.ndarray) -> float:
        y = p[0] * row + p[1]
        return float(np.square(p[2] * y * np.clip(y / 6 + 0.5, 0, 1) + p[3] - row / (1 + np.exp(-row))).mean())

    for p, row in zip(hardswish.nearest(x).T, x):
        best = minimize(error, [1, 0, 1, 0], (row,), method="Nelder-Mead", options={"maxiter": 4000}).fun
        assert error(p, row) < 1.1 * best + 1e-6


def test_a_value_that_is_read_elsewhere_keeps_its_silu(case: Case, tmp_path: Path) -> None:
    model = net(case.spec)
    model.graph.output.append(helper.make_tensor_value_info("c2", TensorProto.FLOAT, [1, WIDTH, 16, 16]))
    found = hardswish.find(model)
    assert [silu.name for silu in found] == ["s0", "s1", "s3"]


def test_a_model_without_silu_has_nothing_to_replace(tiny, tmp_path: Path) -> None:
    hardswish.fit(str(tiny.model), tiny.images[:40], str(tmp_path))
    found = hardswish.read_fitted(tmp_path)
    assert not found.functions and not found.chosen(1.0)
