"""The main job for a detector, whole: an ONNX file from elsewhere, COCO annotations, a bundle that gives boxes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import edgewright
from edgewright import api
from edgewright.cli.main import run_command
from edgewright.core.errors import InvalidInput, UsageError
from edgewright.pipeline.recipe import Recipe
from edgewright.tasks import scores

SPEC = """\
name = "squares"
task = "detect"
classes = 2
labels = ["red", "blue"]
[input]
height = 64
width = 64
[preprocess]
resize = "letterbox"
resize_to = [64, 64]
interpolation = "opencv"
[detect]
decoder = "yolox"
strides = [16]
"""
RECIPE = Recipe(
    effort="thorough",
    runtimes=("onnxruntime",), methods=("minmax",), normalize=("host",), calibration_images=32, min_duration_s=0.1,
    min_count=20,
)  # fmt: skip


def squares() -> onnx.ModelProto:
    """A detector of red and blue squares that fill a cell of a 4x4 grid: colours averaged, weights set by hand."""
    node = helper.make_node
    mix = np.zeros((6, 3, 3, 3), np.float32)
    for channel in range(3):
        mix[channel, channel, 1, 1] = mix[channel + 3, channel, 1, 1] = 1
    read = np.zeros((7, 6, 1, 1), np.float32)
    bias = np.array([0.5, 0.5, 0, 0, -6, -6, -6], np.float32)  # the cell's middle, its size; objectness and classes
    read[4, 0], read[4, 2], read[4, 1] = 16, 16, -16
    read[5, 3], read[5, 2], read[6, 5], read[6, 0] = 16, -8, 16, -8
    nodes = [
        node("Conv", ["images", "mix"], ["mixed"], "mix", pads=[1, 1, 1, 1]),
        node("Relu", ["mixed"], ["positive"], "relu"),
        node("AveragePool", ["positive"], ["cells"], "pool", kernel_shape=[16, 16], strides=[16, 16]),
        node("Conv", ["cells", "read", "bias"], ["head"], "head"),
        node("Reshape", ["head", "flat"], ["rows"], "reshape"),
        node("Transpose", ["rows"], ["raw"], "transpose", perm=[0, 2, 1]),
        node("Split", ["raw", "parts"], ["boxes", "logits"], "split", axis=2),
        node("Sigmoid", ["logits"], ["scores"], "sigmoid"),
        node("Concat", ["boxes", "scores"], ["answer"], "concat", axis=2),
    ]
    constants = {
        "mix": mix, "read": read, "bias": bias, "flat": np.array([1, 7, 16]), "parts": np.array([4, 3])
    }  # fmt: skip
    graph = helper.make_graph(
        nodes, "squares",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 16, 7])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def write_scenes(folder: Path, count: int, seed: int) -> Path:
    """Images of 128x64 pixels with squares of 32 pixels (half as wide after letterboxing), and their annotations."""
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(seed)
    images, boxes = [], []
    for number in range(count):
        pixels = random.integers(0, 40, (64, 128, 3), dtype=np.uint8)
        for cell in random.choice(8, random.integers(0, 4), replace=False):
            x, y, label = 32 * int(cell % 4), 32 * int(cell // 4), int(random.integers(2))
            pixels[y : y + 32, x : x + 32] = (230, 20, 20) if label == 0 else (20, 20, 230)
            boxes.append({
                "id": len(boxes) + 1, "image_id": number, "category_id": label + 1, "bbox": [x, y, 32, 32],
                "area": 1024, "iscrowd": 0,
            })  # fmt: skip
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 128, "height": 64})
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def job(tmp_path: Path) -> Path:
    onnx.save(squares(), tmp_path / "squares.onnx")
    (tmp_path / "squares.toml").write_text(SPEC)
    write_scenes(tmp_path / "val", 40, 0)
    write_scenes(tmp_path / "calib", 40, 1)
    return tmp_path


def optimize(job: Path, **more: object) -> api.Outcome:
    options = {"data": job / "val", "calibration": job / "calib", "out": job / "out", "recipe": RECIPE, **more}
    return api.optimize(str(job / "squares.onnx"), **options)  # type: ignore[arg-type]


def test_a_detector_becomes_a_measured_bundle_that_answers_with_boxes(
    job: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report = optimize(job).report
    assert report.model.task == "detect" and report.budget == "map >= -1.0, confidence <= 0.02"
    assert report.reference is not None and report.reference.accuracy is not None
    assert report.reference.accuracy.score == pytest.approx(100, abs=0.1)
    int8 = next(m for m in report.measurements if m.precision == "int8")
    assert int8.accuracy is not None and int8.accuracy.delta is not None and int8.accuracy.confidence is not None
    assert int8.accuracy.score is not None and int8.accuracy.score > 95
    assert int8.accuracy.confidence.verdict == "kept"
    assert report.chosen is not None
    benched = api.bench([job / "out/squares.edge"], data=job / "val", out=job / "bench", recipe=RECIPE).report
    assert benched.reference is not None and benched.chosen is not None
    for one in (report.reference, int8, benched.reference, benched.chosen):
        assert one.accuracy is not None and one.accuracy.contributions is not None
        assert scores.unpack(one.accuracy.contributions).mean() == pytest.approx(one.accuracy.score, abs=0.01)
    words = ["gate", str(job / "bench"), "--baseline", str(job / "out")]
    assert run_command([*words, "--compare", "accuracy"]) == 0, "the same model on the same images"
    page = (job / "out" / "report.html").read_text()
    # Float answers exactly as the reference, so that there is no difference to show; INT8 moves scores.
    assert ("data:image/jpeg;base64" in page) == (report.chosen.precision == "int8")
    assert "mAP 50-95" in page and "mAP" in (job / "out" / "report.md").read_text()

    scene = np.zeros((64, 128, 3), np.uint8)
    scene[32:, 96:] = (230, 20, 20)
    with edgewright.open(job / "out" / "squares.edge") as session:
        (found,) = session(scene)
    assert found.label == "red"
    assert found.box == pytest.approx((96, 32, 128, 64), abs=1)

    Image.fromarray(scene).save(job / "scene.png")
    capfd.readouterr()
    words = ["run", str(job / "out/squares.edge"), str(job / "scene.png"), "--save-images", str(job / "drawn")]
    assert run_command([*words, "--json"]) == 0
    (answer,) = json.loads(capfd.readouterr().out)
    assert [box["label"] for box in answer["boxes"]] == ["red"]
    drawn = np.asarray(Image.open(job / "drawn" / "scene.png"))
    assert drawn.shape == scene.shape and (drawn != scene).any()


def test_a_metric_of_classifiers_is_refused(job: Path) -> None:
    with pytest.raises(UsageError, match="top1 is not a metric"):
        optimize(job, budget="top1 >= -1.0")
    assert not (job / "out").exists()


def test_outputs_without_a_named_decoder_say_what_was_found_and_what_to_write(job: Path) -> None:
    (job / "squares.toml").write_text(SPEC.replace('task = "detect"\n', "").partition("[detect]")[0])
    with pytest.raises(InvalidInput) as caught:
        optimize(job)
    assert "'answer' [1, 16, 7]" in caught.value.what
    assert 'task = "detect"' in caught.value.fix and "yolox" in caught.value.fix


def test_a_wrong_decoder_is_named(job: Path) -> None:
    (job / "squares.toml").write_text(SPEC.replace('"yolox"', '"end2end"'))
    with pytest.raises(InvalidInput, match="shape"):
        optimize(job)
    assert not (job / "out").exists()


def test_boxes_for_a_classifier_and_classes_for_a_detector_are_refused(job: Path) -> None:
    for label in ("red", "blue"):
        (job / "folders" / label).mkdir(parents=True)
        for path in sorted((job / "val" / "images").iterdir())[:5]:
            (job / "folders" / label / f"{label}-{path.name}").write_bytes(path.read_bytes())
    with pytest.raises(InvalidInput, match="needs boxes"):
        optimize(job, data=job / "folders")
