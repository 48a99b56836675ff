"""Classifiers of torchvision, with the preprocessing and categories of their weights' own description.

Names of detectors are passed on to ``torchvision_detection``, and of segmentation models to
``torchvision_segmentation``.
"""

from __future__ import annotations

import difflib
from typing import Any

from edgewright.core.errors import InvalidInput
from edgewright.core.lazy import require

from . import torchvision_detection as detection
from . import torchvision_segmentation as segmentation
from .loaded import Loaded, Trainable, outputs, torch_module
from .torchvision_weights import build, unique


def trainable(name: str, options: dict[str, Any], checkpoint: str | None = None, trust: bool = False) -> Trainable:
    """The torchvision classifier, detector or segmentation model `name`.

    Weights: `checkpoint`, else the pretrained ones; random with ``pretrained=false``. The option ``weights``
    (IMAGENET1K_V1 ...) selects the pretrained weights; with a checkpoint it selects the preprocessing. Other options go
    to the model's builder. Raises `InvalidInput`, `Unavailable`.
    """
    models = require("torchvision.models", "host")
    known = models.list_models(module=models)
    if name in models.list_models(module=models.detection):
        return detection.trainable(name, options, checkpoint, trust)
    if name in models.list_models(module=models.segmentation):
        return segmentation.trainable(name, options, checkpoint, trust)
    if name not in known:
        known += [*detection.NAMES, *models.list_models(module=models.segmentation)]
        raise InvalidInput(
            f"torchvision has no classifier, detector or segmentation model '{name}'.",
            f"Similar names: {', '.join(difflib.get_close_matches(name, known, 3)) or 'none'}.",
            'List the models: python -c "import torchvision as t; print(t.models.list_models(module=t.models))"',
        )
    built = build(name, options, checkpoint, trust)

    def finish(module: Any) -> Loaded:
        return Loaded(torch_module(module, name), spec_of(built.described, name, options), built.weights, built.notes)

    return Trainable(torch_module(built.model, name), finish, outputs)


def spec_of(weights: Any, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The spec fields of a torchvision weights entry (its transforms and categories). Uses no network."""
    preset, categories = weights.transforms(), weights.meta["categories"]
    height, width = (preset.crop_size * 2)[:2]
    classes = int(options.get("num_classes", len(categories)))
    resize = list(preset.resize_size)
    return {
        "name": name,
        "input": {"height": height, "width": width},
        "preprocess": {
            "resize": "shorter" if len(resize) == 1 else "exact", "resize_to": tuple((resize * 2)[:2]),
            "interpolation": preset.interpolation.value, "exif": "ignore", "crop": (height, width),
            "mean": tuple(preset.mean), "std": tuple(preset.std),
        },
        "classes": classes,
        "labels": unique(categories) if classes == len(categories) else (),
    }  # fmt: skip
