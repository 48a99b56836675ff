"""INT8 of real pose models keeps the points that plain tools move (docs/benchmarks/tasks.md).

Each model goes through `optimize` as users run it. Slow: it needs the zoo, and minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

ZOO = Path(os.environ.get("EDGEWRIGHT_ZOO", "/nonexistent"))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not ZOO.is_dir(), reason="EDGEWRIGHT_ZOO is not set")]

MOVENET = """\
name = "movenet"
task = "pose"
labels = ["person"]
[preprocess]
resize = "letterbox"
resize_to = [192, 192]
pad = 0
normalize = "graph"
[pose]
decoder = "points"
values = "yxs"
units = "relative"
"""
BLAZEFACE = """\
name = "blazeface"
task = "pose"
labels = ["face"]
[preprocess]
resize = "letterbox"
resize_to = [128, 128]
pad = 0
divide = 127.5
mean = [1.0, 1.0, 1.0]
[pose]
decoder = "blazeface"
strides = [8, 16]
per_cell = [2, 6]
points = 6
values = "xy"
scores = "sigmoid"
score = 0.5
iou = 0.3
"""
PERSON = 1
SCORE = 5
"""The column of a row of answers with the score of the object."""


def persons(split: str) -> Iterator[tuple[Image.Image, int, list[float]]]:
    """The photo, the id and the box (x, y, width, height) of each person who is no crowd."""
    content = json.loads((ZOO / split / "instances.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    for note in content["annotations"]:
        if note["category_id"] == PERSON and not note["iscrowd"]:
            photo = Image.open(ZOO / split / "images" / names[note["image_id"]]).convert("RGB")
            yield photo, note["id"], note["bbox"]


def square(photo: Image.Image, x: float, y: float, side: float) -> Image.Image:
    """The square around (x, y)."""
    half = side / 2
    return photo.crop((round(x - half), round(y - half), round(x + half), round(y + half)))


def bodies(folder: Path) -> None:
    """Write persons of at least 200 pixels, and smaller ones for calibration, each in a square 1.25 times as large."""
    for split, part, least in (("coco-train", "calib", 100), ("coco-val", "val", 200)):
        (folder / part).mkdir(parents=True)
        for photo, number, (x, y, width, height) in persons(split):
            if max(width, height) >= least:
                crop = square(photo, x + width / 2, y + height / 2, 1.25 * max(width, height))
                crop.save(folder / part / f"{number}.png")


def upper_bodies(folder: Path) -> None:
    """Write the upper half of persons of at least 60x150 pixels, and of smaller ones for calibration."""
    for split, part, least in (("coco-train", "calib", 80), ("coco-val", "val", 150)):
        (folder / part).mkdir(parents=True)
        for photo, number, (x, y, width, height) in persons(split):
            if height >= least and width >= 0.4 * least:
                side = max(width, height / 2)
                square(photo, x + width / 2, y + 0.4 * side, side).save(folder / part / f"{number}.png")


class Case(NamedTuple):
    """A model of the zoo: its file, its description, what writes its data, its budget without labels."""

    file: str
    description: str
    data: Callable[[Path], None]
    budget: str


CASES = {
    "movenet": Case("movenet_lightning_192.onnx", MOVENET, bodies, "agreement >= 97%"),
    "blazeface": Case("blazeface_short_128.onnx", BLAZEFACE, upper_bodies, "agreement >= 75%, confidence <= 0.02"),
}


def quantized(case: Case, folder: Path) -> dict[str, dict[str, Any]]:
    """The accuracy of each INT8 variant of a case, by its id. What it answers is in the cache."""
    case.data(folder / "data")
    shutil.copy(ZOO / "weights" / case.file, folder / "model.onnx")
    (folder / "model.toml").write_text(case.description)
    command = [sys.executable, "-m", "edgewright", "optimize", "model.onnx", "--data", "data", "--budget", case.budget]
    cache = {**os.environ, "EDGEWRIGHT_CACHE": str(folder / "cache")}
    run = subprocess.run([*command, "-o", "out"], cwd=folder, env=cache, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads((folder / "out/report.json").read_text())
    every = [row for row in report["measurements"] if row.get("scheme") and row["status"] == "ok"]
    return {row["id"]: row["accuracy"] for row in every}


def test_int8_keeps_the_points(tmp_path: Path) -> None:
    """PCK@0.05 to float of MoveNet: plain tools keep 92 and 94% of the points."""
    found = {name: accuracy["agreement"] for name, accuracy in quantized(CASES["movenet"], tmp_path).items()}
    assert found and max(found.values()) >= 97, found


def test_int8_finds_the_faces_that_float_finds(tmp_path: Path) -> None:
    """BlazeFace finds a face on 74.5% of 157 upper bodies in float, and on at most 70.7% with plain tools."""
    found = {}
    for name, accuracy in quantized(CASES["blazeface"], tmp_path).items():
        rows = np.load(tmp_path / "cache/evaluate" / accuracy["results"] / "outputs.npy")
        found[name] = len(set(rows[rows[:, SCORE] >= 0.5, 0].tolist())) / 157
    assert len(list((tmp_path / "data/val").iterdir())) == 157
    assert found and max(found.values()) >= 0.735, found
