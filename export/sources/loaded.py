"""What every source gives: the model and its spec."""

from __future__ import annotations

from typing import Any, NamedTuple

from edgewright.core.errors import InvalidInput


class Loaded(NamedTuple):
    """A model as its library gives it, and what is known of it.

    `model`: a torch.nn.Module in eval mode, or an onnx.ModelProto. `spec`: the fields of a ModelSpec that are known, as
    plain data, before the user's TOML is laid over them. `weights`: where they are from, in words.
    `notes`: what was changed in it that the user should know.
    """

    model: Any
    spec: dict[str, Any]
    weights: str
    notes: tuple[str, ...] = ()


def torch_module(model: Any, name: str) -> Any:
    """`model`, checked to be a torch module, in eval mode and float32."""
    import torch

    if not isinstance(model, torch.nn.Module):
        raise InvalidInput(
            f"{name} gave {type(model).__name__}.", "A torch.nn.Module is needed.", "Return the model from the factory."
        )
    return model.eval().float().requires_grad_(False)
