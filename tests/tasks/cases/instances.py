"""A model of the masks of discs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from .case import Case

DESCRIPTION = """\
name = "discs"
task = "instances"
classes = 2
labels = ["red", "blue"]
[input]
height = 64
width = 64
[preprocess]
resize = "letterbox"
resize_to = [64, 64]
interpolation = "opencv"
[instances]
decoder = "yolox"
strides = [16]
coefficients = 2
mask_stride = 4
"""


def model() -> onnx.ModelProto:
    """Red and blue discs that fill a cell of a 4x4 grid: colours averaged, weights set by hand; masks by colour."""
    node = helper.make_node
    mix = np.zeros((6, 3, 3, 3), np.float32)
    for channel in range(3):
        mix[channel, channel, 1, 1] = mix[channel + 3, channel, 1, 1] = 1
    read = np.zeros((9, 6, 1, 1), np.float32)
    bias = np.array([0.5, 0.5, 0, 0, -6, -6, -6, 1, 1], np.float32)  # box; objectness and classes; coefficients
    read[4, 0], read[4, 2], read[4, 1] = 16, 16, -16
    read[5, 3], read[5, 2], read[6, 5], read[6, 0] = 16, -8, 16, -8
    color = np.zeros((2, 6, 1, 1), np.float32)
    color[0, 0], color[1, 2] = 16, 16
    nodes = [
        node("Conv", ["images", "mix"], ["mixed"], "mix", pads=[1, 1, 1, 1]),
        node("Relu", ["mixed"], ["positive"], "relu"),
        node("AveragePool", ["positive"], ["cells"], "pool", kernel_shape=[16, 16], strides=[16, 16]),
        node("Conv", ["cells", "read", "bias"], ["head"], "head"),
        node("Reshape", ["head", "flat"], ["rows"], "reshape"),
        node("Transpose", ["rows"], ["raw"], "transpose", perm=[0, 2, 1]),
        node("Split", ["raw", "parts"], ["boxes", "logits", "coefficients"], "split", axis=2),
        node("Sigmoid", ["logits"], ["scores"], "sigmoid"),
        node("Concat", ["boxes", "scores"], ["answer"], "concat", axis=2),
        node("AveragePool", ["positive"], ["small"], "small", kernel_shape=[4, 4], strides=[4, 4]),
        node("Conv", ["small", "color", "low"], ["prototypes"], "prototype"),
    ]
    constants = {
        "mix": mix, "read": read, "bias": bias, "flat": np.array([1, 9, 16]), "parts": np.array([4, 3, 2]),
        "color": color, "low": np.full(2, -4, np.float32),
    }  # fmt: skip
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "discs", [info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [
            info("answer", TensorProto.FLOAT, [1, 16, 7]), info("coefficients", TensorProto.FLOAT, [1, 16, 2]),
            info("prototypes", TensorProto.FLOAT, [1, 2, 16, 16]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def thin(weights: dict[str, np.ndarray]) -> None:
    """All masks are smaller than their discs; the boxes stay."""
    weights["low"] -= 2


def write(folder: Path) -> None:
    """Images of 128x64 pixels with discs in cells of 32 pixels, and their outlines as COCO's polygons."""
    circle = 15 * np.exp(2j * np.pi * np.arange(32) / 32)
    for split, count, seed in (("calib", 32, 0), ("val", 24, 1)):
        (folder / split / "images").mkdir(parents=True)
        random = np.random.default_rng(seed)
        images: list[dict[str, object]] = []
        objects: list[dict[str, object]] = []
        for number in range(count):
            image = Image.fromarray(random.integers(0, 40, (64, 128, 3), dtype=np.uint8))
            for cell in random.choice(8, random.integers(0, 4), replace=False):
                x, y, label = 32 * int(cell % 4), 32 * int(cell // 4), int(random.integers(2))
                outline = np.stack([x + 16 + circle.real, y + 16 + circle.imag], axis=1)
                color = (230, 20, 20) if label == 0 else (20, 20, 230)
                ImageDraw.Draw(image).polygon([tuple(point) for point in outline.tolist()], color)
                objects.append({
                    "id": len(objects) + 1, "image_id": number, "category_id": label + 1, "iscrowd": 0,
                    "bbox": [x + 1, y + 1, 30, 30], "area": 702, "segmentation": [outline.ravel().tolist()],
                })  # fmt: skip
            image.save(folder / split / "images" / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": 128, "height": 64})
        categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
        content = {"images": images, "annotations": objects, "categories": categories}
        (folder / split / "instances.json").write_text(json.dumps(content))


CASE = Case("instances", model, thin, DESCRIPTION, write, "mask mAP", "mask_map", "mask mAP", "of the image")
