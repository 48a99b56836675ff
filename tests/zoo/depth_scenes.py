"""Scenes with a known depth, and a small network that learns it: ``python tests/zoo/depth_scenes.py FOLDER``.

A scene is a textured floor up to a horizon, and upright boxes on it. Depth follows from the place on the floor.
The cues are position, texture and size, as in real photos.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

SIDE, NEAREST, FARTHEST = 96, 1.0, 20.0
TOML = f"""\
name = "scenes-depth"
task = "depth"
[input]
height = {SIDE}
width = {SIDE}
[preprocess]
resize = "exact"
resize_to = [{SIDE}, {SIDE}]
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
[depth]
unit = "m"
values = "log"
max_depth = 30.0
"""


def scene(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo (96, 128, 3) uint8, and its depth in meters (96, 128)."""
    height, width = 96, 128
    horizon = random.uniform(0.25, 0.5) * height
    y, x = np.mgrid[:height, :width]
    below = np.maximum(y - horizon, 1e-3)
    reach = NEAREST * (height - horizon)
    depth = np.clip(reach / below, NEAREST, FARTHEST)
    lines = np.sin(depth * random.uniform(1, 3)) * np.sin((x - width / 2) / below * random.uniform(1, 4))
    floor, sky = random.uniform(40, 200, 3), random.uniform(100, 255, 3)
    photo = np.where((y > horizon)[..., None], floor + 30 * np.sign(lines)[..., None], sky)
    for distance in sorted(random.uniform(1.5, 12, int(random.integers(2, 7))), reverse=True):
        base, size = horizon + reach / distance, random.uniform(0.5, 1.5) * reach / distance
        left, wide = random.uniform(0, width), size * random.uniform(0.4, 1.2)
        inside = (y <= base) & (y > base - size) & (np.abs(x - left) < wide / 2)
        photo = np.where(inside[..., None], random.uniform(0, 255, 3) * (1 - 0.3 * (x - left) / wide)[..., None], photo)
        depth = np.where(inside, distance, depth)
    photo = photo * random.uniform(0.6, 1.1) + random.normal(0, 6, photo.shape)
    return np.clip(photo, 0, 255).astype(np.uint8), depth.astype(np.float32)


def write(folder: Path, counts: dict[str, int]) -> None:
    """Write scenes: images as PNG, depths as 16-bit PNG in millimeters."""
    for seed, (split, count) in enumerate(counts.items()):
        for kind in ("images", "depth"):
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            photo, depth = scene(np.random.default_rng([7, seed, number]))
            Image.fromarray(photo).save(folder / split / "images" / f"{number:03}.png")
            millimeters = np.rint(depth * 1000).astype(np.uint16)
            Image.fromarray(millimeters).save(folder / split / "depth" / f"{number:03}.png")


def block(before: int, after: int, stride: int = 1) -> nn.Sequential:
    """A convolution, a batch norm, and SiLU."""
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.SiLU())


class Net(nn.Module):
    """A small U-Net: (N, 3, 96, 96) -> the logarithm of the depth (N, 1, 48, 48)."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = block(3, 16, 2), nn.Sequential(block(16, 32, 2), block(32, 32))
        self.three, self.four = (
            nn.Sequential(block(32, 64, 2), block(64, 64)),
            nn.Sequential(block(64, 96, 2), block(96, 96)),
        )
        self.up3, self.up2, self.up1 = block(96 + 64, 64), block(64 + 32, 32), block(32 + 16, 24)
        self.last = nn.Conv2d(24, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the depth."""
        one = self.one(x)
        two = self.two(one)
        three = self.three(two)
        deep = self.four(three)
        for up, skip in ((self.up3, three), (self.up2, two), (self.up1, one)):
            deep = up(torch.cat([F.interpolate(deep, scale_factor=2.0, mode="nearest"), skip], 1))
        found: torch.Tensor = self.last(deep)
        return found


def build() -> Net:
    """The network, for ``torch:depth_scenes.py:build``."""
    return Net()


def train(out: Path, steps: int = 300) -> None:
    """Train on new scenes and write the weights to `out` (safetensors)."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    net, random = build(), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(net.parameters(), 4e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(steps):
        scenes = [scene(random) for _ in range(8)]
        photos = [
            np.asarray(Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for photo, _ in scenes
        ]
        x = (torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
        wanted = torch.from_numpy(np.stack([depth for _, depth in scenes]))[:, None].log()
        loss = (F.interpolate(net(x), size=wanted.shape[2:], mode="bilinear") - wanted).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    net.eval()
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, out)
    sys.stderr.write(f"{out}: loss {float(loss):.4f}\n")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    write(folder / "data", {"val": 100, "calib": 100})
    train(folder / "weights.safetensors")
    (folder / "weights.toml").write_text(TOML)
