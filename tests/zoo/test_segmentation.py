"""INT8 of real segmentation models keeps what plain tools lose (docs/benchmarks/tasks.md).

Each model goes through `optimize` as users run it. Slow: it needs the zoo, and minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageDraw, ImageFont

ZOO = Path(os.environ.get("EDGEWRIGHT_ZOO", "/nonexistent"))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not ZOO.is_dir(), reason="EDGEWRIGHT_ZOO is not set")]

VOC_PERSON = 15
IMAGENET = "mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]"
U2NETP = f"""\
name = "u2netp"
task = "segment"
labels = ["background", "object"]
outputs = ["1959"]
[input]
height = 320
width = 320
[preprocess]
resize = "exact"
resize_to = [320, 320]
{IMAGENET}
[segment]
scores = "none"
rescale = true
ids = {{"0" = 0, "1-20" = 1}}
"""
SELFIE = """\
name = "selfie"
task = "segment"
labels = ["background", "person"]
[input]
height = 256
width = 256
layout = "NHWC"
[preprocess]
resize = "exact"
resize_to = [256, 256]
[segment]
scores = "none"
layout = "NHWC"
ids = {"0-14" = 0, "15" = 1, "16-20" = 0}
"""
TEXT = """\
name = "text_regions"
task = "segment"
labels = ["background", "text"]
[input]
height = 480
width = 480
[preprocess]
resize = "exact"
resize_to = [480, 480]
color = "BGR"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
[segment]
scores = "none"
threshold = 0.3
"""
WORDS = ("EXIT", "Platform 9", "coffee", "OPEN 24h", "No parking", "edge", "Berlin", "SALE 50%", "library", "taxi")


class Case(NamedTuple):
    """A model of the zoo: its file, its description, what writes its data, its floor of a score."""

    file: str
    description: str
    data: Callable[[Path], None]
    score: str
    least: float


def masks(count: int, wanted: Callable[[np.ndarray], Any]) -> Callable[[Path], None]:
    """Write the first `count` photos whose VOC masks have what is `wanted`, and photos for calibration."""

    def write(folder: Path) -> None:
        photos = {path.stem: path for path in (ZOO / "coco-val/images").iterdir()}
        for part in ("val/images", "val/masks", "calib/images"):
            (folder / part).mkdir(parents=True)
        found = [
            path for path in sorted((ZOO / "coco-val/voc21_masks").iterdir()) if wanted(np.asarray(Image.open(path)))
        ]
        for path in found[:count]:
            shutil.copy(path, folder / "val/masks")
            shutil.copy(photos[path.stem], folder / "val/images")
        for path in sorted((ZOO / "coco-train").rglob("*.jpg")):
            shutil.copy(path, folder / "calib/images")

    return write


def words(folder: Path) -> None:
    """Write photos with words drawn on them; the masks are what the float model finds. Other photos for calibration."""
    session = onnxruntime.InferenceSession(ZOO / "weights" / "ch_PP-OCRv4_det_infer.onnx")
    every = sorted((ZOO / "coco-val/images").iterdir())[:40], sorted((ZOO / "coco-train").rglob("*.jpg"))
    for split, photos, seed in (("val", every[0], 0), ("calib", every[1], 1)):
        random = np.random.default_rng(seed)
        for part in ("images", "masks") if split == "val" else ("images",):
            (folder / split / part).mkdir(parents=True)
        for path in photos:
            image = Image.open(path).convert("RGB").resize((480, 480))
            for _ in range(4):
                word, font = str(random.choice(WORDS)), ImageFont.load_default(int(random.integers(18, 48)))
                place = int(random.integers(0, 300)), int(random.integers(0, 420))
                ink = tuple(int(value) for value in random.integers(0, 256, 3))
                ImageDraw.Draw(image).text(place, word, fill=ink, font=font)
            image.save(folder / split / "images" / f"{path.stem}.png")
            if split == "val":
                x = (np.asarray(image, np.float32)[..., ::-1] / 255 - 0.5) / 0.5
                (map_,) = session.run(None, {"x": np.ascontiguousarray(x.transpose(2, 0, 1)[None], np.float32)})
                Image.fromarray((map_[0, 0] > 0.3).astype(np.uint8)).save(folder / "val/masks" / f"{path.stem}.png")


CASES = {
    "u2netp": Case("u2netp.onnx", U2NETP, masks(30, lambda mask: True), "iou_images", 55.5),
    "selfie": Case(
        "mediapipe_selfie_segmentation_256.onnx", SELFIE,
        masks(75, lambda mask: (mask == VOC_PERSON).mean() > 0.05), "iou_images", 55.0,
    ),
    "text_regions": Case("ch_PP-OCRv4_det_infer.onnx", TEXT, words, "iou_images", 96.0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_int8_keeps_the_foreground(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    case.data(tmp_path / "data")
    shutil.copy(ZOO / "weights" / case.file, tmp_path / "model.onnx")
    (tmp_path / "model.toml").write_text(case.description)
    command = [sys.executable, "-m", "edgewright", "optimize", "model.onnx", "--data", "data", "-o", "out"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads((tmp_path / "out/report.json").read_text())
    quantized = [row for row in report["measurements"] if row.get("scheme") and row["status"] == "ok"]
    found = {row["id"]: row["accuracy"]["scores"][case.score]["value"] for row in quantized}
    assert found and max(found.values()) >= case.least, found
