"""Images with a red and a blue mark, and a network whose heat maps show both: the cases of tasks with keypoints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from PIL import Image

from .case import network

COLOURS = ((230, 30, 30), (30, 30, 230))
SIDE, CELLS = 32, 16


def model() -> onnx.ModelProto:
    """The redness and the blueness of each place, averaged over 3x3 pixels; the maps (1, 2, 16, 16)."""
    first = np.zeros((8, 3, 3, 3), np.float32)
    for mark, own in enumerate((0, 2)):
        first[mark] = -1 / 18
        first[mark, own] = 1 / 9
    head = np.zeros((2, 8, 1, 1), np.float32)
    head[0, 0] = head[1, 1] = 1
    node = helper.make_node
    nodes = [
        node("Conv", ["images", "first"], ["mixed"], "conv", pads=[1, 1, 1, 1]),
        node("Relu", ["mixed"], ["positive"], "relu"),
        node("Conv", ["positive", "head"], ["maps"], "head"),
    ]
    return network(nodes, ("maps", [1, 2, CELLS, CELLS]), {"first": first, "head": head})


def blue_aside(weights: dict[str, np.ndarray]) -> None:
    """The blue point is two cells to the left and above: its map shows single pixels instead of means."""
    own = np.zeros((3, 3, 3), np.float32)
    own[:, 2, 2] = (-0.5, -0.5, 1)
    weights["first"][1] = own


def write(folder: Path) -> None:
    """40 images of 32 pixels for calibration and validation, with one object of two points each."""
    random = np.random.default_rng(0)
    skeleton = {"keypoints": ["red", "blue"], "skeleton": [[1, 2]]}
    for split in ("calib", "val"):
        (folder / split / "images").mkdir(parents=True)
        images, notes = [], []
        for number in range(40):
            pixels = random.integers(60, 100, (SIDE, SIDE, 3)).astype(np.uint8)
            x, y = int(random.integers(2, 6)), int(random.integers(2, 14))  # cells of the red mark
            places = [(x, y), (x + 8, int(random.integers(2, 14)))]
            for (column, row), colour in zip(places, COLOURS):
                pixels[2 * row - 2 : 2 * row + 4, 2 * column - 2 : 2 * column + 4] = colour
            Image.fromarray(pixels).save(folder / split / "images" / f"{number:02}.png")
            images.append({"id": number, "file_name": f"{number:02}.png", "width": SIDE, "height": SIDE})
            rows = sorted(row for _, row in places)
            box = [2 * x - 2, 2 * rows[0] - 2, 22, 2 * (rows[1] - rows[0]) + 6]
            points = [value for column, row in places for value in (2 * column, 2 * row, 2)]
            notes.append({
                "id": number + 1, "image_id": number, "category_id": 1, "bbox": box, "area": box[2] * box[3],
                "iscrowd": 0, "keypoints": points, "num_keypoints": 2,
            })  # fmt: skip
        content = {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "pair", **skeleton}]}
        (folder / split / "person_keypoints.json").write_text(json.dumps(content))
