"""Class maps at the size of the photo, next to Ultralytics' own postprocessing of the same outputs.

The outputs are those of YOLO26's semantic head at 640 pixels: 19 classes in maps of 80x80. They have regions of several
sizes, with outlines as smooth as a network's. Both sides run in turns, with two threads for torch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture

from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.tasks.segment.decode import read
from edgewright.tasks.segment.spec import Segment

SIDE, CLASSES, ROUNDS = 640, 19, 15
SPEC = ModelSpec(
    name="sem",
    inputs=(
        Input(
            height=SIDE,
            width=SIDE,
            preprocess=Preprocess(resize="letterbox", resize_to=(SIDE, SIDE), interpolation="opencv"),
        ),
    ),
    task=Segment(classes=CLASSES),
)


def logits(regions: int) -> np.ndarray:
    """Maps with about `regions` regions on each side."""
    random = torch.Generator().manual_seed(0)
    coarse = 4 * torch.randn(1, CLASSES, regions, regions, generator=random)
    return np.asarray(F.interpolate(coarse, (SIDE // 8, SIDE // 8), mode="bicubic").numpy())


def theirs(predictor: Any, maps: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """The library's own postprocessing."""
    image, frame = torch.zeros(1, 3, SIDE, SIDE), np.zeros((size[1], size[0], 3), np.uint8)
    (found,) = predictor.postprocess(maps, image, [frame])
    return np.asarray(found.semantic_mask.data)


def seconds(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@pytest.mark.parametrize("size", [(640, 640), (640, 480), (1280, 720)])
@pytest.mark.parametrize("regions", [4, 8])
def test_class_maps_take_a_third_of_the_librarys_time(
    size: tuple[int, int], regions: int, benchmark: BenchmarkFixture
) -> None:
    semantic = pytest.importorskip("ultralytics.models.yolo.semantic.predict")
    predictor = semantic.SemanticSegmentationPredictor(overrides={"verbose": False})
    predictor.model = SimpleNamespace(names={k: str(k) for k in range(CLASSES)})
    predictor.batch = [["frame"]]
    torch.set_num_threads(2)
    array = logits(regions)
    maps = torch.from_numpy(array)

    def ours() -> np.ndarray:
        (answer,) = read([array], SPEC, [size])
        return answer.classes

    assert (ours() == theirs(predictor, maps, size)).mean() > 0.998
    benchmark.pedantic(ours, rounds=1)
    times = [(seconds(ours), seconds(lambda: theirs(predictor, maps, size))) for _ in range(ROUNDS)]
    own, library = (1e3 * statistics.median(part) for part in zip(*times))
    print(f"\n{size[0]}x{size[1]}, {regions} regions a side: {own:.1f} ms, Ultralytics {library:.1f} ms")
    assert own <= library / 3
