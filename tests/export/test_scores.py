"""Probabilities are taken as such, vectors that nobody describes are asked about, and a description has to fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import parser

import edgewright
from edgewright import api
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.export.exporter import export
from edgewright.tasks.classify.spec import of

TOML = """
classes = 4
[preprocess]
resize = "exact"
resize_to = [8, 8]
"""


def _model(path: Path, ending: str, shape: str = "N,4", opset: int = 17, kind: str = "float") -> Path:
    """A classifier of four classes by the mean colours; `ending` makes `y` out of the logits `l`."""
    first = "f = Cast <to = 1> (x)" if kind != "float" else "f = Identity (x)"
    model = parser.parse_model(f"""
    <ir_version: 8, opset_import: ["" : {opset}]>
    g ({kind}[N,3,8,8] x) => (float[{shape}] y)
    <float[3,4] w = {{4, -1, 0.5, -2, 1, 3, -1.5, 0.2, -2, 1, 2, 5}}, float[4] b = {{0.1, -0.2, 0, -0.4}},
     int64[4] four = {{0, 4, 1, 1}}, float tenth = {{0.1}}>
    {{ {first} p = GlobalAveragePool (f) q = Flatten (p) l = Gemm (q, w, b) {ending} }}
    """)
    path.write_bytes(model.SerializeToString())
    return path


def _export(path: Path, toml: str = TOML) -> ModelSpec:
    path.with_suffix(".toml").write_text(toml)
    return export(str(path), path.parent / "out")


@pytest.mark.parametrize(
    "ending",
    [
        "y = Softmax <axis = 1> (l)", "s = Softmax <axis = 1> (l) y = Identity (s)", "y = Sigmoid (l)",
        "r = Reshape (l, four) y = Softmax <axis = 1> (r)",
        # a softmax in parts, as old exporters write it: only the numbers show it
        "m = ReduceMax <axes = [1]> (l) d = Sub (l, m) e = Exp (d) s = ReduceSum (e, one) y = Div (e, s)",
    ],
)  # fmt: skip
def test_nothing_is_put_on_top_of_probabilities(ending: str, tmp_path: Path) -> None:
    shape = "N,4,1,1" if "four" in ending else "N,4"
    if "one" in ending:
        ending = f"one = Constant <value = int64[1] {{1}}> () {ending}"
    path = _model(tmp_path / "m.onnx", ending, shape)
    assert of(_export(path)).scores == "none"
    api.compile(tmp_path / "out/model.onnx", out=tmp_path / "m.edge", runtime="onnxruntime")
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    with edgewright.open(str(tmp_path / "m.edge")) as session:
        answer = session(image)
    x = (image.astype(np.float32) / 255).transpose(2, 0, 1)[None]
    (wanted,) = onnx.reference.ReferenceEvaluator(str(path)).run(None, {"x": x})
    assert {p.index: p.score for p in answer.top} == pytest.approx(dict(enumerate(wanted.ravel().tolist())), rel=1e-4)


def test_logits_get_a_softmax_and_a_log_softmax_too(tmp_path: Path) -> None:
    assert of(_export(_model(tmp_path / "a.onnx", "y = Identity (l)"))).scores == "softmax"
    assert of(_export(_model(tmp_path / "b.onnx", "y = LogSoftmax <axis = 1> (l)"))).scores == "softmax"


def test_one_logit_gets_a_sigmoid(tmp_path: Path) -> None:
    path = _model(tmp_path / "m.onnx", "y = ReduceSum <keepdims = 1> (l, one)", "N,1")
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "one"))
    onnx.save(model, path)
    assert of(_export(path, TOML.replace("classes = 4", "classes = 1"))).scores == "sigmoid"


def test_a_softmax_over_another_axis_is_refused(tmp_path: Path) -> None:
    path = _model(tmp_path / "m.onnx", "r = Reshape (l, four) y = Softmax <axis = 3> (r)", "N,4,1,1")
    with pytest.raises(InvalidInput, match="is not over its classes: the scores of an image add up to 4"):
        _export(path)


def test_percentages_are_refused(tmp_path: Path) -> None:
    path = _model(tmp_path / "m.onnx", "s = Softmax <axis = 1> (l) y = Div (s, tenth)")
    with pytest.raises(InvalidInput, match="add up to 10 for every image"):
        _export(path)


def test_old_shapes_of_inner_tensors_and_outputs_without_a_shape_are_inferred(tmp_path: Path) -> None:
    path = _model(tmp_path / "m.onnx", "y = Identity (l)")
    model = onnx.load(path)
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("p", 1, [7, 3, 9, 9]))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    assert _export(path).classes == 4


def test_numbers_that_could_be_either_are_asked_about(tmp_path: Path) -> None:
    path = _model(tmp_path / "m.onnx", "a = Abs (l) y = Mul (a, tenth)")
    with pytest.raises(InvalidInput, match=r"(?s)whether the outputs of m are probabilities.*scores = "):
        _export(path)
    assert not (tmp_path / "out/model.onnx").exists()
    for rule in ("softmax", "sigmoid", "none"):
        assert of(_export(path, f'{TOML}[postprocess]\nscores = "{rule}"')).scores == rule


def test_a_rule_that_the_user_wrote_is_kept_and_noted(tmp_path: Path) -> None:
    path = _model(tmp_path / "m.onnx", "y = Softmax <axis = 1> (l)")
    assert of(_export(path, f'{TOML}[postprocess]\nscores = "softmax"')).scores == "softmax"
    assert "puts softmax on top" in (tmp_path / "out/parity.json").read_text()


def test_a_vector_that_nothing_describes_is_no_classifier(tmp_path: Path) -> None:
    bare = TOML.replace("classes = 4", "")
    with pytest.raises(InvalidInput, match=r"(?s)meaning of the 4 numbers that m gives.*embedding.*classes = 4"):
        _export(_model(tmp_path / "m.onnx", "y = Identity (l)"), bare)
    with pytest.raises(
        InvalidInput, match="meaning of the 4 numbers"
    ):  # normalized to length 1, as face recognition has it
        _export(_model(tmp_path / "n.onnx", "y = LpNormalization <axis = 1> (l)"), bare)
    assert _export(_model(tmp_path / "s.onnx", "y = Softmax <axis = 1> (l)"), bare).classes == 4


@pytest.mark.parametrize("kind", ["uint8", "int32"])
def test_a_model_of_pixels_gets_the_pixels_as_they_are(tmp_path: Path, kind: str) -> None:
    path = _model(tmp_path / "m.onnx", "y = Identity (l)", kind=kind)
    spec = _export(path)
    assert (spec.input.dtype, spec.preprocess.normalize) == (kind, "graph")
    api.compile(tmp_path / "out/model.onnx", out=tmp_path / "m.edge", runtime="onnxruntime")
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    x = image.transpose(2, 0, 1)[None].astype(kind)
    (wanted,) = onnx.reference.ReferenceEvaluator(str(path)).run(None, {"x": x})
    with edgewright.open(str(tmp_path / "m.edge")) as session:
        assert session(image).index == wanted.argmax()
    with pytest.raises(InvalidInput, match=rf"(?s)has .preprocess. mean, but the model takes {kind}"):
        _export(path, TOML + "mean = [0.5, 0.5, 0.5]")


DETECTOR = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,8,8] x) => (float[1,7,5] y)
<int64[3] s = {1, 7, 5}, float[3,35] w>
{ p = GlobalAveragePool (x) q = Flatten (p) m = MatMul (q, w) t = %s (m) y = Reshape (t, s) }
"""
BOXES = """
task = "detect"
classes = 3
[preprocess]
resize = "letterbox"
resize_to = [8, 8]
[detect]
decoder = "boxes"
scores = "%s"
"""


def _detector(path: Path, function: str) -> Path:
    model = parser.parse_model(DETECTOR % function)
    w = np.random.default_rng(0).standard_normal((3, 35)).astype(np.float32) * 9
    del model.graph.initializer[:]
    model.graph.initializer.extend(
        [onnx.numpy_helper.from_array(w, "w"), onnx.numpy_helper.from_array(np.array([1, 7, 5]), "s")]
    )
    path.write_bytes(model.SerializeToString())
    return path


def test_a_detectors_description_has_to_fit_its_outputs(tmp_path: Path) -> None:
    path = _detector(tmp_path / "m.onnx", "Identity")
    assert _export(path, BOXES % "sigmoid").task.kind == "detect"
    with pytest.raises(InvalidInput, match=r'(?s)scores = "none".*are logits.*scores = "sigmoid"'):
        _export(path, BOXES % "none")
    with pytest.raises(InvalidInput, match=r'(?s)scores = "sigmoid".*are probabilities.*scores = "none"'):
        _export(_detector(tmp_path / "p.onnx", "Sigmoid"), BOXES % "sigmoid")
    with pytest.raises(InvalidInput, match=r"(?s)does not fit the outputs of .*\(\[N, 7, 5\]\).*boxes"):
        _export(path, (BOXES % "sigmoid").replace("classes = 3", "classes = 4"))
    yolov5 = (BOXES % "none").replace('"boxes"', '"yolov5"').replace("classes = 3", "classes = 4")
    wide = _detector(tmp_path / "w.onnx", "Identity")
    model = onnx.load(wide)
    model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.array([1, 35 // 9, 9]), "s"))
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0])[:, :27]
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "w"))
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, [1, 3, 9]))
    onnx.save(model, wide)
    with pytest.raises(InvalidInput, match="are logits"):
        _export(wide, yolov5)
    with pytest.raises(InvalidInput, match="does not fit the outputs"):
        _export(path, (BOXES % "sigmoid").replace('"boxes"', '"end2end"'))
