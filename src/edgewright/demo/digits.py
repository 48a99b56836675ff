"""The classifier demo: train a small model on scikit-learn's digits and optimize it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import tomllib

from edgewright import api
from edgewright.core import child, files
from edgewright.core.spec import Input, Preprocess
from edgewright.core.store import Store
from edgewright.data import digits, sets
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.stages.runner import StageRunner, Watch, made_by, quiet

from . import images

if TYPE_CHECKING:
    import torch

    from edgewright.tasks.contract import Line

FOLDER = "build/demo"
"""The default output folder."""
SOURCE = "timm:resnet10t?num_classes=10&pretrained=false"
PARTS = (images.Part("digits", f"{digits.__name__}:draw", {}),)
EPOCHS, BATCH, PEAK_RATE = 4, 64, 4e-3
RECIPE = Recipe(methods=("minmax", "round", "nncf"), min_duration_s=1.0)
SPEC = """\
name = "digits"
labels = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

[input]
height = 32
width = 32

[preprocess]
resize = "exact"
resize_to = [32, 32]
crop = [32, 32]
interpolation = "bilinear"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
"""


def run(out: Path, *, recipe: Recipe | None = None, watch: Watch = quiet) -> api.Outcome:
    """Write the digits, train, and optimize. All output goes to `out`."""
    out = files.absolute(out)
    files.require_writable(out, "Name another folder: -o DIR")
    store = Store()
    store.require_writable()
    runner = StageRunner(store=store, limits=child.Limits(wall_s=900), watch=watch)
    data = out / "digits"
    images.write(runner, data, digits.SPLITS, PARTS)
    weights = trained(runner, data)
    with files.new_folder(out / "model") as folder:
        for name in ("digits.safetensors", "digits.toml"):
            shutil.copyfile(weights / name, folder / name)
    return api.optimize(
        SOURCE, checkpoint=out / "model" / "digits.safetensors", data=data, out=out,
        recipe=recipe or RECIPE, watch=watch,
    )  # fmt: skip


def show(outcome: api.Outcome, out: Path, count: int = 3) -> Iterator[Line]:
    """Lines for `count` test images, one of each of the first classes, with the predictions of the chosen bundle."""
    from edgewright.runtimes.session import open as open_bundle

    yield ("Three test images through the bundle:",)
    if outcome.best is None:
        return
    with open_bundle(outcome.best.path) as session:
        for folder in sorted((files.absolute(out) / "digits" / "test").iterdir())[:count]:
            path = min(folder.iterdir())
            answer = session(path)
            scores = ", ".join(f"{p.label} {p.score:.1%}" for p in answer.top[:3])
            yield f"  {path.parent.name}/{path.name}  →  ", ("bold", answer.label), f"  ({scores})"


def trained(runner: StageRunner, data: Path) -> Path:
    """The folder in the store with digits.safetensors and digits.toml, trained on the train split of `data`."""
    inputs = {
        "images": sets.read(data, "train").digests, "code": files.sha256(Path(__file__)),
        "made_by": made_by("export", "vision"),
    }  # fmt: skip
    return runner.with_torch.run("train", SOURCE, inputs, f"{__name__}:train", data=str(data)).path


def train(data: str, folder: str, progress: child.Progress | None = None) -> None:
    """Train on the train split with the preprocessing of `SPEC`; writes digits.safetensors and digits.toml.

    AdamW with a one-cycle schedule (Smith and Topin 2018) and label smoothing. Runs in a child.
    """
    import safetensors.torch
    import timm
    import torch

    torch.manual_seed(0)
    Path(folder, "digits.toml").write_text(SPEC)
    x, y = _tensors(Path(data))
    model = timm.create_model("resnet10t", num_classes=10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE / 2, weight_decay=0.05)
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=EPOCHS * steps)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.05)
    model.train()
    for epoch in range(EPOCHS):
        order = torch.randperm(len(x))
        for step in range(steps):
            part = order[step * BATCH : (step + 1) * BATCH]
            loss = loss_of(model(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if progress:
            progress(epoch + 1, EPOCHS, f"epoch {epoch + 1} of {EPOCHS}, loss {loss.item():.3f}")
    safetensors.torch.save_file(model.state_dict(), Path(folder, "digits.safetensors"))


def _tensors(data: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of the train split, preprocessed as the session does it."""
    import torch

    from edgewright.vision.image import open_image
    from edgewright.vision.preprocess import preprocess

    table = tomllib.loads(SPEC)
    how, shape = msgspec.convert(table["preprocess"], Preprocess), msgspec.convert(table["input"], Input)
    items = sets.read(data, "train").items
    pixels = np.stack([preprocess(open_image(item.path), how, shape) for item in items])
    return torch.from_numpy(pixels), torch.tensor([item.label for item in items])
