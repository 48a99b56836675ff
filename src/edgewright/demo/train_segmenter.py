"""Train the demo's segmentation network: ``python -m edgewright.demo.train_segmenter``.

Trains the network of `segmenter` from random weights on scenes of the train split; the test scenes have other digits.
Writes ``regions.safetensors`` (16-bit floats, 1.2 MB). Its metadata has the command, the version and the mean IoU on
the test scenes, by a plain loop at the input's size. One CPU core takes about five minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from edgewright.core import files
from edgewright.core.lazy import version
from edgewright.data import scenes

from . import segmenter

if TYPE_CHECKING:
    import torch
    from torch import nn

WEIGHTS = Path(__file__).with_name("regions.safetensors")
SIDE = 160
"""The side of the model's square input in pixels. Images are stretched to it."""
BATCH, PEAK_RATE, ZOOM = 32, 4e-3, (0.8, 1.25)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m edgewright.demo.train_segmenter", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=WEIGHTS, help="the .safetensors to write")
    parser.add_argument("--scenes", type=int, default=2600, help="how many scenes to train on")
    parser.add_argument("--epochs", type=int, default=6)
    asked = parser.parse_args()
    train(files.absolute(asked.out), asked.scenes, asked.epochs)


def train(out: Path, count: int, epochs: int) -> None:
    """Train on `count` scenes for `epochs`, and write the weights to `out`.

    AdamW with a one-cycle schedule (Smith and Topin 2018). Each image is zoomed and shifted at random.
    """
    import safetensors.torch
    import torch

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, maps = drawn("train", count)
    test = drawn("test", scenes.COUNTS["test"])
    model = segmenter.build(len(scenes.REGIONS)).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE / 10, weight_decay=0.02)
    steps = count // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=epochs * steps, pct_start=0.2)
    for epoch in range(epochs):
        model.train()
        total, began = 0.0, time.monotonic()
        for part in torch.randperm(count)[: steps * BATCH].view(steps, BATCH):
            pixels, wanted = _varied(images[part], maps[part])
            with torch.autocast(device, torch.bfloat16):
                given = model(pixels.to(device).contiguous(memory_format=torch.channels_last))
            loss = loss_of(given.float(), wanted.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        found = mean_iou(model, *test)
        took = f"{time.monotonic() - began:.0f} s"
        sys.stderr.write(
            f"epoch {epoch + 1}: loss {total / steps:.4f}, mean IoU {found:.4f} on the test scenes, {took}\n"
        )
        facts = {
            "command": f"python -m edgewright.demo.train_segmenter --scenes {count} --epochs {epochs}",
            "epochs": f"{epoch + 1} of {epochs}",
            "mean IoU on the test scenes": f"{found:.4f}",
            "made with": f"torch {version('torch')}",
        }
        safetensors.torch.save_file(_half(model), out, facts)
    sys.stderr.write(f"{out}: {out.stat().st_size / 1e6:.2f} MB\n")


def loss_of(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return cross-entropy plus the mean Dice loss of the classes in the batch (Milletari et al. 2016).

    `given`: logits (N, classes, h, w). `wanted`: classes (N, h, w).
    """
    from torch.nn import functional as F

    shares, truth = given.softmax(1), F.one_hot(wanted, given.shape[1]).permute(0, 3, 1, 2).float()
    both, sums = (shares * truth).sum((0, 2, 3)), (shares + truth).sum((0, 2, 3))
    dice = 1 - (2 * both + 1) / (sums + 1)
    return F.cross_entropy(given, wanted) + dice[truth.sum((0, 2, 3)) > 0].mean()


def mean_iou(model: nn.Module, images: torch.Tensor, maps: torch.Tensor) -> float:
    """Return the mean IoU over the classes, from one confusion matrix over all images at the input's size."""
    import torch
    from torch.nn import functional as F

    n = len(scenes.REGIONS)
    counts = torch.zeros(n * n, dtype=torch.int64)
    model = model.eval()
    device = next(model.parameters()).device
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            pixels, wanted = images[start : start + BATCH], maps[start : start + BATCH].long()
            given = model(pixels.float().div(255).to(device)).cpu()
            found = F.interpolate(given, scale_factor=2, mode="bilinear").argmax(1)
            counts += torch.bincount((wanted * n + found).flatten(), minlength=n * n)
    matrix = counts.view(n, n).double()
    hits = matrix.diag()
    return float((hits / (matrix.sum(0) + matrix.sum(1) - hits)).mean())


def drawn(split: str, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scenes as the network sees them: uint8 pixels (N, 3, SIDE, SIDE) and classes (N, SIDE, SIDE)."""
    import torch

    size = (SIDE, SIDE)
    images, maps = np.empty((count, *size, 3), np.uint8), np.empty((count, *size), np.uint8)
    for k in range(count):
        image, _, regions = scenes.mapped(split, k)
        images[k] = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
        maps[k] = np.asarray(regions.resize(size, Image.Resampling.NEAREST))
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(maps)


def _varied(images: torch.Tensor, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images as floats from 0 to 1 and the maps at the size of the network's output, each zoomed and shifted
    at random."""
    import torch
    from torch.nn import functional as F

    n = len(images)
    zoom = torch.exp(torch.empty(n, 2).uniform_(*np.log(ZOOM)))
    turn = torch.zeros(n, 2, 3)
    turn[:, 0, 0], turn[:, 1, 1] = zoom.T
    turn[:, :, 2] = torch.empty(n, 2).uniform_(-0.2, 0.2)
    grid, half = (F.affine_grid(turn, [n, 1, side, side], align_corners=False) for side in (SIDE, SIDE // 2))
    pixels = F.grid_sample(images.float() / 255, grid, padding_mode="reflection", align_corners=False)
    wanted = F.grid_sample(maps[:, None].float(), half, "nearest", "reflection", align_corners=False)
    return pixels, wanted[:, 0].round().long()


def _half(model: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }


if __name__ == "__main__":
    main()
