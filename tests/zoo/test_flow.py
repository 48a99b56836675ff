"""INT8 of a real optical flow network of two images keeps its end-point error (docs/benchmarks/tasks.md).

The network goes through `optimize` as users run it, with a fidelity budget, as the task `tensors`. Slow: it needs the
zoo, and minutes. ``python tests/zoo/test_flow.py FOLDER [CALIBRATE VALIDATE]`` prints the errors of ONNX Runtime's
static quantization, of all layers and without those that `tensors` keeps in float.
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

import edgewright

ZOO = Path(os.environ.get("EDGEWRIGHT_ZOO", "/nonexistent"))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not ZOO.is_dir(), reason="EDGEWRIGHT_ZOO is not set")]
NETWORK = "spynet_256.onnx"
TOML = """\
name = "spynet"
task = "tensors"
[preprocess]
resize = "exact"
resize_to = [256, 256]
"""
SIDE, BUDGET = 256, "sqnr >= 34 dB"


def sample(path: Path, seed: int) -> dict[str, np.ndarray]:
    """The middle of a photo, the same moved by a small rotation, zoom and shift, and the flow between both."""
    random = np.random.default_rng(seed)
    photo = Image.open(path).convert("RGB")
    scale = 360 / min(photo.size)
    size = (round(photo.width * scale), round(photo.height * scale))
    photo = photo.resize(size, Image.Resampling.BICUBIC)
    angle, zoom, shift = random.uniform(-0.03, 0.03), random.uniform(0.97, 1.03), random.uniform(-8, 8, 2)
    left, top = ((side - SIDE) // 2 for side in size)
    center = np.full(2, SIDE / 2)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = np.linalg.inv(turn)
    offset = center - back @ (center + shift) + (left, top)
    affine = (*back[0], offset[0], *back[1], offset[1])
    moved = photo.transform((SIDE, SIDE), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    places = np.stack([x, y], -1)
    flow = (places - center) @ turn.T + center + shift - places
    return {
        "ref": np.asarray(photo.crop((left, top, left + SIDE, top + SIDE))), "supp": np.asarray(moved),
        "flow": flow.transpose(2, 0, 1).astype(np.float32),
    }  # fmt: skip


def write(folder: Path, calibrate: int = 64, validate: int = 40) -> None:
    """Write samples of COCO val2017, and of other photos for calibration."""
    for source, split, count, first in (("coco-val", "val", validate, 0), ("coco-train", "calib", calibrate, 1000)):
        (folder / split).mkdir(parents=True)
        for number, path in zip(range(count), sorted((ZOO / source).rglob("*.jpg"))):
            np.savez(folder / split / f"{number:03}.npz", **sample(path, first + number))  # type: ignore[arg-type]


def error(folder: Path, flow: Callable[[dict[str, np.ndarray]], np.ndarray]) -> float:
    """The mean end-point error of `flow` in pixels on the validation samples."""
    found = []
    for path in sorted((folder / "val").glob("*.npz")):
        with np.load(path) as one:
            arrays = dict(one)
        found.append(float(np.linalg.norm(flow(arrays) - arrays["flow"], axis=0).mean()))
    return float(np.mean(found))


def test_int8_keeps_the_end_point_error(tmp_path: Path) -> None:
    write(tmp_path / "data")
    shutil.copy(ZOO / "weights" / NETWORK, tmp_path / "spynet.onnx")
    (tmp_path / "spynet.toml").write_text(TOML)
    command = [sys.executable, "-m", "edgewright", "optimize", "spynet.onnx", "--data", "data", "--budget", BUDGET]
    run = subprocess.run([*command, "-o", "out"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads((tmp_path / "out/report.json").read_text())
    chosen = next(m for m in report["measurements"] if m["id"] == report["choice"]["id"])
    assert chosen["accuracy"]["scores"]["sqnr"]["value"] >= 34
    exact = error(tmp_path / "data", lambda one: _flow(_session(tmp_path / "spynet.onnx"), one))
    with edgewright.open(next((tmp_path / "out").glob("*.edge"))) as session:
        assert error(tmp_path / "data", lambda one: session(one)["flow"]) <= exact + 0.04


def _session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def _flow(session: Any, one: dict[str, np.ndarray]) -> np.ndarray:
    found: np.ndarray = session.run(None, _feed(one))[0][0]
    return found


def _feed(one: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: (one[name].astype(np.float32) / 255).transpose(2, 0, 1)[None] for name in ("ref", "supp")}


def plain(folder: Path, calibrate: int = 64, validate: int = 40) -> None:
    """Print the end-point errors of the float network and of ONNX Runtime's static quantization."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    from edgewright.graph import names
    from edgewright.tasks.tensors import protect

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = _feeds(folder)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    write(folder, calibrate, validate)
    model = onnx.load(ZOO / "weights" / NETWORK)
    names.name_nodes(model)
    onnx.save(model, folder / "named.onnx")
    print("float", error(folder, lambda one: _flow(_session(folder / "named.onnx"), one)))
    for what, kept in (("all layers", []), ("without protected layers", protect.nodes(model))):
        quantize_static(
            folder / "named.onnx", folder / "int8.onnx", Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=kept,
        )  # fmt: skip
        print("ONNX Runtime", what, error(folder, lambda one: _flow(_session(folder / "int8.onnx"), one)))


def _feeds(folder: Path) -> Iterator[dict[str, np.ndarray]]:
    for path in sorted((folder / "calib").glob("*.npz")):
        with np.load(path) as one:
            yield _feed(dict(one))


if __name__ == "__main__":
    plain(Path(sys.argv[1]), *map(int, sys.argv[2:]))
