"""NNCF's own recipe for a timm classifier: export, quantize after training, evaluate both through OpenVINO.

Run: FOLDER DATA WEIGHTS. `DATA`: ``calib/`` and ``test/``, a folder a class.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nncf
import numpy as np
import openvino as ov
import timm
import torch
from PIL import Image
from safetensors.torch import load_file

MEAN, STD, SIDE = (0.4914, 0.4824, 0.4467), (0.2470, 0.2435, 0.2616), 64


def pixels(path: Path) -> np.ndarray:
    """(1, 3, 64, 64) float32."""
    image = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    x = (np.asarray(image, np.float32) / 255 - MEAN) / STD
    return x.transpose(2, 0, 1)[None].astype(np.float32)


def main(folder: Path, data: Path, weights: Path) -> None:
    """Write float.xml, int8.xml and found.json into `folder`."""
    model = timm.create_model("resnet18", num_classes=10)
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(weights).items()})
    example = torch.zeros(1, 3, SIDE, SIDE)
    torch.onnx.export(model.eval(), (example,), folder / "model.onnx", dynamo=True)
    exact = ov.convert_model(folder / "model.onnx")
    calibration = [pixels(path) for path in sorted((data / "calib").rglob("*.*"))]
    made = {"float": exact, "int8": nncf.quantize(exact, nncf.Dataset(calibration), subset_size=len(calibration))}
    items = [(path, number) for number, kind in enumerate(sorted((data / "test").iterdir())) for path in kind.iterdir()]
    found = {}
    for name, network in made.items():
        ov.save_model(network, folder / f"{name}.xml")
        compiled = ov.compile_model(folder / f"{name}.xml", "CPU", {"PERFORMANCE_HINT": "LATENCY"})
        right = [int(compiled(pixels(path))[0].argmax()) == number for path, number in items]
        found[name] = {"path": str(folder / f"{name}.xml"), "top1": 100 * float(np.mean(right))}
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
