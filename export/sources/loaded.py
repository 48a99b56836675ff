"""The results of every source: the model and its spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from edgewright.core.errors import InvalidInput


class Original(NamedTuple):
    """An ONNX file with its original operator set and the outputs that are read. `what`: its name for messages; `half`:
    whether it computes in FP16 or BF16."""

    model: Any
    words: str
    half: bool


class Loaded(NamedTuple):
    """A model as its library gives it, and what is known about it.

    `model`: a torch.nn.Module in eval mode, or an onnx.ModelProto. `spec`: the known fields of a ModelSpec as plain
    data, before the user's TOML overrides them. `weights`: their origin, as text. `notes`: changes that the user should
    know. `original`: for an ONNX file, the model that the export is compared with.
    """

    model: Any
    spec: dict[str, Any]
    weights: str
    notes: tuple[str, ...] = ()
    original: Original | None = None


class Trainable(NamedTuple):
    """A model as it is trained: batch norms are not folded, and the head is complete.

    `finish` returns the module to export, of this model or of a copy with other weights or channel counts; it may
    change its argument. `answers` returns the outputs of the module for images (N, channels, height, width) before any
    decoding, each tensor (N, ...): the logits of a classifier, the maps of a detector's head.
    """

    module: Any
    finish: Callable[[Any], Loaded]
    answers: Callable[[Any, Any], list[Any]]

    def load(self) -> Loaded:
        """The model to export, without changes."""
        return self.finish(self.module)


def outputs(module: Any, images: Any) -> list[Any]:
    """The outputs of `module`, as a list of tensors."""
    found = module(images)
    return list(found) if isinstance(found, (list, tuple)) else [found]


def torch_module(model: Any, name: str) -> Any:
    """`model` in eval mode and float32. Raises `InvalidInput` if it is not a torch module."""
    import torch

    if not isinstance(model, torch.nn.Module):
        raise InvalidInput(
            f"{name} returned {type(model).__name__}.", "It must return a torch.nn.Module.", "Correct the factory."
        )
    return model.eval().float().requires_grad_(False)
