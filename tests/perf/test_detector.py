"""What a detector costs outside its network, beside Ultralytics' own predictor, interleaved in one run.

One 1280x720 frame in memory, YOLO11n at 640; in place of the network both sides get the same answer with 20 objects.
The library's predictor is called as an application calls it, and its pre- and postprocessing alone are shown beside.
Ultralytics decodes distances inside its network and we outside, so its side has less to do here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from edgewright.core.spec import Detect, Input, ModelSpec, Preprocess
from edgewright.vision import preprocess
from edgewright.vision.detection import detect

SIDE, OBJECTS = 640, 20
SPEC = ModelSpec(
    name="yolo11n", task="detect", classes=80, input=Input(height=SIDE, width=SIDE), outputs=("head",),
    preprocess=Preprocess(resize="letterbox", resize_to=(SIDE, SIDE), interpolation="opencv"),
    detect=Detect(decoder="dfl", scores="sigmoid"),
)  # fmt: skip


def frame() -> np.ndarray:
    """(720, 1280, 3) uint8, smooth with some texture."""
    y, x = np.mgrid[:720, :1280]
    waves = 128 + 90 * np.sin(x / 60 + np.arange(3)[:, None, None]) * np.cos(y / 80)
    noise = np.random.default_rng(0).normal(0, 8, waves.shape)
    return (waves + noise).clip(0, 255).astype(np.uint8).transpose(1, 2, 0).copy()


def head() -> np.ndarray:
    """(1, 144, 8400) float32: logits as a trained YOLO11n gives them, with `OBJECTS` objects of eight cells each."""
    random = np.random.default_rng(1)
    out = random.normal(0, 1, (1, 144, 8400)).astype(np.float32)
    out[:, 64:] -= 11
    for _ in range(OBJECTS):
        cell, kind = int(random.integers(8000)), int(random.integers(80))
        out[0, 64 + kind, cell : cell + 8] = random.uniform(-0.5, 3, 8)
    return out


def decoded(raw: np.ndarray) -> Any:
    """`raw` as the library's network gives it: centre, width, height, scores (1, 84, 8400)."""
    import torch
    from ultralytics.nn.modules.block import DFL
    from ultralytics.utils.tal import dist2bbox, make_anchors

    feats = [torch.zeros(1, 1, SIDE // s, SIDE // s) for s in (8, 16, 32)]
    anchors, strides = (a.transpose(0, 1) for a in make_anchors(feats, torch.tensor([8, 16, 32]), 0.5))
    x = torch.from_numpy(raw)
    boxes = dist2bbox(DFL(16)(x[:, :64]), anchors.unsqueeze(0), xywh=True, dim=1) * strides
    return torch.cat([boxes, x[:, 64:].sigmoid()], 1)


def medians(contestants: dict[str, Callable[[], object]], rounds: int = 100) -> dict[str, float]:
    """Median wall seconds of each contestant, called in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 10):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if turn >= 10:  # the first warm up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


@pytest.mark.benchmark(group="outside the network")
def test_outside_the_network(benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    ultralytics = pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")
    import torch

    from edgewright.vision import resize

    rgb, raw = frame(), head()
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    theirs = decoded(raw)
    model = ultralytics.YOLO("yolo11n.yaml")
    model.predict(bgr, imgsz=SIDE, rect=False, verbose=False, device="cpu")
    predictor = model.predictor

    def library_before() -> Any:
        return predictor.preprocess([bgr])

    x = library_before()

    def library_after() -> Any:
        predictor.batch = (["frame"], None, None)
        with torch.inference_mode():
            return predictor.postprocess(theirs.clone(), x, [bgr])

    def ours_before() -> Any:
        return preprocess.batch([rgb], SPEC)

    def ours_after() -> Any:
        return detect([raw], SPEC, [(1280, 720)])

    def library_call() -> Any:
        return predictor(bgr)

    monkeypatch.setattr(predictor, "inference", lambda *_, **__: theirs.clone())
    with monkeypatch.context() as patch:
        patch.setattr(resize, "_opencv", lambda: None)
        plain = medians({"numpy": ours_before}, 30)["numpy"]
    np.testing.assert_allclose(ours_before(), x.numpy(), atol=1e-6)
    (a,), (b,), (c,) = ours_after(), library_after(), library_call()
    assert len(a) == len(b) == len(c) > OBJECTS / 2
    found = medians(
        {
            "library": library_call, "library before": library_before, "before": ours_before,
            "library after": library_after, "after": ours_after, "copy": lambda: x.numpy().copy(),
        }
    )  # fmt: skip
    ms = {name: f"{value * 1e3:.2f}" for name, value in found.items()}
    ours = found["before"] + found["after"]
    print(
        f"\npreprocess {ms['before']} ms (Ultralytics {ms['library before']}; without OpenCV {plain * 1e3:.2f}), "
        f"postprocess {ms['after']} ({ms['library after']}); the library's predictor spends {ms['library']} ms outside "
        f"its network: ours is {ours / found['library']:.2f} of it ({(plain + found['after']) / found['library']:.2f} "
        f"without OpenCV), {ours / (found['library before'] + found['library after']):.2f} of its two steps alone. "
        f"Copying the input takes {ms['copy']} ms."
    )
    benchmark.extra_info.update({name: round(value * 1e3, 3) for name, value in found.items()})
    benchmark.pedantic(lambda: (ours_before(), ours_after()), rounds=20)
