"""The demo's images and models, written as a user's own would be: to try the commands on files of a user's layout."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgewright.core import child, files
from edgewright.core.lazy import require
from edgewright.core.store import Store
from edgewright.data import built_in, sets
from edgewright.data import digits as digit_images
from edgewright.data import scenes as scene_images
from edgewright.pipeline.stages.runner import StageRunner, Watch, made_by, quiet

from . import digits, images, scenes
from .train_detector import SIDE, WEIGHTS, yolo_rows

CLASSIFIER = {"photos", "best.safetensors", "best.toml"}
DETECTOR = {"data.yaml", "images", "labels", "best.pt"}
BEFORE = "demo-set"
"""The folder of the images as the demo reads them, before they get the names of `CLASSIFIER` and `DETECTOR`."""


def classifier(folder: Path, watch: Watch = quiet) -> None:
    """Write ``photos/{train,val}/<class>/*.png``, ``best.safetensors`` (weights of timm's resnet10t) and ``best.toml``.

    Trains the demo's classifier, unless its weights are in the store. Raises `InvalidInput` where anything but these
    names is in `folder`, `Unavailable` without scikit-learn.
    """
    runner = _runner(folder, watch)
    with built_in.replacing(folder, CLASSIFIER, "files of the demo") as new:
        images.write(runner, new / BEFORE, digit_images.SPLITS, digits.PARTS)
        weights = digits.trained(runner, new / BEFORE)
        for ending in ("safetensors", "toml"):
            shutil.copyfile(weights / f"digits.{ending}", new / f"best.{ending}")
        for split, name in {"train": "train", "test": "val"}.items():
            (new / "photos" / name).mkdir(parents=True)
            for digit, label in enumerate(scene_images.NAMES):
                (new / BEFORE / split / str(digit)).rename(new / "photos" / name / label)
        shutil.rmtree(new / BEFORE)


def detector(folder: Path, watch: Watch = quiet) -> None:
    """Write a YOLO data set (``data.yaml``, ``images/``, ``labels/``) and ``best.pt``, an Ultralytics checkpoint.

    Raises `InvalidInput` if anything but these names is in `folder`, `Unavailable` without scikit-learn or
    Ultralytics.
    """
    runner = _runner(folder, watch)
    require("ultralytics", "ultralytics")
    with built_in.replacing(folder, DETECTOR, "files of the demo") as new:
        images.write(runner, new / BEFORE, scene_images.COUNTS, scenes.parts())
        for split, name in {"calib": "train", "test": "val"}.items():
            for kind in ("images", "labels"):
                (new / kind / name).mkdir(parents=True)
            for item in sets.read(new / BEFORE, split).items:
                path = Path(item.path)
                (new / "labels" / name / f"{path.stem}.txt").write_text(yolo_rows(item))
                path.rename(new / "images" / name / path.name)
        shutil.rmtree(new / BEFORE)
        names = "".join(f"  {k}: {name}\n" for k, name in enumerate(scene_images.NAMES))
        (new / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}")
        inputs = {"weights": files.sha256(WEIGHTS), "made_by": made_by("export", "vision")}
        kept = runner.with_torch.run("checkpoint", "best.pt", inputs, f"{__name__}:as_checkpoint")
        shutil.copyfile(kept.path / "best.pt", new / "best.pt")


def as_checkpoint(folder: str, progress: child.Progress | None = None) -> None:
    """Write the demo's detector as ``best.pt``, with the fields that Ultralytics' trainer writes; runs in a child."""
    ultralytics = require("ultralytics", "ultralytics")
    import safetensors.torch
    import torch
    from ultralytics.nn.tasks import DetectionModel

    names = dict(enumerate(scene_images.NAMES))
    model = DetectionModel("yolo11n.yaml", nc=len(names), verbose=False)
    model.load_state_dict(safetensors.torch.load_file(WEIGHTS))
    model.names, model.args = names, {"imgsz": SIDE, "task": "detect"}
    content = {
        "epoch": -1, "model": model.half(), "train_args": {"imgsz": SIDE, "task": "detect"},
        "version": ultralytics.__version__,
    }  # fmt: skip
    torch.save(content, Path(folder, "best.pt"))


def _runner(folder: Path, watch: Watch) -> StageRunner:
    files.require_writable(files.absolute(folder), "Name another folder.")
    store = Store()
    store.require_writable()
    return StageRunner(store=store, limits=child.Limits(wall_s=900), watch=watch)
