"""The network of the segmentation demo: a small U-Net (Ronneberger et al. 2015) in plain torch.

It gives the logits of eleven classes at half of the input's size. `train_segmenter` trains it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

WIDTHS = (16, 32, 64, 96)
"""Channels at strides 2, 4, 8 and 16 of the encoder."""


def build(classes: int = 11) -> nn.Module:
    """Return the network with random weights; (N, 3, height, width) to (N, classes, height / 2, width / 2).

    Height and width are multiples of 16.
    """
    import torch
    from torch import nn

    def layer(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Module:
        conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU())

    class Residual(nn.Module):  # type: ignore[misc]
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first, self.second = layer(width, width), layer(width, width)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.second(self.first(x))

    class UNet(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            before = (3, *WIDTHS)
            down = [layer(a, b, stride=2) for a, b in zip(before, WIDTHS)]
            blocks = [nn.Identity(), Residual(WIDTHS[1]), Residual(WIDTHS[2])]
            blocks.append(nn.Sequential(Residual(WIDTHS[3]), Residual(WIDTHS[3])))
            self.down = nn.ModuleList(nn.Sequential(*pair) for pair in zip(down, blocks))
            self.narrow = nn.ModuleList(layer(a, b, kernel=1) for a, b in zip(WIDTHS[1:], WIDTHS))
            self.up = nn.ModuleList(Residual(width) for width in WIDTHS[:-1])
            self.head = nn.Conv2d(WIDTHS[0], classes, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            levels = []
            for level in self.down:
                x = level(x)
                levels.append(x)
            for k in (2, 1, 0):
                larger = nn.functional.interpolate(self.narrow[k](x), scale_factor=2.0, mode="nearest")
                x = self.up[k](larger + levels[k])
            out: torch.Tensor = self.head(x)
            return out

    return UNet()
