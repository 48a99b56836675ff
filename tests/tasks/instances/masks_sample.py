"""Images with labeled masks, and the outputs of a network that nearly finds them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.data.boxes import Box
from edgewright.data.sets import Item
from edgewright.tasks.instances.spec import Instances
from edgewright.vision.masks import polygon_bits

SIDE, CLASSES, CHANNELS, CELLS = 96, 3, 8, 60


class Sample(NamedTuple):
    """`items` with masks; `head` (N, 4 + classes + channels, cells) and `prototypes` (N, channels, 24, 24)."""

    items: list[Item]
    head: np.ndarray
    prototypes: np.ndarray


def spec(size: tuple[int, int] = (SIDE, SIDE), **changes: object) -> ModelSpec:
    """The description of the outputs: boxes, scores and coefficients in one output."""
    image = Input(height=size[0], width=size[1], preprocess=Preprocess(resize="letterbox", resize_to=size))
    fields = {"decoder": "boxes", "classes": CLASSES, "coefficients": CHANNELS, "multi_label_eval": True} | changes
    return ModelSpec(name="m", inputs=(image,), outputs=("output0", "output1"), task=Instances(**fields))  # type: ignore[arg-type]


def sample(count: int, seed: int = 0) -> Sample:
    """Blobs of 3 classes. A prototype is the distance to the outline of a blob. All of it has noise."""
    random = np.random.default_rng(seed)
    items, heads, prototypes = [], [], []
    rows, columns = np.mgrid[:24, :24] * 4 + 1.5
    for number in range(count):
        head = np.zeros((4 + CLASSES + CHANNELS, CELLS), np.float32)
        head[:4] = random.uniform(8, 60, (4, CELLS))
        head[4 : 4 + CLASSES] = random.uniform(0, 0.02, (CLASSES, CELLS))
        head[4 + CLASSES :] = random.normal(0, 0.5, (CHANNELS, CELLS))
        maps = random.normal(0, 0.05, (CHANNELS, 24, 24)).astype(np.float32)
        boxes = []
        for k in range(int(random.integers(1, 5))):
            label, center, radius = int(random.integers(CLASSES)), random.uniform(20, 76, 2), random.uniform(6, 24, 2)
            angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            outline = (center + radius * np.stack([np.cos(angles), np.sin(angles)], 1)).clip(0, SIDE)
            low, high = outline.min(0), outline.max(0)
            area = float(polygon_bits([outline.ravel()], SIDE, SIDE).sum())
            crowd = bool(random.random() < 0.1)
            boxes.append(
                Box(label, *low, *high, area, crowd, polygons=(tuple(outline.ravel().tolist()),))  # type: ignore[misc]
            )
            apart = np.hypot((columns - center[0]) / radius[0], (rows - center[1]) / radius[1])
            maps[k] += np.clip(4 * (1 - apart), -4, 4) + random.normal(0, 0.8, apart.shape)
            for cell in range(6 * k, 6 * k + int(random.integers(1, 6))):
                corners = np.concatenate([low, high]) + random.normal(0, 2.5, 4)
                head[:4, cell] = [*(corners[:2] + corners[2:]) / 2, *np.maximum(corners[2:] - corners[:2], 2)]
                head[4 : 4 + CLASSES, cell] = random.uniform(0, 0.4, CLASSES)
                head[4 + label, cell] = random.uniform(0.3, 0.99)
                head[4 + CLASSES :, cell] = random.normal(0, 0.1, CHANNELS)
                head[4 + CLASSES + k, cell] = 1
        items.append(Item(f"{number}.png", None, tuple(boxes), size=(SIDE, SIDE)))
        heads.append(head)
        prototypes.append(maps)
    return Sample(items, np.stack(heads), np.stack(prototypes))
