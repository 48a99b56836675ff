"""Made-up images with objects, and what a detector finds on them."""

from __future__ import annotations

import numpy as np

from edgewright.core.spec import ModelSpec, decode
from edgewright.data.boxes import Box
from edgewright.data.sets import Item

CLASSES = 5


def scenes(count: int = 40, seed: int = 0) -> list[Item]:
    """Images with 0 to 9 objects of all sizes, some of them crowds; the last class has none."""
    rng = np.random.default_rng(seed)
    items = []
    for k in range(count):
        found = []
        for _ in range(int(rng.integers(0, 10))):
            x, y = rng.uniform(-5, 500, 2).round(1).tolist()
            w, h = np.exp(rng.uniform(1, 5.5, 2)).round(1).tolist()
            area = float(w * h * rng.uniform(0.4, 1))  # of a mask
            found.append(Box(int(rng.integers(CLASSES - 1)), x, y, x + w, y + h, area, bool(rng.random() < 0.15)))
        items.append(Item(f"{k}.png", None, tuple(found)))
    return items


def detections(items: list[Item], classes: int, seed: int = 0, noise: float = 0.08) -> np.ndarray:
    """Boxes around the objects, some twice, some missing, some of another class, and false ones; many equal scores."""
    rng = np.random.default_rng(seed)
    rows = []
    for k, item in enumerate(items):
        for box in item.boxes or ():
            for _ in range(int(rng.choice([0, 1, 1, 1, 2]))):
                w, h = box.x2 - box.x1, box.y2 - box.y1
                corners = np.array([box.x1, box.y1, box.x2, box.y2]) + rng.normal(0, noise, 4) * [w, h, w, h]
                label = box.label if rng.random() < 0.9 else rng.integers(classes)
                rows.append([k, *corners, round(rng.beta(4, 2), 2), label])
        for _ in range(int(rng.integers(0, 60))):
            (x, y), (w, h) = rng.uniform(0, 500, 2), rng.uniform(0, 200, 2)
            rows.append([k, x, y, x + w, y + h, round(rng.beta(1, 4), 2), rng.integers(classes)])
    return np.array(rows, np.float32).reshape(-1, 7)


def spec(classes: int = CLASSES) -> ModelSpec:
    """The spec of a detector of so many classes."""
    said = f"""{{"name": "boxes", "task": "detect", "input": {{"height": 64, "width": 64}}, "classes": {classes},
        "preprocess": {{"resize": "exact", "resize_to": [64, 64]}}, "detect": {{"decoder": "end2end"}}}}"""
    return decode(said, ModelSpec, "spec")
