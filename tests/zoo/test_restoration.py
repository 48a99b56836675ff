"""INT8 of a real super-resolution network keeps its PSNR (docs/benchmarks/tasks.md).

The network goes through `optimize` as users run it, with the default budget. Slow: it needs the zoo, and minutes.
``python tests/zoo/test_restoration.py FOLDER`` prints the PSNR of plain tools on the same images.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgewright.tasks.restore import quality

ZOO = Path(os.environ.get("EDGEWRIGHT_ZOO", "/nonexistent"))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not ZOO.is_dir(), reason="EDGEWRIGHT_ZOO is not set")]
NETWORK = "esrgan_slim_x2.onnx"
TOML = """\
name = "esrgan-slim-x2"
task = "restore"
[preprocess]
resize = "tiles"
divide = 1.0
[restore]
scale = 2
white = 255.0
"""
SIDE, LOSS = 256, 0.02


def write(folder: Path) -> None:
    """Write the middle 256 x 256 pixels of 40 photos of COCO val2017, and of 96 others for calibration."""
    for source, split, count in (("coco-val", "val", 40), ("coco-train", "calib", 96)):
        (folder / split).mkdir(parents=True)
        photos = (Image.open(path).convert("RGB") for path in sorted((ZOO / source / "images").iterdir()))
        large = (photo for photo in photos if min(photo.size) >= SIDE)
        for number, photo in zip(range(count), large):
            x, y = ((side - SIDE) // 2 for side in photo.size)
            photo.crop((x, y, x + SIDE, y + SIDE)).save(folder / split / f"{number:03}.png")


def test_int8_keeps_the_psnr(tmp_path: Path) -> None:
    write(tmp_path / "data")
    shutil.copy(ZOO / "weights" / NETWORK, tmp_path)
    (tmp_path / NETWORK).with_suffix(".toml").write_text(TOML)
    command = [sys.executable, "-m", "edgewright", "optimize", NETWORK, "--data", "data", "-o", "out"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads((tmp_path / "out/report.json").read_text())
    chosen = next(m for m in report["measurements"] if m["id"] == report["choice"]["id"])
    delta = chosen["accuracy"]["scores"]["psnr"]["delta"]
    assert delta["value"] >= -LOSS and chosen["accuracy"]["scores"]["psnr"]["value"] > 28.8


def inputs(folder: Path, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the network's input (1, 3, 128, 128) and the wanted image (256, 256, 3) of each image."""
    for path in sorted((folder / split).glob("*.png")):
        photo = Image.open(path)
        small = photo.resize((SIDE // 2, SIDE // 2), Image.Resampling.BICUBIC)
        yield np.asarray(small, np.float32).transpose(2, 0, 1)[None], np.asarray(photo)


def mean_psnr(run: Callable[[np.ndarray], np.ndarray], folder: Path) -> float:
    """The mean PSNR on the luminance without two pixels at each edge, of a plain loop."""
    found = []
    for x, wanted in inputs(folder, "val"):
        pixels = np.clip(np.rint(run(x)[0].transpose(1, 2, 0)), 0, 255).astype(np.uint8)
        ours, theirs = (quality.luminance(one[2:-2, 2:-2]) for one in (pixels, wanted))
        found.append(quality.psnr(ours, theirs))
    return float(np.mean(found))


def plain(folder: Path) -> None:
    """Print the PSNR of the float network, of ONNX Runtime's static quantization, and of NNCF's defaults."""
    import nncf
    import onnxruntime
    import openvino
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self.left = inputs(folder, "calib")

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(({"image": x} for x, _ in self.left), None)

    def session(path: Path) -> Callable[[np.ndarray], np.ndarray]:
        opened = onnxruntime.InferenceSession(path)
        return lambda x: np.asarray(opened.run(None, {"image": x})[0])

    network, static = ZOO / "weights" / NETWORK, folder / "static.onnx"
    print("float", round(mean_psnr(session(network), folder), 3))
    types: dict[str, Any] = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(network, static, Reader(), per_channel=True, **types)
    print("ONNX Runtime static", round(mean_psnr(session(static), folder), 3))
    data = nncf.Dataset([x for x, _ in inputs(folder, "calib")])
    compiled = openvino.compile_model(nncf.quantize(openvino.Core().read_model(network), data), "CPU")
    print("NNCF default", round(mean_psnr(lambda x: np.asarray(compiled(x)[0]), folder), 3))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
    plain(Path(sys.argv[1]))
