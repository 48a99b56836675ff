"""What every source gives: the model and its spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from edgewright.core.errors import InvalidInput


class Original(NamedTuple):
    """An ONNX file before its operator set was raised, with the outputs that are read: what it is in words, and whether
    it computes in FP16 or BF16."""

    model: Any
    words: str
    half: bool


class Loaded(NamedTuple):
    """A model as its library gives it, and what is known of it.

    `model`: a torch.nn.Module in eval mode, or an onnx.ModelProto. `spec`: the fields of a ModelSpec that are known, as
    plain data, before the user's TOML is laid over them. `weights`: where they are from, in words.
    `notes`: what was changed in it that the user should know. Of an ONNX file, `original` is what the export is
    compared with.
    """

    model: Any
    spec: dict[str, Any]
    weights: str
    notes: tuple[str, ...] = ()
    original: Original | None = None


class Trainable(NamedTuple):
    """A model as it is trained: its batch norms are not folded and its head is whole.

    `finish` gives what is exported of it, or of a copy whose weights or widths were changed; it may change what it is
    given. `answers`: what the module computes for images (N, channels, height, width) before anything is decoded, each
    tensor (N, ...): the logits of a classifier, the maps of a detector's head.
    """

    module: Any
    finish: Callable[[Any], Loaded]
    answers: Callable[[Any, Any], list[Any]]

    def load(self) -> Loaded:
        """What is exported of it as it is."""
        return self.finish(self.module)


def outputs(module: Any, images: Any) -> list[Any]:
    """What `module` answers, as a list of tensors."""
    found = module(images)
    return list(found) if isinstance(found, (list, tuple)) else [found]


def torch_module(model: Any, name: str) -> Any:
    """`model`, checked to be a torch module, in eval mode and float32."""
    import torch

    if not isinstance(model, torch.nn.Module):
        raise InvalidInput(
            f"{name} gave {type(model).__name__}.", "A torch.nn.Module is needed.", "Return the model from the factory."
        )
    return model.eval().float().requires_grad_(False)
