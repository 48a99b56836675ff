"""Classifiers of torchvision, with the preprocessing and categories of their weights' own description.

Its detectors, named here too, are those of ``torchvision_detection``.
"""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple

from edgewright.core.errors import InvalidInput, Unavailable
from edgewright.core.lazy import require

from . import checkpoint as weights_file
from .loaded import Loaded, Trainable, outputs, torch_module


def trainable(name: str, options: dict[str, Any], checkpoint: str | None = None, trust: bool = False) -> Trainable:
    """The torchvision classifier or detector `name`.

    Weights: `checkpoint`, else the pretrained; random with ``pretrained=false``. Option ``weights`` (IMAGENET1K_V1 ...)
    chooses among several pretrained weights, and with a checkpoint whose preprocessing to use; other options go to the
    model's builder. Raises `InvalidInput`, `Unavailable`.
    """
    models = require("torchvision.models", "host")
    from . import torchvision_detection as detection

    known = models.list_models(module=models)
    if name in models.list_models(module=models.detection):
        return detection.trainable(name, options, checkpoint, trust)
    if name not in known:
        known += detection.NAMES
        raise InvalidInput(
            f"torchvision has no classifier or detector '{name}'.",
            f"Similar names: {', '.join(difflib.get_close_matches(name, known, 3)) or 'none'}.",
            'List them: python -c "import torchvision as t; print(t.models.list_models(module=t.models))"',
        )
    built = build(name, options, checkpoint, trust)

    def finish(module: Any) -> Loaded:
        return Loaded(torch_module(module, name), spec_of(built.described, name, options), built.weights, built.notes)

    return Trainable(torch_module(built.model, name), finish, outputs)


class Built(NamedTuple):
    """A model of torchvision with its weights, the weights entry that describes it, and what to say of the weights."""

    model: Any
    described: Any
    weights: str
    notes: tuple[str, ...]


def build(name: str, options: dict[str, Any], checkpoint: str | None, trust: bool, **bare: Any) -> Built:
    """The model `name` of torchvision with its weights.

    Arguments as in `load`; `bare` are further options for a model that is built without pretrained weights.
    """
    models = require("torchvision.models", "host")
    import torch

    options = dict(options)
    described = _weights(models, name, options.pop("weights", "DEFAULT"))
    pretrained = bool(options.pop("pretrained", True)) and checkpoint is None
    torch.manual_seed(0)
    try:
        if pretrained:
            model = models.get_model(name, weights=described, **options)
        else:
            model = models.get_model(name, weights=None, **{**bare, **options})
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"torchvision cannot build '{name}': {error}",
            "An option does not exist or does not fit the weights.",
            "Correct the source's options.",
        ) from None
    except (OSError, RuntimeError) as error:  # urllib's URLError is an OSError
        raise Unavailable(
            f"The pretrained weights of '{name}' cannot be fetched ({type(error).__name__}).",
            f"The download failed: {error}",
            "Pass --checkpoint FILE, go online, or take random weights (for speed only): ?pretrained=false",
        ) from error
    taken = () if checkpoint is None else weights_file.apply(model, checkpoint, trust)
    weights = str(checkpoint) if checkpoint else f"torchvision, {described.name}" if pretrained else "random, seed 0"
    return Built(model, described, weights, taken)


def spec_of(weights: Any, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The spec fields that a torchvision weights entry describes (its transforms and categories; no network)."""
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


def unique(categories: list[str]) -> tuple[str, ...]:
    """The categories, with the class number added to those that torchvision names twice ("crane", "maillot", "N/A")."""
    return tuple(c if categories.count(c) == 1 else f"{c} ({i})" for i, c in enumerate(categories))


def _weights(models: Any, name: str, wanted: Any) -> Any:
    found = models.get_model_weights(name)
    if wanted not in found.__members__:
        raise InvalidInput(
            f"'{name}' has no weights '{wanted}'.",
            f"It has: {', '.join(found.__members__)}.",
            "Choose one of these: ?weights=...",
        )
    return found[wanted]
