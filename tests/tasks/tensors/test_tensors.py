"""The task of any inputs and outputs: description, feeds, scores, what stays in float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import parser

import edgewright
from edgewright import api
from edgewright.bench import budget
from edgewright.core import samples
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess, TensorInput, inconsistency
from edgewright.export.exporter import ExportRequest, export
from edgewright.graph import names
from edgewright.tasks.classify.spec import Classify
from edgewright.tasks.tensors import decode, metric, protect
from edgewright.tasks.tensors.spec import Tensors
from edgewright.vision import feeds

TWO = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[N,3,8,8] image, float[N,2] point, int64[3] order) => (float[N,5] a, int64[N] best, float[M] t)
<float[2,5] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}>
{
  m = MatMul (point, w) p = GlobalAveragePool (image) q = Flatten (p) s = Gather <axis = 1> (q, order)
  one = ReduceMean <axes = [1], keepdims = 1> (s) a = Add (m, one) best = ArgMax <axis = 1, keepdims = 0> (a)
  f = Cast <to = 1> (order) t = Relu (f)
}
"""
TOML = """
task = "tensors"
[inputs.image.preprocess]
resize = "exact"
resize_to = [8, 8]
"""


def _two(folder: Path) -> Path:
    path = folder / "two.onnx"
    path.write_bytes(parser.parse_model(TWO).SerializeToString())
    path.with_suffix(".toml").write_text(TOML)
    return path


def _sample(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "image": random.integers(0, 256, (8, 8, 3), np.uint8), "point": random.normal(size=2).astype(np.float32),
        "order": np.array([2, 0, 1]),
    }  # fmt: skip


def test_any_inputs_and_outputs_are_exported_and_answered(tmp_path: Path) -> None:
    for k in range(3):
        samples.write(tmp_path / f"{k}.npz", _sample(k))
    spec = export(str(_two(tmp_path)), tmp_path / "out", ExportRequest(images=[str(tmp_path / "0.npz")]))
    kinds = [(type(one), one.name, one.shape(1)) for one in spec.inputs]
    assert kinds == [(Input, "image", (1, 3, 8, 8)), (TensorInput, "point", (1, 2)), (TensorInput, "order", (3,))]
    section: Any = spec.task
    assert section.shapes == ((5,), (), (3,)) and section.dtypes == ("float32", "int64", "float32")
    assert spec.batch == 1 and spec.outputs == ("a", "best", "t")
    api.compile(tmp_path / "out/model.onnx", out=tmp_path / "m.edge", runtime="onnxruntime")
    given = _sample(1)
    x = (given["image"].astype(np.float32) / 255).transpose(2, 0, 1)[None]
    evaluator = onnx.reference.ReferenceEvaluator(str(tmp_path / "two.onnx"))
    wanted = evaluator.run(None, {"image": x, "point": given["point"][None], "order": given["order"]})
    with edgewright.open(tmp_path / "m.edge") as session:
        for source in (given, tmp_path / "1.npz", str(tmp_path / "1.npz")):
            found = session(source)
            assert np.allclose(found["a"], wanted[0][0], atol=1e-5) and found["best"] == wanted[1][0]
        assert [len(one.arrays) for one in session([given, tmp_path / "2.npz"])] == [3, 3]
        raw = session.run(x, given["point"][None], given["order"])
        assert np.allclose(raw[0], wanted[0], atol=1e-5)
        with pytest.raises(InvalidInput, match="no array 'point'"):
            session({"image": given["image"], "order": given["order"]})
        with pytest.raises(InvalidInput, match=r"shape \(3,\) for the input 'point'"):
            session({**given, "point": np.zeros(3, np.float32)})
        with pytest.raises(InvalidInput, match="cannot hold these values"):
            session({**given, "order": np.array([0.5, 1, 2])})
        with pytest.raises(InvalidInput, match="takes arrays: 'image'"):
            session(given["image"])
        (content,) = found.files().values()
        (tmp_path / "answer.npz").write_bytes(content)
        assert samples.read(tmp_path / "answer.npz").keys() == {"a", "best", "t"}


def test_open_sizes_come_from_the_description_or_a_sample(tmp_path: Path) -> None:
    path = tmp_path / "open.onnx"
    path.write_bytes(
        parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17]> g (float[N,L,4] x) => (float[N,L,4] y) { y = Tanh (x) }
    """).SerializeToString()
    )
    toml = path.with_suffix(".toml")
    toml.write_text('task = "tensors"')
    with pytest.raises(InvalidInput, match="'x' leaves a size open"):
        export(str(path), tmp_path / "none")
    np.savez(tmp_path / "one.npz", x=np.zeros((6, 4), np.float32))
    spec = export(str(path), tmp_path / "sample", ExportRequest(images=[str(tmp_path / "one.npz")]))
    assert spec.inputs[0].shape(1) == (1, 6, 4)
    toml.write_text('task = "tensors"\n[inputs.x]\nshape = [5, 4]')
    assert export(str(path), tmp_path / "told").inputs[0].shape(1) == (1, 5, 4)
    toml.write_text('task = "tensors"\n[inputs.z]\nshape = [5, 4]')
    with pytest.raises(InvalidInput, match="has the input 'z'"):
        export(str(path), tmp_path / "wrong")


def test_a_torch_module_of_several_inputs_and_named_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets_of_tensors.py").write_text("""
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Linear(4, 3)
    def forward(self, x, y):
        return {"sum": self.mix(x + y), "both": (x * y, None)}
""")
    monkeypatch.chdir(tmp_path)
    toml = tmp_path / "net.toml"
    toml.write_text('task = "tensors"\nname = "net"\n[inputs.x]\nshape = [4]\n[inputs.y]\nshape = [4]\n')
    spec = export("torch:nets_of_tensors.py:Net", tmp_path / "out", ExportRequest(spec_file=str(toml), batch=None))
    assert spec.outputs == ("sum", "both_0") and spec.batch is None
    assert [one.name for one in spec.inputs] == ["x", "y"]
    toml.write_text('task = "tensors"\nname = "net"\n[inputs.x]\nshape = [4]\n')
    with pytest.raises(InvalidInput, match="fails on zeros"):
        export("torch:nets_of_tensors.py:Net", tmp_path / "again", ExportRequest(spec_file=str(toml)))


def test_a_model_of_unknown_task_is_offered_this_one(tmp_path: Path) -> None:
    path = tmp_path / "map.onnx"
    path.write_bytes(
        parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17]> g (float[1,3,8,8] x) => (float[1,1,8,8] y)
    { y = ReduceMean <axes = [1]> (x) }
    """).SerializeToString()
    )
    with pytest.raises(InvalidInput) as caught:
        export(str(path), tmp_path / "out")
    assert 'task = "segment"' in caught.value.fix and 'task = "tensors"' in caught.value.fix


SPEC = ModelSpec(
    name="m", inputs=(TensorInput(name="x", dims=(2,)),), outputs=("a", "b", "n"),
    task=Tensors(shapes=((4,), (2,), (2,)), dtypes=("float32", "float32", "int64")),
)  # fmt: skip


def _rows(seed: int, count: int = 12) -> np.ndarray:
    random = np.random.default_rng(seed)
    outputs = [1000 * random.normal(size=(count, 4)), random.normal(size=(count, 2)), random.integers(0, 9, (count, 2))]
    return decode.rows(outputs, SPEC, [], [str(k) for k in range(count)], 0)


def test_no_output_hides_another(tmp_path: Path) -> None:
    exact = _rows(0)
    found = exact.copy()
    found[:, 4:6] *= 1.1
    accuracy = metric.compare(found, exact, (), SPEC)
    assert accuracy.score == pytest.approx(20, abs=0.5) and accuracy.primary == "sqnr"
    assert accuracy.scores["sqnr a"].value == 100 and accuracy.scores["cosine"].value == pytest.approx(1)
    (drift,) = metric.drifts(found, exact, SPEC)
    assert drift.value == pytest.approx(0.1, abs=1e-3) and "'b'" in drift.text
    assert metric.compare(exact, exact, (), SPEC).score == 100
    changed = exact.copy()
    changed[:, 6] += 1
    assert metric.compare(changed, exact, (), SPEC).score == pytest.approx(-10 * np.log10(0.5))


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("sqnr >= 10 dB", "proven"), ("sqnr >= 25 dB", "outside"), ("cosine >= 0.9999", "outside"),
        ("sqnr >= 10 @95%", "proven"),
    ],
)  # fmt: skip
def test_budgets_of_fidelity(text: str, state: str) -> None:
    exact = _rows(0)
    found = exact + np.random.default_rng(1).normal(size=exact.shape).astype(np.float32) * [50] * 1
    found[:, 4:] = exact[:, 4:]
    found[:, :4] = exact[:, :4] + 0.1 * np.roll(exact[:, :4], 1, axis=1)
    assert budget.standing(metric.compare(found, exact, (), SPEC), budget.parse(text)) == state


def test_other_tasks_take_one_image() -> None:
    several = (Input(name="a", height=8, width=8, preprocess=Preprocess(resize="none")), TensorInput(name="n", dims=()))
    spec = ModelSpec(name="m", inputs=several, task=Classify(classes=2))
    assert "takes one image" in inconsistency(spec)
    with pytest.raises(InvalidInput, match="takes no image"):
        _ = SPEC.input


def test_a_batch_joins_samples_and_keeps_inputs_without_a_batch_axis() -> None:
    spec = ModelSpec(
        name="m", inputs=(TensorInput(name="x", dims=(2,)), TensorInput(name="t", dims=(), batched=False)),
        task=Tensors(),
    )  # fmt: skip
    (x, t) = feeds.batch([{"x": np.ones(2, np.float32), "t": np.float32(3)}], spec)
    assert x.shape == (1, 2) and t.shape == () and spec.batch == 1


def test_coordinates_and_their_readers_stay_in_float() -> None:
    model = parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[1,3,8,8] x) => (float[1,4,8,8] y)
    <float[2,3,3,3] w, float[8,5,3,3] v, float[4,8,3,3] u>
    {
      flow = Conv <pads = [1, 1, 1, 1]> (x, w) grid = Transpose <perm = [0, 2, 3, 1]> (flow)
      moved = GridSample (x, grid) both = Concat <axis = 1> (moved, flow)
      h = Conv <pads = [1, 1, 1, 1]> (both, v) r = Relu (h) y = Conv <pads = [1, 1, 1, 1]> (r, u)
    }
    """)
    random = np.random.default_rng(0)
    for tensor in list(model.graph.initializer):
        tensor.CopyFrom(onnx.numpy_helper.from_array(random.normal(size=tensor.dims).astype(np.float32), tensor.name))
    names.name_nodes(model)
    kept = {node.output[0] for node in model.graph.node if node.name in protect.nodes(model)}
    assert {"flow", "grid", "both", "h"} <= kept and "r" not in kept
