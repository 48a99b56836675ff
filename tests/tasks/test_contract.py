"""What every task gives: the main job, reports with its column, a gate that catches a worse artifact, answers, drawing.

The third one is a plug-in, installed as an outside package would be: no file of the product knows of it.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

pytestmark = pytest.mark.xdist_group("contract")  # so that a main job runs once
TESTS = Path(__file__).parent.parent
RECIPE = """\
runtimes = ["onnxruntime"]
methods = ["minmax"]
normalize = ["host"]
calibration_images = 32
min_duration_s = 0.1
min_count = 20
"""
CLASSIFIER = """\
name = "colours"
labels = ["red", "green", "blue"]
[input]
height = 16
width = 16
[preprocess]
resize = "exact"
resize_to = [16, 16]
[postprocess]
scores = "softmax"
"""
COLOUR = """\
name = "colours"
task = "colour"
[input]
height = 16
width = 16
[preprocess]
resize = "exact"
resize_to = [16, 16]
divide = 255.0
"""


class Case(NamedTuple):
    """A task with a model that does it well: the ONNX file, what makes its weights worse, its description, what
    writes its data into a folder, the heading of its column, what its answers say."""

    task: str
    model: Callable[[], onnx.ModelProto]
    worsen: Callable[[dict[str, np.ndarray]], Any]
    description: str
    data: Callable[[Path], Any]
    heading: str
    primary: str
    title: str
    says: str


def _load(path: str) -> Any:
    name = f"contract_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, TESTS / path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


tiny, squares = _load("tiny.py"), _load("e2e/test_detect.py")


def _classifier() -> onnx.ModelProto:
    """A convolution that keeps the colours, their means, and a layer that tells them apart."""
    return _network(4 * np.eye(8, 3, dtype=np.float32), "logits")


def _colours() -> onnx.ModelProto:
    """The mean of each colour, from 0 to 1."""
    return _network(np.eye(8, 3, dtype=np.float32), "colour")


def _network(head: np.ndarray, output: str) -> onnx.ModelProto:
    first = np.zeros((8, 3, 3, 3), np.float32)
    for channel in range(3):
        first[channel, channel, 1, 1] = 1
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Conv", ["images", "first"], ["mixed"], "conv", pads=[1, 1, 1, 1]),
        node("Relu", ["mixed"], ["positive"], "relu"),
        node("GlobalAveragePool", ["positive"], ["means"], "pool"),
        node("Flatten", ["means"], ["flat"], "flatten"),
        node("Gemm", ["flat", "head"], [output], "head"),
    ]
    graph = helper.make_graph(
        nodes, "colours", [info("images", TensorProto.FLOAT, [1, 3, 16, 16])],
        [info(output, TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(head, "head")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def _write_colours(folder: Path) -> None:
    """Images of one colour with noise; ``colours.csv`` says which."""
    random = np.random.default_rng(0)
    for split in ("calib", "val"):
        (folder / split).mkdir(parents=True)
        rows = []
        for number in range(40):
            pixels = random.integers(20, 236, 3) + random.integers(-20, 20, (20, 24, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / split / f"{number:02}.png")
            rows.append([f"{number:02}.png", *pixels.mean((0, 1)).round(3)])
        with (folder / split / "colours.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)


def _write_squares(folder: Path) -> None:
    for split, count, seed in (("calib", 32, 0), ("val", 24, 1)):
        squares.write_scenes(folder / split, count, seed)


def _no_blue(weights: dict[str, np.ndarray]) -> None:
    weights["head"][:, 2] = 0


def _boxes_aside(weights: dict[str, np.ndarray]) -> None:
    weights["bias"][0] += 0.2


def _darker(weights: dict[str, np.ndarray]) -> None:
    weights["head"] *= 0.9


CASES = {
    case.task: case
    for case in (
        Case("classify", _classifier, _no_blue, CLASSIFIER, tiny.write_images, "Top-1", "top1", "top-1", "%"),
        Case("detect", squares.squares, _boxes_aside, squares.SPEC, _write_squares, "mAP", "map", "mAP", "%"),
        Case(
            "colour",
            _colours,
            _darker,
            COLOUR,
            _write_colours,
            "Colour error",
            "colour_error",
            "colour error",
            "colour #",
        ),
    )
}


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the plug-in in it."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(
        TESTS / "tasks/plugin/edgewright_colour", site / "edgewright_colour", ignore=shutil.ignore_patterns("*.pyc")
    )
    info = site / "edgewright_colour-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: edgewright-colour\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[edgewright.tasks]\ncolour = edgewright_colour\n")
    return site


class Job(NamedTuple):
    """A main job that was run on the command line, and what runs further commands in its folder."""

    case: Case
    folder: Path
    run: Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module", params=CASES)
def job(request: pytest.FixtureRequest, plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    case = CASES[request.param]
    folder = tmp_path_factory.mktemp(case.task)
    environment = {**os.environ, "PYTHONPATH": str(plugin), "EDGEWRIGHT_CACHE": str(folder / "cache")}

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edgewright", *arguments]
        found = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert found.returncode == code, found.stdout + found.stderr
        return found

    case.data(folder / "data")
    (folder / "recipe.toml").write_text(RECIPE)
    for name in ("good", "worse"):
        (folder / name).mkdir()
        model = case.model()
        if name == "worse":
            _change(model, case.worsen)
        onnx.save(model, folder / name / "model.onnx")
        (folder / name / "model.toml").write_text(case.description)
        run("optimize", f"{name}/model.onnx", "--data", "data", "--recipe", "recipe.toml", "-o", f"out-{name}")
    return Job(case, folder, run)


def _change(model: onnx.ModelProto, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    weights = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer}
    change(weights)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))


def _report(job: Job, name: str) -> Any:
    return json.loads((job.folder / f"out-{name}" / "report.json").read_text())


def test_an_int8_variant_has_the_scores_of_its_task_and_what_each_image_gave(job: Job) -> None:
    found = [m for m in _report(job, "good")["measurements"] if m.get("scheme")]
    assert found
    for measured in found:
        accuracy = measured["accuracy"]
        assert measured["status"] == "ok" and accuracy["contributions"]
        assert accuracy["primary"] == job.case.primary
        delta = accuracy["scores"][accuracy["primary"]]["delta"]
        assert delta["low"] <= delta["value"] <= delta["high"]


def test_a_bundle_is_chosen_inside_the_default_budget_of_the_task(job: Job) -> None:
    report = _report(job, "good")
    assert report["choice"]["id"] and report["model"].get("task", "classify") == job.case.task
    chosen = next(m for m in report["measurements"] if m["id"] == report["choice"]["id"])
    assert [term["status"] for term in chosen["budget"]] == ["met"] * len(chosen["budget"]) != []


def test_reports_have_the_column_of_the_task(job: Job) -> None:
    for name in ("report.md", "report.html"):
        assert job.case.heading.lower() in (job.folder / "out-good" / name).read_text().lower()


def test_a_gate_catches_a_worse_artifact(job: Job) -> None:
    job.run("gate", "out-good/report.json", "--baseline", "out-good/report.json", "--compare", "accuracy")
    found = job.run(
        "gate", "out-worse/report.json", "--baseline", "out-good/report.json", "--compare", "accuracy", code=1
    )
    assert job.case.title in found.stdout + found.stderr


def test_a_device_answers_with_text_json_and_drawing(job: Job) -> None:
    (bundle,) = (job.folder / "out-good").glob("*.edge")
    image = next((job.folder / "data" / "val").rglob("*.png"))
    said = job.run("run", str(bundle), str(image), "--save-images", "drawn")
    assert job.case.says in said.stdout
    assert json.loads(job.run("run", str(bundle), str(image), "--json").stdout)
    (drawn,) = (job.folder / "drawn").iterdir()
    with Image.open(drawn) as after, Image.open(image) as before:
        assert after.size == before.size
        assert (np.asarray(after.convert("RGB")) != np.asarray(before.convert("RGB"))).any()
