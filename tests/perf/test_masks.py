"""Decoding of instance masks beside Ultralytics' own postprocessing of the same outputs, interleaved in one run.

A 640x640 photo, and a head of YOLO11n-seg at 640 with 20 objects of 30 to 300 pixels. The library's predictor
suppresses boxes and computes masks, at the input's size as it does by default, and at the photo's with
``retina_masks=True``. Ours decodes boxes (the library does that inside of its network), suppresses, and computes all
masks as full-size arrays. What the run lengths of all masks take instead is shown, too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.tasks.instances.decode import read
from edgewright.tasks.instances.spec import Instances

SIDE, OBJECTS = 640, 20
SPEC = ModelSpec(
    name="yolo11n-seg",
    inputs=(
        Input(
            height=SIDE,
            width=SIDE,
            preprocess=Preprocess(resize="letterbox", resize_to=(SIDE, SIDE), interpolation="opencv"),
        ),
    ),
    outputs=("head", "coefficients", "prototypes"),
    task=Instances(decoder="dfl", scores="sigmoid", classes=80),
)


def outputs() -> list[np.ndarray]:
    """The head (1, 144, 8400), coefficients (1, 32, 8400) and prototypes (1, 32, 160, 160) of an image."""
    random = np.random.default_rng(1)
    head = random.normal(0, 1, (1, 144, 8400)).astype(np.float32)
    head[:, 64:] -= 11
    for _ in range(OBJECTS):
        column, row, kind = int(random.integers(8, 32)), int(random.integers(8, 32)), int(random.integers(80))
        sides = random.uniform(1, 9, 4)  # cells of 16 pixels
        for near in range(3):
            cell = 6400 + row * 40 + column + near
            head[0, 64 + kind, cell] = random.uniform(-0.5, 3)
            for side, length in enumerate(sides):
                bins = np.abs(np.arange(16) - length)
                head[0, 16 * side : 16 * side + 16, cell] = 6 - 6 * bins
    coarse = random.normal(0, 1, (1, 32, 20, 20)).astype(np.float32)
    return [head, random.normal(0, 1, (1, 32, 8400)).astype(np.float32), np.kron(coarse, np.ones((8, 8), np.float32))]


def medians(contestants: dict[str, Callable[[], object]], rounds: int = 10) -> dict[str, float]:
    """Median wall seconds of each contestant, called in turns of five. The first two calls of a turn do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            for call in range(5):
                start = time.perf_counter()
                run()
                if call >= 2:
                    seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


@pytest.mark.benchmark(group="masks")
def test_masks_take_a_third_of_the_librarys_postprocessing(benchmark: BenchmarkFixture) -> None:
    ultralytics = pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")
    import torch

    given = outputs()
    bgr = np.zeros((SIDE, SIDE, 3), np.uint8)
    model = ultralytics.YOLO("yolo11n-seg.yaml")
    predictors = {}
    for name, retina in (("library", False), ("library, retina", True)):
        model.predictor = None
        model.predict(bgr, imgsz=SIDE, rect=False, verbose=False, device="cpu", retina_masks=retina)
        predictors[name] = model.predictor
    layer = model.model.model[-1]
    parts = {
        "boxes": torch.from_numpy(given[0][:, :64]), "scores": torch.from_numpy(given[0][:, 64:]),
        "mask_coefficient": torch.from_numpy(given[1]),
        "feats": [torch.zeros(1, 1, SIDE // s, SIDE // s) for s in (8, 16, 32)],
    }  # fmt: skip
    with torch.inference_mode():
        decoded = layer._inference(parts)
    x, prototypes = torch.zeros(1, 3, SIDE, SIDE), torch.from_numpy(given[2])

    def library(name: str) -> Any:
        predictors[name].batch = (["frame"], None, None)
        with torch.inference_mode():
            return predictors[name].postprocess((decoded.clone(), prototypes), x, [bgr])[0]

    def ours() -> Any:
        return read(given, SPEC, [(SIDE, SIDE)])[0].masks

    def run_lengths() -> Any:
        (found,) = read(given, SPEC, [(SIDE, SIDE)])
        return [found.rle(k) for k in range(len(found))]

    theirs, found = library("library, retina").masks.data.numpy() > 0, ours()
    assert len(theirs) > OBJECTS / 2 and int(found.any(axis=(1, 2)).sum()) == len(theirs)
    assert (found[found.any(axis=(1, 2))] != theirs).mean() < 1e-3
    took = medians(
        {
            "library": lambda: library("library"), "library, retina": lambda: library("library, retina"),
            "ours": ours, "run lengths": run_lengths,
        }
    )  # fmt: skip
    ms = {name: f"{value * 1e3:.2f} ms" for name, value in took.items()}
    print(
        f"\n{len(theirs)} objects: all masks {ms['ours']}, as run lengths {ms['run lengths']}; Ultralytics "
        f"{ms['library']} at the input's size, {ms['library, retina']} at the photo's. Ours is "
        f"{took['ours'] / took['library']:.2f} and {took['ours'] / took['library, retina']:.2f} of it."
    )
    benchmark.extra_info.update({name: round(value * 1e3, 3) for name, value in took.items()})
    assert took["ours"] <= took["library, retina"] / 3 and took["ours"] <= took["library"] / 3
    benchmark.pedantic(ours, rounds=10)
