"""The models that are measured on a GPU, and what is made of them first: on any machine."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import msgspec
import numpy as np
from PIL import Image

from edgewright.core.spec import ModelSpec, decode
from edgewright.data import sets
from edgewright.data.items import Item
from edgewright.export import exporter
from edgewright.runtimes import torch as reference
from edgewright.runtimes.contents import Contents
from edgewright.runtimes.options import Options
from edgewright.vision.preprocess import batch

TESTS = Path(__file__).parents[1]
SPECS = TESTS / "zoo" / "specs"
OWN = f"torch:{TESTS / 'zoo' / 'models.py'}"
MOST_IMAGES = 1000


class Model(NamedTuple):
    """A model by its source; `checkpoint`, `spec` and the images `data` (folder, split) are the zoo's, None: random."""

    name: str
    source: str
    checkpoint: str | None = None
    spec: str | None = None
    data: tuple[str, str] | None = None


CLASSIFIERS = (
    Model(
        "mobilenetv1_075", f"{OWN}:mobilenetv1?width=0.75", "mobilenetv1_075_keras_imagenet_timm.pt", "mobilenetv1",
        ("imagenet", "eval"),
    ),
    Model(
        "squeezenet1_1", "torchvision:squeezenet1_1", "squeezenet1_1_caffe_imagenet_torchvision.pt", "squeezenet",
        ("imagenet", "eval"),
    ),
    Model(
        "resnet18, 64 pixels", "timm:resnet18?num_classes=10", "resnet18_cifar10_64.safetensors", "cifar64",
        ("cifar10", "test"),
    ),
    Model(
        "ViT, 32 pixels", f"{OWN}:vit_cifar", "vit_cifar10_d128_depth4_timm.pt", "vit_cifar", ("cifar10", "test")
    ),
)  # fmt: skip
RANDOM = (Model("resnet50, random weights", "timm:resnet50?pretrained=false"),)
"""Latency depends on no weights; without a zoo all parts take these."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """Where and on what a part works.

    `device`: "cuda", or "cpu" where the script itself is tested. `zoo`: the folder of weights and images, None where
    there is none. `work`: a folder that all parts share. `seconds`: for how long one latency is measured. `until`: when
    no more is begun, by `time.monotonic`.
    """

    device: str = "cuda"
    zoo: Path | None = None
    work: Path
    models: tuple[Model, ...] = RANDOM
    seconds: float = 1.0
    images: int = MOST_IMAGES
    until: float = math.inf

    def files(self, model: Model) -> Path:
        """The folder of what `export` makes of `model`."""
        return self.work / "models" / "".join(c if c.isalnum() else "_" for c in model.name)

    def spec(self, model: Model) -> ModelSpec:
        """The spec of the exported `model`."""
        path = self.files(model) / exporter.SPEC
        return decode(path.read_bytes(), ModelSpec, str(path))


def export(setting: Setting, model: Model) -> None:
    """ONNX of one image and a torch program of any number of images."""
    assert setting.zoo or not model.checkpoint
    request = exporter.ExportRequest(
        checkpoint=str(setting.zoo / "weights" / model.checkpoint) if setting.zoo and model.checkpoint else None,
        spec_file=str(SPECS / f"{model.spec}.toml") if model.spec else None,
    )
    exporter.export(model.source, setting.files(model), request)


def items(setting: Setting, model: Model) -> list[Item]:
    """The labelled images of `model`, spread over all classes; none where its weights are random."""
    if setting.zoo is None or model.data is None:
        return []
    folder, split = model.data
    found = sets.read(setting.zoo / folder, split).items
    return list(found[:: max(1, -(-len(found) // setting.images))])


def pixels(setting: Setting, model: Model, count: int = 64) -> np.ndarray:
    """The preprocessed images of `model`, all of them; `count` of random pixels where it has none."""
    spec = setting.spec(model)
    if found := items(setting, model):
        return np.concatenate(
            [batch([item.path for item in found[i : i + 64]], spec) for i in range(0, len(found), 64)]
        )
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (min(count, setting.images), 8, 8, 3), np.uint8)
    return batch([Image.fromarray(one).resize((256, 256)) for one in noise], spec)


@contextlib.contextmanager
def on(device: str) -> Iterator[None]:
    """Let the reference run on this device, whatever the machine has."""
    with mock.patch.object(reference, "_device", lambda torch: device):
        yield


def opened(setting: Setting, model: Model, device: str) -> reference.Handle:
    """The reference of `model`, as reports have it, on this device."""
    with on(device):
        return reference.load(Contents(setting.files(model)), Options(runtime="torch"))


def answers(setting: Setting, model: Model, x: np.ndarray) -> np.ndarray:
    """What the reference answers on the CPU."""
    handle = opened(setting, model, "cpu")
    return np.concatenate([reference.run(handle, x[i : i + 50])[0] for i in range(0, len(x), 50)])


def median(times: list[float]) -> str:
    """Times in seconds as text: the median and the ninetieth percentile in milliseconds."""
    return " / ".join(f"{1e3 * float(np.quantile(times, q)):.3f}" for q in (0.5, 0.9))


def why(error: BaseException) -> str:
    """An error in one line."""
    parts: list[Any] = [getattr(error, "what", None), getattr(error, "why", None)]
    text = " ".join(str(part) for part in parts if part) or f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]
