"""Models of timm, with the evaluation preprocessing and labels of their ``pretrained_cfg``."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from typing import Any

from edgewright.core.errors import InvalidInput, Unavailable
from edgewright.core.lazy import require

from . import checkpoint as weights_file
from . import merging
from .loaded import Loaded, Trainable, outputs, torch_module


def trainable(name: str, options: dict[str, Any], checkpoint: str | None = None, trust: bool = False) -> Trainable:
    """The timm model `name`. Weights: `checkpoint`, else the pretrained ones; random with option ``pretrained=false``.

    Other options go to ``timm.create_model``. Raises `InvalidInput` (unknown name or option), `Unavailable` (the hub
    cannot be reached).
    """
    timm = require("timm", "host")
    import torch

    architecture = name.partition(".")[0]
    if "/" not in name and not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), 3)
        raise InvalidInput(
            f"timm has no model '{architecture}'.",
            f"Similar names: {', '.join(near) or 'none'}.",
            "List the models: python -c \"import timm; print(timm.list_models('*resnet*'))\"",
        )
    options = dict(options)
    pretrained = bool(options.pop("pretrained", True)) and checkpoint is None
    torch.manual_seed(0)  # the same random weights in every run
    try:
        model = timm.create_model(name, pretrained=pretrained, **options)
    except Exception as error:  # the hub's errors have no common class
        raise _failure(name, error, pretrained) from error
    taken = () if checkpoint is None else weights_file.apply(model, checkpoint, trust)
    weights = str(checkpoint) if checkpoint else "timm, pretrained" if pretrained else "random, seed 0"

    def finish(module: Any) -> Loaded:
        spec = spec_of(module, architecture, options)
        merged, notes = merging.merge(torch_module(module, name), spec["input"])
        return Loaded(merged, spec, weights, taken + notes)

    return Trainable(torch_module(model, name), finish, outputs)


def spec_of(model: Any, name: str, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """The spec fields of a timm model, with the preprocessing of ``timm.data.create_transform`` for evaluation."""
    timm_data = require("timm.data", "host")
    sizes = {k: v for k, v in (options or {}).items() if k in ("img_size", "in_chans") and isinstance(v, int)}
    config = timm_data.resolve_data_config(sizes, model=model)
    channels, height, width = config["input_size"]
    scale = tuple(math.floor(side / config["crop_pct"]) for side in (height, width))
    resize = {"center": "shorter", "squash": "exact"}.get(config["crop_mode"])
    if resize is None:
        raise InvalidInput(
            f"{name} is evaluated with crop mode '{config['crop_mode']}'.",
            "edgewright supports the modes 'center' and 'squash'.",
            "Choose another model of this family.",
        )
    classes = int(getattr(model, "num_classes", 0))
    if classes < 1:
        raise InvalidInput(f"{name} has no classifier.", "It gives features.", "Set num_classes, e.g. ?num_classes=10")
    interpolation = config["interpolation"]
    return {
        "name": name,
        "input": {"height": height, "width": width, "channels": channels},
        "preprocess": {
            "resize": resize, "resize_to": scale, "crop": (height, width),
            # timm's "random" is for training augmentation; its evaluation uses bilinear instead.
            "interpolation": "bilinear" if interpolation == "random" else interpolation, "exif": "ignore",
            "color": "L" if channels == 1 else "RGB",
            "mean": tuple(config["mean"])[:channels], "std": tuple(config["std"])[:channels],
        },
        "classes": classes,
        "labels": labels(model) if classes == 1000 else (),
    }  # fmt: skip


def labels(model: Any) -> tuple[str, ...]:
    """The names of the ImageNet-1k classes, with the definition where two classes share a name (crane)."""
    info = require("timm.data", "host").ImageNetInfo("imagenet-1k")
    names = [info.index_to_description(i) for i in range(info.num_classes())]
    count = Counter(names)
    return tuple(
        name if count[name] == 1 else info.index_to_description(i, detailed=True) for i, name in enumerate(names)
    )


def _failure(name: str, error: Exception, pretrained: bool) -> Exception:
    text = " ".join(str(error).split())[:200]
    if isinstance(error, TypeError) or "Invalid pretrained tag" in text or "No pretrained weights" in text:
        return InvalidInput(
            f"timm cannot build '{name}': {text}",
            "An option or the pretrained tag does not exist.",
            "Correct the source's options.",
        )
    if pretrained:
        return Unavailable(
            f"The pretrained weights of '{name}' cannot be downloaded ({type(error).__name__}).",
            f"The model hub did not answer: {text}",
            "Pass --checkpoint FILE, go online, or use random weights (for speed only): ?pretrained=false",
        )
    return error
