"""Factories for the zoo's weights that no library builds: sources such as ``torch:tests/zoo/models.py:resnet20``."""

from __future__ import annotations

import torch
from torch import nn


class _Block(nn.Module):
    """Two 3x3 convolutions; where the size changes, the shortcut is option A of He et al.: subsample, pad channels."""

    def __init__(self, inside: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.stride, self.pad = stride, (planes - inside) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.pad:
            x = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return torch.relu(out + x)


class CifarResNet(nn.Module):
    def __init__(self, blocks: int, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._layer(16, 16, blocks, 1)
        self.layer2 = self._layer(16, 32, blocks, 2)
        self.layer3 = self._layer(32, 64, blocks, 2)
        self.linear = nn.Linear(64, num_classes)

    @staticmethod
    def _layer(inside: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
        rest = [_Block(planes, planes, 1) for _ in range(blocks - 1)]
        return nn.Sequential(_Block(inside, planes, stride), *rest)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(out.mean((2, 3)))


def resnet20() -> nn.Module:
    return CifarResNet(3)


def resnet56() -> nn.Module:
    return CifarResNet(9)


def mobilenetv1(width: float = 1.0) -> nn.Module:
    """MobileNetV1 as Keras defines it (TensorFlow's "same" padding, BatchNorm eps 1e-3)."""
    from timm.models.efficientnet import _gen_mobilenet_v1 as generate

    return generate("mobilenetv1_100", width, pad_type="same", bn_eps=1e-3)


def vit_cifar() -> nn.Module:
    from functools import partial

    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=32, patch_size=4, embed_dim=128, depth=4, num_heads=4, mlp_ratio=2, num_classes=10,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )  # fmt: skip
