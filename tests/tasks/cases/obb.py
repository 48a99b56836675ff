"""A detector of red bars, which lie flat, and blue bars, which are rotated by 45 degrees."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from .case import Case

DESCRIPTION = """\
name = "bars"
task = "obb"
classes = 2
labels = ["red", "blue"]
[input]
height = 64
width = 64
[preprocess]
resize = "letterbox"
resize_to = [64, 64]
interpolation = "opencv"
[obb]
decoder = "dfl"
bins = 1
strides = [16]
scores = "sigmoid"
"""
NAMES = ("red", "blue")


def model() -> onnx.ModelProto:
    """The mean colors of each cell of a 4x4 grid give the class and the angle; the box has always the same sides."""
    node, info = helper.make_node, helper.make_tensor_value_info
    mix = np.zeros((6, 3, 3, 3), np.float32)
    for channel in range(3):
        mix[channel, channel, 1, 1] = mix[channel + 3, channel, 1, 1] = 1
    read = np.zeros((7, 6, 1, 1), np.float32)
    # Half of the sides in cells, logits of both classes, the angle.
    bias = np.array([7 / 16, 3 / 16, 7 / 16, 3 / 16, -3.5, -3.5, -0.193], np.float32)
    read[4, 0], read[4, 2], read[5, 5], read[5, 3] = 20, -20, 20, -20
    read[6, 5] = 2.5
    nodes = [
        node("Conv", ["images", "mix"], ["mixed"], "mix", pads=[1, 1, 1, 1]),
        node("Relu", ["mixed"], ["positive"], "relu"),
        node("AveragePool", ["positive"], ["cells"], "pool", kernel_shape=[16, 16], strides=[16, 16]),
        node("Conv", ["cells", "read", "bias"], ["every"], "read"),
        node("Reshape", ["every", "flat"], ["rows"], "reshape"),
        node("Split", ["rows", "parts"], ["head", "angles"], "split", axis=1),
    ]
    constants = {"mix": mix, "read": read, "bias": bias, "flat": np.array([1, 7, 16]), "parts": np.array([6, 1])}
    graph = helper.make_graph(
        nodes, "bars", [info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [info("head", TensorProto.FLOAT, [1, 6, 16]), info("angles", TensorProto.FLOAT, [1, 1, 16])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def straight(weights: dict[str, np.ndarray]) -> None:
    """Blue bars are found with half of their angle."""
    weights["read"][6, 5] /= 2


def write(folder: Path) -> None:
    """Images of 128x64 pixels with bars of 28x12 pixels, in YOLO's format with four corners."""
    random = np.random.default_rng(0)
    for split in ("calib", "val"):
        for kind in ("images", "labels"):
            (folder / split / kind).mkdir(parents=True)
        for number in range(40):
            image, rows = Image.fromarray(random.integers(0, 40, (64, 128, 3), dtype=np.uint8)), []
            for cell in random.choice(8, random.integers(1, 4), replace=False):
                x, y, label = 32 * int(cell % 4) + 16, 32 * int(cell // 4) + 16, int(random.integers(2))
                angle = label * math.pi / 4
                along, across = (
                    np.array([math.cos(angle), math.sin(angle)]),
                    np.array([-math.sin(angle), math.cos(angle)]),
                )
                signs = ((1, 1), (1, -1), (-1, -1), (-1, 1))
                points = [(x, y) + 14 * a * along + 6 * b * across for a, b in signs]
                color = ((230, 20, 20), (20, 20, 230))[label]
                ImageDraw.Draw(image).polygon([tuple(point) for point in points], fill=color)
                numbers = " ".join(f"{px / 128:.6f} {py / 64:.6f}" for px, py in points)
                rows.append(f"{label} {numbers}\n")
            image.save(folder / split / "images" / f"{number:02}.png")
            (folder / split / "labels" / f"{number:02}.txt").write_text("".join(rows))
    names = "".join(f"  {k}: {name}\n" for k, name in enumerate(NAMES))
    (folder / "data.yaml").write_text(f"train: calib/images\nval: val/images\nnames:\n{names}")


CASE = Case("obb", model, straight, DESCRIPTION, write, "mAP", "obb_map", "mAP", "angle")
