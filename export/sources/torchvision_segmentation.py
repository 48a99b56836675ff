"""Segmentation models of torchvision (FCN, DeepLabV3, LR-ASPP), exported without their last resize.

torchvision scales the logits to the network's input inside the graph. A photo has another size, so they are scaled once
more. The exported module gives the logits as the head computes them, 8 times smaller on each side. edgewright scales
them once, to the photo. For a photo of the input's size the values are those of torchvision's forward().

torchvision scales the shorter side of a photo to 520 pixels. Here the input has one fixed size, into which photos are
letterboxed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edgewright.core.errors import InvalidInput

from .loaded import Loaded, Trainable, outputs, torch_module
from .torchvision_weights import build, unique

if TYPE_CHECKING:
    import torch

_SIZE = "520x696"
"""The default input: torchvision's for a photo of 4:3, with its longer side padded to a multiple of 8."""
_DIVISOR = 8
_LEAST = 32


def trainable(name: str, options: dict[str, Any], checkpoint: str | None = None, trust: bool = False) -> Trainable:
    """The torchvision segmentation model `name`, as a module that gives the logits of its main head (N, C, h, w).

    Weights: `checkpoint`, else the pretrained ones; random with ``pretrained=false``. The option ``size``
    (HEIGHTxWIDTH) is the input size; other options go to the model's builder. An auxiliary head is left out. Raises
    `InvalidInput`, `Unavailable`.
    """
    options = dict(options)
    size = _size(options.pop("size", _SIZE))
    built = build(name, options, checkpoint, trust, weights_backbone=None)
    categories = built.described.meta["categories"]

    def finish(module: Any) -> Loaded:
        spec = spec_of(name, categories, built.described.transforms(), size, _classes(module))
        return Loaded(torch_module(_logits(module), name), spec, built.weights, built.notes)

    return Trainable(torch_module(built.model, name), finish, lambda module, images: outputs(_logits(module), images))


def spec_of(name: str, categories: list[str], preset: Any, size: tuple[int, int], classes: int) -> dict[str, Any]:
    """The spec fields of a model of `classes` with the preprocessing `preset` of its weights."""
    return {
        "name": name,
        "task": "segment",
        "input": {"height": size[0], "width": size[1]},
        "preprocess": {
            # Padding is the mean color, which is zero after the normalization.
            "resize": "letterbox", "resize_to": size, "align": "corner",
            "pad": tuple(round(255 * value) for value in preset.mean),
            "interpolation": preset.interpolation.value, "exif": "ignore",
            "mean": tuple(preset.mean), "std": tuple(preset.std),
        },
        "outputs": ("out",),
        "segment": {"scores": "softmax", "resize": "bilinear"},
        "classes": classes,
        "labels": unique(categories) if classes == len(categories) else (),
    }  # fmt: skip


def _logits(model: Any) -> torch.nn.Module:
    """The part of `model` between the normalized image and the logits of its main head."""
    import torch

    class Logits(torch.nn.Module):  # type: ignore[misc]  # mypy does not follow torch
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.classifier = model.backbone, model.classifier
            self.takes_maps = "low" in getattr(model.backbone, "return_layers", {}).values()  # LR-ASPP

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = self.backbone(images)
            found: torch.Tensor = self.classifier(maps if self.takes_maps else maps["out"])
            return found

    return Logits()


def _classes(model: Any) -> int:
    """The number of classes: the channels of the head's last convolution."""
    import torch

    last = [part for part in model.classifier.modules() if isinstance(part, torch.nn.Conv2d)][-1]
    return int(last.out_channels)


def _size(text: Any) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", str(text))
    height, width = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(height, width) < _LEAST or height % _DIVISOR or width % _DIVISOR:
        raise InvalidInput(
            f"The size of the input is '{text}'.",
            f"It must be HEIGHTxWIDTH in pixels, both multiples of {_DIVISOR}.",
            f"Write it as ?size={_SIZE}.",
        )
    return height, width
