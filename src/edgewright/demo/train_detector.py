"""Train the demo's detector: ``python -m edgewright.demo.train_detector``, on a GPU if there is one.

Trains YOLO11n from random weights on scenes of the train split, with Ultralytics' own trainer; the test scenes have
other digits. Writes ``scenes.safetensors`` (16-bit floats, 5.3 MB). Its metadata has the command, the versions and the
mAP of Ultralytics' validator on the test scenes. Two CPU cores take an hour at the default size.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from edgewright.core import files
from edgewright.core.lazy import require, version
from edgewright.data import scenes, sets
from edgewright.data.items import Item

WEIGHTS = Path(__file__).with_name("scenes.safetensors")
SIDE = 160
"""The side of the model's square input in pixels."""


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m edgewright.demo.train_detector", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=WEIGHTS, help="the .safetensors to write")
    parser.add_argument("--work", type=Path, default=Path("build/scenes"), help="folder for scenes and checkpoints")
    parser.add_argument("--scenes", type=int, default=4000, help="how many scenes to train on")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--resume", action="store_true", help="continue after the last epoch of a killed training")
    asked = parser.parse_args()
    train(files.absolute(asked.out), files.absolute(asked.work), asked.scenes, asked.epochs, asked.resume)


def train(out: Path, work: Path, count: int, epochs: int, resume: bool = False) -> None:
    """Write `count` scenes to `work`, train for `epochs`, and write the weights to `out`."""
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    ultralytics = require("ultralytics", "ultralytics")
    import safetensors.torch
    import torch

    data = work / "data"
    if not resume:
        for cache in data.glob("*.cache"):  # Ultralytics' file lists, perhaps of another number of scenes
            cache.unlink()
        scenes.write(data, {"train": count, "test": scenes.COUNTS["test"]})
    described = as_yolo(data, ("train", "test"), "test")
    last = work / "runs" / "train" / "weights" / "last.pt"
    model = ultralytics.YOLO(last if resume else "yolo11n.yaml")
    settings: dict[str, Any] = {
        "data": str(described), "imgsz": SIDE, "epochs": epochs, "batch": 32, "workers": 2, "seed": 0,
        "device": 0 if torch.cuda.is_available() else "cpu", "cos_lr": True, "close_mosaic": epochs // 5,
        "fliplr": 0.0,  # a mirrored digit is not a digit
        "project": str(work / "runs"), "name": "train", "exist_ok": True, "val": False, "plots": False,
    }  # fmt: skip
    model.train(resume=True) if resume else model.train(**settings)
    trained = ultralytics.YOLO(last)
    found = trained.val(data=settings["data"], imgsz=SIDE, plots=False, rect=False, device="cpu")
    weights = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in trained.model.state_dict().items()
    }
    facts = {
        "command": f"python -m edgewright.demo.train_detector --scenes {count} --epochs {epochs}",
        "mAP50-95 on the test scenes": f"{found.box.map:.4f}",
        "made with": f"ultralytics {ultralytics.__version__} (AGPL-3.0), torch {version('torch')}",
    }
    safetensors.torch.save_file(weights, out, facts)
    sys.stderr.write(f"{out}: {out.stat().st_size / 1e6:.2f} MB, mAP50-95 {found.box.map:.4f}\n")


def as_yolo(data: Path, splits: tuple[str, ...], val: str) -> Path:
    """The scenes in `data` in Ultralytics' format: a label file next to each image of `splits`, and a YAML that trains
    on the first split and validates on `val`. Returns the path of the YAML."""
    for split in splits:
        for item in sets.read(data, split).items:
            Path(item.path).with_suffix(".txt").write_text(yolo_rows(item))
    names = "".join(f"  {k}: {name}\n" for k, name in enumerate(scenes.NAMES))
    described = data.with_suffix(".yaml")  # next to the set, which has its own annotations
    described.write_text(f"path: {data}\ntrain: {splits[0]}\nval: {val}\nnames:\n{names}")
    return described


def yolo_rows(item: Item) -> str:
    """The boxes of an image as YOLO's label file has them: class, center x and y, width and height, from 0 to 1."""
    with Image.open(item.path) as image:
        width, height = image.size
    rows = []
    for box in item.boxes or ():
        x, y, w, h = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2, box.x2 - box.x1, box.y2 - box.y1
        rows.append(f"{box.label} {x / width:.6f} {y / height:.6f} {w / width:.6f} {h / height:.6f}\n")
    return "".join(rows)


if __name__ == "__main__":
    main()
