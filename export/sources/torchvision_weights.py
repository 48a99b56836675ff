"""A model of torchvision with its weights, and the entry that describes them."""

from __future__ import annotations

from typing import Any, NamedTuple

from edgewright.core.errors import InvalidInput, Unavailable
from edgewright.core.lazy import require

from . import checkpoint as weights_file


class Built(NamedTuple):
    """A model of torchvision with its weights, the entry that describes them, and their origin as text."""

    model: Any
    described: Any
    weights: str
    notes: tuple[str, ...]


def build(name: str, options: dict[str, Any], checkpoint: str | None, trust: bool, **bare: Any) -> Built:
    """The model `name` of torchvision with its weights.

    Arguments as in `torchvision.trainable`; `bare`: further options for a model built without pretrained weights.
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
            f"The pretrained weights of '{name}' cannot be downloaded ({type(error).__name__}).",
            f"The download failed: {error}",
            "Pass --checkpoint FILE, go online, or use random weights (for speed only): ?pretrained=false",
        ) from error
    taken = () if checkpoint is None else weights_file.apply(model, checkpoint, trust)
    weights = str(checkpoint) if checkpoint else f"torchvision, {described.name}" if pretrained else "random, seed 0"
    return Built(model, described, weights, taken)


def unique(categories: list[str]) -> tuple[str, ...]:
    """The categories, with the class number added to names that torchvision uses twice ("crane", "maillot", "N/A")."""
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
