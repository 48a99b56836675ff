"""Preprocessing against Pillow alone (the resize and crop that it cannot do without) and OpenCV doing the same job.

The contestants are interleaved in one run, so that drift cancels; what is reported are ratios of medians. OpenCV's
bilinear resize has no antialiasing: it is faster because it computes other, worse pixels, and is here as a yardstick.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from edgewright.core.spec import Input, Preprocess
from edgewright.vision.image import open_image
from edgewright.vision.preprocess import preprocess

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HOST = Preprocess(resize_to=(256, 256), crop=(224, 224), mean=MEAN, std=STD)
GRAPH = Preprocess(resize_to=(256, 256), crop=(224, 224), normalize="graph")
PLANES, PACKED = Input(height=224, width=224), Input(height=224, width=224, layout="NHWC", dtype="uint8")


def photo() -> Image.Image:
    """A smooth 500x375 image with some texture, the size of ImageNet's median."""
    y, x = np.mgrid[:375, :500]
    waves = 128 + 90 * np.sin(x / 30 + np.arange(3)[:, None, None]) * np.cos(y / 40)
    noise = np.random.default_rng(0).normal(0, 8, waves.shape)
    return Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def pillow_alone(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((341, 256), Image.Resampling.BILINEAR).crop((58, 16, 282, 240)))


def opencv_job(pixels: np.ndarray) -> np.ndarray:
    import cv2

    crop = cv2.resize(pixels, (341, 256), interpolation=cv2.INTER_LINEAR)[16:240, 58:282]
    scaled = cv2.subtract(crop.astype(np.float32), (*(255 * m for m in MEAN), 0))
    return np.ascontiguousarray(cv2.divide(scaled, (*(255 * s for s in STD), 1)).transpose(2, 0, 1))


def medians(contestants: dict[str, Callable[[], object]], rounds: int = 150) -> dict[str, float]:
    """Median CPU seconds of each contestant, called in turns (all run in this thread; other load does not count)."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 10):
        for name, run in contestants.items():
            start = time.thread_time()
            run()
            if turn >= 10:  # the first warm up
                seconds[name].append(time.thread_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(benchmark: BenchmarkFixture, contestants: dict[str, Callable[[], object]]) -> None:
    found = medians(contestants)
    ours = found["edgewright"]
    for name, value in found.items():
        benchmark.extra_info[f"{name} ms"] = round(value * 1e3, 3)
        benchmark.extra_info[f"edgewright / {name}"] = round(ours / value, 3)
        print(f"  {name:24} {value * 1e3:7.3f} ms   edgewright takes {ours / value:5.2f}x of it")
    benchmark.pedantic(contestants["edgewright"], rounds=50, warmup_rounds=5)


@pytest.mark.parametrize("normalize", ["host", "graph"])
def test_decoded_image(benchmark: BenchmarkFixture, normalize: str) -> None:
    import cv2

    cv2.setNumThreads(1)
    image = photo()
    pixels = np.asarray(image)
    p, i = (HOST, PLANES) if normalize == "host" else (GRAPH, PACKED)
    report(
        benchmark,
        {
            "edgewright": lambda: preprocess(image, p, i),
            "Pillow alone": lambda: pillow_alone(image),
            "OpenCV, the whole job": lambda: opencv_job(pixels),
        },
    )


def test_jpeg_file(benchmark: BenchmarkFixture) -> None:
    import cv2

    cv2.setNumThreads(1)
    buffer = io.BytesIO()
    photo().save(buffer, "JPEG", quality=90)
    data = buffer.getvalue()
    raw = np.frombuffer(data, np.uint8)
    report(
        benchmark,
        {
            "edgewright": lambda: preprocess(open_image(data), HOST, PLANES),
            "Pillow alone": lambda: pillow_alone(Image.open(io.BytesIO(data)).convert("RGB")),
            "OpenCV, the whole job": lambda: opencv_job(
                cv2.cvtColor(cv2.imdecode(raw, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            ),
        },
    )
