"""Float, half precision, quantized already: every command says the same of a file, and none quantizes it twice."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from edgewright import api
from edgewright.bench import audit
from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.pipeline.recipe import Recipe
from edgewright.runtimes import artifact, bundle

SPEC = """\
name = "m"
classes = 3
labels = ["red", "green", "blue"]
[preprocess]
resize = "exact"
resize_to = [16, 16]
mean = [0.5, 0.5, 0.5]
std = [0.2, 0.2, 0.2]
"""


def _made() -> Any:
    path = Path(__file__).parent.parent / "graph" / "foreign_models.py"
    spec = importlib.util.spec_from_file_location("foreign_models", path)
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    sys.modules["foreign_models"] = found
    spec.loader.exec_module(found)
    return found


made = _made()
INT8 = [kind for kind, (label, _) in made.KINDS.items() if label == "int8"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split in ("calib", "val"):
        for label, name in enumerate(("red", "green", "blue")):
            (folder / split / name).mkdir(parents=True)
            for index in range(12):
                pixels = random.integers(0, 120, (16, 16, 3), dtype=np.uint8)
                pixels[:, :, label] += 100
                Image.fromarray(pixels).save(folder / split / name / f"{index}.png")
    return folder


def export(kind: str, folder: Path) -> tuple[Path, list[str]]:
    """The file of `kind`, exported; and what the export noted."""
    (folder / "m.toml").write_text(SPEC)
    onnx.save(made.KINDS[kind][1](folder), folder / "m.onnx")
    parity = api.export(str(folder / "m.onnx"), out=folder / "exported.onnx")
    return folder / "exported.onnx", list(parity["notes"])


@pytest.mark.parametrize("kind", [kind for kind in made.KINDS if kind.startswith(("bf16", "f64"))])
def test_what_was_made_float32_is_said_and_not_compared_with_the_file_as_it_was(kind: str, tmp_path: Path) -> None:
    _, notes = export(kind, tmp_path)
    assert any("it is FP32 now" in note for note in notes), notes
    parity = api.export(str(tmp_path / "m.onnx"), out=tmp_path / "again.onnx")
    assert "rewritten" in parity["reference"]


@pytest.mark.parametrize("kind", made.KINDS)
def test_export_compile_and_quantize_agree_on_what_a_file_is(kind: str, tmp_path: Path, data: Path) -> None:
    label = made.KINDS[kind][0]
    model, notes = export(kind, tmp_path)
    assert any(note.startswith("Already in INT8: 4 of 4 layers") for note in notes) == (label == "int8"), notes
    api.compile(model, out=tmp_path / "m.edge", runtime="onnxruntime")
    assert artifact.read(tmp_path / "m.edge").precision == label
    how: dict[str, Any] = {"calibration": data / "calib", "scheme": "ort-x86-vnni", "method": "minmax"}
    if label == "int8":
        with pytest.raises(InvalidInput, match=r"already quantized: it has 8 QuantizeLinear"):
            api.quantize(model, out=tmp_path / "q.onnx", **how)
        return
    api.quantize(model, out=tmp_path / "q.onnx", **how)
    api.compile(tmp_path / "q.onnx", out=tmp_path / "q.edge", runtime="onnxruntime")
    assert artifact.read(tmp_path / "q.edge").precision == "int8"


@pytest.mark.parametrize("kind", ["qdq-u8", pytest.param("qoperator-u8", marks=pytest.mark.slow), "f16"])
def test_optimize_and_audit_agree_on_what_a_file_is(kind: str, tmp_path: Path, data: Path) -> None:
    label = made.KINDS[kind][0]
    model, _ = export(kind, tmp_path)
    recipe = Recipe(runtimes=("onnxruntime",), normalize=("host",), finalists=0, min_duration_s=0.1, min_count=5)
    if label != "int8":
        recipe = Recipe(**{name: getattr(recipe, name) for name in recipe.__struct_fields__} | {"methods": ("minmax",)})
    out = api.optimize(str(model), data=data, out=tmp_path / "out", recipe=recipe, budget="agreement >= 50%")
    rows = {row.id: row for row in out.report.measurements}
    reference = out.report.reference
    assert reference and reference.precision == label
    if label == "int8":
        assert [*rows] == ["onnxruntime-int8"] and rows["onnxruntime-int8"].precision == "int8"
        assert "already quantized (4 of 4 layers in INT8)" in (reference.why or "")
        assert out.best and artifact.read(out.best.path).precision == "int8"
    else:
        assert {row.precision for row in rows.values()} == {"f32", "int8"}
    found = api.audit(model, data=data, runtime="onnxruntime", num_images=8)
    census = next(one for one in (*found.findings, *found.passed) if one.code == "census")
    assert census.level == "ok" and ("int8" in census.text) == (label == "int8")


def test_other_verbs_that_need_a_float_model_name_the_operator(tmp_path: Path, data: Path) -> None:
    model, _ = export("qoperator", tmp_path)
    with pytest.raises(InvalidInput, match="already quantized: it has 8 QuantizeLinear"):
        api.sensitivity(str(model), data=data)
    with pytest.raises(InvalidInput, match="already quantized: it has 8 QuantizeLinear"):
        recipe = Recipe(methods=("minmax",))
        api.optimize(str(model), data=data, out=tmp_path / "out", recipe=recipe, budget="agreement >= 50%")


def test_an_int8_file_for_another_device_keeps_its_name(tmp_path: Path) -> None:
    model, _ = export("qdq-u8", tmp_path)
    api.compile(model, out=tmp_path / "far.edge", target="raspberry-pi-5")
    assert not artifact.read(tmp_path / "far.edge").described
    assert artifact.read(tmp_path / "far.edge").precision == "int8"
    assert bundle.verify(tmp_path / "far.edge").artifact.precision == "f32"  # of what is not quantized


def test_a_network_that_the_scheme_leaves_in_float_is_no_int8_file(tmp_path: Path, data: Path) -> None:
    narrow = made.network()
    random = np.random.default_rng(0)
    for tensor in narrow.graph.initializer:
        shape = [min(side, 3) if index < 2 else side for index, side in enumerate(tensor.dims)]
        tensor.CopyFrom(onnx.numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), tensor.name))
    pool = next(node for node in narrow.graph.node if node.op_type == "Gemm")
    pool.op_type, pool.input[:] = "Identity", pool.input[:1]
    del pool.attribute[:]
    (tmp_path / "m.toml").write_text(SPEC)
    onnx.save(narrow, tmp_path / "m.onnx")
    api.export(str(tmp_path / "m.onnx"), out=tmp_path / "e.onnx")
    with pytest.raises(RuntimeFailed, match="Only 0 of 0 layers") as caught:
        api.quantize(tmp_path / "e.onnx", calibration=data / "calib", out=tmp_path / "q.onnx", scheme="tensorrt")
    assert "16 channels" in (caught.value.why or "") and not (tmp_path / "q.onnx").exists()


@pytest.mark.parametrize(
    ("asked", "ran", "level"),
    [
        ({"int8": 1, "f32": 19}, {"int8": 1, "f32": 19}, "warning"),
        ({"int8": 19, "f32": 1}, {"int8": 19, "f32": 1}, "ok"),
        ({"int8": 20}, {"int8": 9, "f32": 11}, "warning"), ({"int8": 20}, {"int8": 19, "f32": 1}, "warning"),
        ({"f32": 20}, {"f32": 20}, "ok"),
    ],
)  # fmt: skip
def test_the_audit_counts_what_could_have_been(asked: dict[str, int], ran: dict[str, int], level: str) -> None:
    found = audit.census(asked, {"layers": ran, "reorders": 2})
    assert found.level == level
    if asked.get("int8") and 2 * ran["int8"] < 20:
        assert found.text.startswith(f"{ran['int8']} of 20 layers run in INT8")
