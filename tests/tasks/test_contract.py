"""What every task gives: the main job, reports with its column, a gate that catches a worse artifact, answers, drawing.

Each module in ``cases`` is one task. "colour" is a plug-in, installed as an outside package would be: no file of the
product knows of it.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from . import cases
from .cases.case import Case

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


def _cases() -> Iterator[Case]:
    """The case of each module in ``cases``."""
    for found in pkgutil.iter_modules(cases.__path__):
        if found.name not in ("case", "marks"):
            yield importlib.import_module(f"{cases.__name__}.{found.name}").CASE


CASES = {case.task: case for case in _cases()}


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


@pytest.fixture(scope="module")
def jobs() -> dict[str, Job]:
    """The jobs that were run, by task."""
    return {}


@pytest.fixture(params=CASES)
def job(
    request: pytest.FixtureRequest, jobs: dict[str, Job], plugin: Path, tmp_path_factory: pytest.TempPathFactory
) -> Job:
    """The job of a task. It runs once, whatever the order of the tests."""
    if request.param not in jobs:
        jobs[request.param] = _job(CASES[request.param], plugin, tmp_path_factory)
    return jobs[request.param]


def _job(case: Case, plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
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
        if job.case.itself:
            assert accuracy["scores"][accuracy["primary"]]["interval"]
            continue
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
    against = ("--baseline", "out-good/report.json", "--compare", "accuracy")
    if job.case.itself:
        against = ("--budget", f"{job.case.primary} >= 101 dB")
    found = job.run("gate", "out-worse/report.json", *against, code=1)
    assert job.case.title in found.stdout + found.stderr


def test_a_device_answers_with_text_json_and_drawing(job: Job) -> None:
    (bundle,) = (job.folder / "out-good").glob("*.edge")
    image = next((job.folder / "data" / "val").rglob("*.png"))
    said = job.run("run", str(bundle), str(image), "--save-images", "drawn")
    assert job.case.says in said.stdout
    assert json.loads(job.run("run", str(bundle), str(image), "--json").stdout)
    (row,) = json.loads(job.run("run", str(bundle), str(image), "--format", "ultralytics").stdout)
    assert row["image"] == str(image) and isinstance(row["summary"], list)
    rows = json.loads(job.run("run", str(bundle), str(image), "--format", "coco").stdout)
    assert all(isinstance(row["image_id"], int) for row in rows)
    (drawn,) = (job.folder / "drawn").iterdir()
    with Image.open(drawn) as after, Image.open(image) as before:
        assert after.width % before.width == 0 and after.height % before.height == 0  # a restored image is larger
        small = after.convert("RGB").resize(before.size)
        assert (np.asarray(small) != np.asarray(before.convert("RGB"))).any()
