"""The folder that examples run in: photos, boxes, checkpoints, models, bundles and reports by the names that they use.

All of it is small, and made here or by the product itself. What would only take time is replaced in `quick`: processes
are kept for the next step, and a latency is a hundred calls on a machine that counts as quiet.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import typer
from PIL import Image

from edgewright.bench import accuracy, environment, html, latency
from edgewright.bench.gallery import Pair
from edgewright.bench.results import Report
from edgewright.core import child, statistics, warm
from edgewright.pipeline.jobs import prune
from edgewright.pipeline.stages import runner

if TYPE_CHECKING:
    import onnx

CLASSES, SIDE = 10, 32
COLOURS = [(40 + 60 * (k % 4), 40 + 60 * (k // 4), 200 - 50 * (k % 3)) for k in range(CLASSES)]
LABELS = ", ".join(f'"colour {k}"' for k in range(CLASSES))
SPEC = f"""\
name = "colours"
labels = [{LABELS}]
[input]
height = {SIDE}
width = {SIDE}
[preprocess]
resize = "exact"
resize_to = [{SIDE}, {SIDE}]
crop = [{SIDE}, {SIDE}]
interpolation = "bilinear"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
"""
NET = f"""\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return torch.relu(x + self.second(torch.relu(self.first(x))))


def build(width=32):
    '''The logits are how near an image's mean colour is to those of the classes: right on every image.'''
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, width, 3, padding=1), nn.Linear(width, {CLASSES})
    net = nn.Sequential(first, nn.ReLU(), Block(width), Block(width), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    colours = torch.tensor({COLOURS}) / 127.5 - 1
    with torch.no_grad():
        for values in net.parameters():
            values.mul_(0.01)
        for channel in range(3):
            first.weight[channel, channel, 1, 1] = first.bias[channel] = 1.0
            last.weight[:, channel] = 40 * colours[:, channel]
        last.bias.copy_(-20 * colours.square().sum(1) - 40 * colours.sum(1))
    return net
"""
QUICK = """\
methods = ["minmax"]
normalize = ["host"]
finalists = 0
"""
RECIPES = {"here.toml": f'runtimes = ["onnxruntime"]\n{QUICK}', "jetson.toml": f'runtimes = ["tensorrt"]\n{QUICK}'}


LONGEST_S = 0.005
"""No call counts as longer, whatever else the machine does: budgets in examples are of 10 ms."""


class Reused(child.Child):
    """A child process that waits for the next one to be asked for where another would end: libraries load once."""

    idle: list[Reused] = []

    def __init__(
        self,
        log: Path,
        limits: child.Limits = child.Limits(),
        env: dict[str, str] | None = None,
        kind: warm.Kind | None = "light",
    ) -> None:
        if self.idle:
            self.__dict__.update(self.idle.pop(0).__dict__)
            self.log, self.limits = log, limits
        else:
            super().__init__(log, limits, child.YIELDING, None)

    def close(self) -> None:
        if self._process.poll() is None:
            self.idle.append(self)
            self.idle.sort(key=lambda one: one._process.pid)  # the oldest has loaded the most: it is the next
        else:
            super().close()

    @classmethod
    def end(cls) -> None:
        """End all processes that wait."""
        while cls.idle:
            super(Reused, cls.idle.pop()).close()


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Leave out what only takes time.

    Children are `Reused`; latencies are short, and never marked as no evidence. The program and the versions of
    libraries are read once, files are not flushed to the disk, and a run's HTML page is left out: `edgewright report`
    writes one.
    """
    observe, write_page = latency.observe, html.write

    def write_named_page(report: Report, path: Path, gallery: Sequence[Pair] = ()) -> None:
        if path.parent == Path.cwd():
            write_page(report, path, gallery)

    def observe_shortly(
        artifacts: Mapping[str, Path], images: Sequence[str], folder: Path, setup: latency.Setup, progress: Any = None
    ) -> list[latency.Observed]:
        short = latency.Rules(
            min_duration_s=0.05, min_count=130, max_duration_s=0.2, rounds=2, launches=1, warm_up_s=0.04,
            rate_hz=setup.rules.rate_hz, camera_frames=8,
        )  # fmt: skip
        seen = observe(artifacts, images, folder, dataclasses.replace(setup, rules=short), progress)
        for watched in (way for one in seen for way in (one.whole, one.camera) if way):
            samples = np.load(folder / watched.samples)
            np.save(folder / watched.samples, np.minimum(samples, LONGEST_S))
        return seen

    with pytest.MonkeyPatch.context() as patch:
        for module in (child, accuracy, latency):
            patch.setattr(module, "Child", Reused)
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(runner, "version", functools.cache(runner.version))
        patch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
        patch.setattr(html, "write", write_named_page)
        patch.setattr(latency, "observe", observe_shortly)
        patch.setattr(prune, "RUNS", 1)
        patch.setattr(statistics, "is_steady", lambda *_, **__: True)
        patch.setattr(environment, "objection", lambda *_, **__: None)
        try:
            yield
        finally:
            Reused.end()


def restore(work: Path, kit: Path) -> None:
    """Make the folder `work` again what it was when `kit` was copied of it; images, which nothing writes, stay."""
    for name in {path.name for folder in (work, kit) for path in folder.iterdir()} - IMAGES:
        now, before = work / name, kit / name
        if _state(now) == _state(before):
            continue
        shutil.rmtree(now) if now.is_dir() else now.unlink(missing_ok=True)
        if before.exists():
            (shutil.copytree if before.is_dir() else shutil.copy2)(before, now)


def _state(path: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files in `path`, or of itself."""
    files = ((file, file.stat()) for file in sorted(path.rglob("*") if path.is_dir() else [path]) if file.exists())
    return [(str(file.relative_to(path)), about.st_size, about.st_mtime_ns) for file, about in files]


def build(folder: Path, run: Callable[[str], None]) -> None:
    """Fill `folder`, which is the working directory; `run` runs a command line that must end well."""
    detector = _imported(Path(__file__).parents[1] / "e2e" / "test_detect.py")
    _photos(folder)
    _boxes(folder, detector)
    _models(folder, detector)
    run(f"edgewright export {MINE} --data photos/ -o model.onnx")
    quantize = "edgewright quantize model.onnx --calibration photos/calib --method minmax"
    run(f"{quantize} --scheme ort-x86 -o resnet18.int8.onnx")
    run(f"{quantize} --scheme tensorrt -o resnet18.tensorrt.onnx")
    for name, copies in MODEL_COPIES.items():
        for copy in copies:
            shutil.copyfile(name, copy)
    run("edgewright compile model.onnx --runtime onnxruntime -o resnet18.edge")
    run("edgewright compile resnet18.int8.onnx --runtime onnxruntime -o int8.edge")
    run("edgewright compile detector.onnx --runtime onnxruntime -o detector.edge")
    run(f"edgewright optimize {MINE} --data many/ --recipe here.toml -o out/")
    run("edgewright history add out/ history.jsonl")
    run(f"edgewright prune {MINE} --data photos/ --blocks 1 --epochs 1 -o slim")
    for name, copies in COPIES.items():
        for copy in copies:
            (folder / copy).parent.mkdir(exist_ok=True)
            shutil.copytree(name, copy)


FACTORY = "torch:mymodels.net:build"
MINE = f"{FACTORY} --spec net.toml"
MODEL_COPIES = {
    "model.onnx": ("resnet18.onnx", "mobilenet.onnx", "net.onnx"), "resnet18.int8.onnx": ("mobilenet.int8.onnx",),
    "resnet18.tensorrt.onnx": ("squeezenet.int8.onnx",),
}  # fmt: skip
COPIES = {
    "photos": ("cifar10", "imagenet", "more"), "coco": ("mine",),
    "resnet18.edge": ("float.edge", "a.edge", "out/resnet18.edge"), "int8.edge": ("b.edge",),
    "detector.edge": ("out/yolo11n.edge", "out/best.edge"), "slim": ("d",), "out": ("main",),
}  # fmt: skip


IMAGES = {"photos", "many", *COPIES["photos"], "coco", *COPIES["coco"], "coco-val", "coco-train"}


def _photos(folder: Path) -> None:
    """``photos/``; ``many/`` with 300 to evaluate on, so that a loss of a point can be excluded; single images."""
    for seed, (name, count) in enumerate({"photos": 10, "many": 30}.items()):
        random = np.random.default_rng(seed)
        for split, images in {"calib": 4, "val": count}.items():
            for label, colour in enumerate(COLOURS):
                below = folder / name / split / str(label)
                below.mkdir(parents=True)
                for number in range(images):
                    pixels = np.array(colour) + random.integers(-15, 16, (20, 24, 3))
                    Image.fromarray(pixels.astype(np.uint8)).save(below / f"{number}.png")
    for name in ("photo.jpg", "a.jpg", "b.png"):
        Image.new("RGB", (40, 30), COLOURS[3]).save(folder / name)


def _boxes(folder: Path, detector: ModuleType) -> None:
    """Squares with annotations as COCO's: ``coco/``, ``coco-val/``, ``coco-train/``; ``street.jpg``."""
    for seed, (name, count) in enumerate({"coco": 140, "coco-val": 40, "coco-train": 40}.items()):
        detector.write_scenes(folder / name, count, seed)
    Image.open(folder / "coco/images/0.png").save(folder / "street.jpg")


def _models(folder: Path, detector: ModuleType) -> None:
    """The classifier's code, weights and descriptions; detectors as ONNX files."""
    import onnx
    import safetensors.torch
    import torch

    (folder / "mymodels").mkdir()
    (folder / "mymodels/net.py").write_text(NET)
    for name in ("net", "squeezenet", "cifar64"):
        (folder / f"{name}.toml").write_text(SPEC)
    weights = _imported(folder / "mymodels/net.py").build().state_dict()
    torch.save(weights, folder / "net.pt")
    shutil.copyfile("net.pt", "squeezenet.pt")  # the same bytes: another file would be exported once more
    for name in ("best.safetensors", "resnet18_cifar10.safetensors"):
        safetensors.torch.save_file(weights, folder / name)
    for name in ("detector", "yolox_nano"):
        onnx.save(detector.squares(), folder / f"{name}.onnx")
        (folder / f"{name}.toml").write_text(detector.SPEC)
    onnx.save(as_exported_by_ultralytics(detector.squares()), folder / "yolo11n.onnx")
    for name, content in RECIPES.items():
        (folder / name).write_text(content)


def as_exported_by_ultralytics(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` (of test_detect.py) with its cells decoded in the graph, and the metadata that ``yolo export`` writes."""
    from onnx import TensorProto, helper, numpy_helper

    graph, node = model.graph, helper.make_node
    grid = np.stack(np.meshgrid(np.arange(4), np.arange(4)), -1).reshape(1, 16, 2).astype(np.float32)
    constants = {
        "grid": grid, "stride": np.float32(16), "columns": np.array([2, 2, 1, 2])
    }  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    graph.node.extend([
        node("Split", ["answer", "columns"], ["middles", "sides", "sure", "classes"], "columns", axis=2),
        node("Add", ["middles", "grid"], ["placed"], "placed"),
        node("Mul", ["placed", "stride"], ["xy"], "xy"),
        node("Exp", ["sides"], ["grown"], "grown"),
        node("Mul", ["grown", "stride"], ["wh"], "wh"),
        node("Mul", ["sure", "classes"], ["told"], "told"),
        node("Concat", ["xy", "wh", "told"], ["rows0"], "rows0", axis=2),
        node("Transpose", ["rows0"], ["output0"], "output0", perm=[0, 2, 1]),
    ])  # fmt: skip
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 6, 16]))
    said = {"author": "Ultralytics", "task": "detect", "names": "{0: 'red', 1: 'blue'}"}
    for key, value in said.items():
        model.metadata_props.add(key=key, value=value)
    return model


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
