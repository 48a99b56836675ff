"""A torch module of any inputs and outputs: its outputs as a tuple of arrays, with names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.vision import feeds

from .loaded import Loaded

if TYPE_CHECKING:
    import torch


def settled(loaded: Loaded, spec: ModelSpec, named: bool) -> tuple[Loaded, ModelSpec]:
    """`loaded` with a module that returns a tuple of tensors, and `spec` with their names, unless they are `named`.

    Raises `InvalidInput` if the module fails on zeros of the described inputs, or returns no tensors.
    """
    import torch

    given = [torch.from_numpy(array) for array in feeds.zeros(spec, 1)]
    try:
        with torch.no_grad():
            found = leaves(loaded.model(*given))
    except Exception as error:  # the user's own code
        taken = ", ".join(f"{one.name} {one.dtype} {list(one.shape(1))}" for one in spec.inputs)
        raise InvalidInput(
            f"{spec.name} fails on zeros: {' '.join(str(error).split())[:200]}",
            f"It was called with the described inputs, in their order: {taken}.",
            "Correct [inputs.NAME] in the TOML: order, shape and dtype of each input of forward().",
        ) from error
    if not found:
        raise InvalidInput(f"{spec.name} returns no tensors.", "There is nothing to export.", "Correct forward().")
    names = tuple(name or (f"output_{k}" if len(found) > 1 else "output") for k, (name, _) in enumerate(found))
    if named and len(spec.outputs) != len(found):
        raise InvalidInput(
            f"The description names {len(spec.outputs)} outputs, and {spec.name} returns {len(found)}.",
            "Each tensor that forward() returns has a name, in order.",
            "Correct `outputs` in the TOML.",
        )
    settled = loaded._replace(model=_flat(loaded.model))
    return settled, spec if named else msgspec.structs.replace(spec, outputs=names)


def leaves(output: Any, name: str = "") -> list[tuple[str, torch.Tensor]]:
    """The tensors in the output of a module, with the names that mappings give them; None and numbers are left out."""
    import torch

    if isinstance(output, torch.Tensor):
        return [(name, output)]
    if isinstance(output, Mapping):
        return [leaf for key, value in output.items() for leaf in leaves(value, f"{name}_{key}".strip("_"))]
    if isinstance(output, (list, tuple)):
        parts = [leaves(value, f"{name}_{k}" if name else "") for k, value in enumerate(output)]
        return [leaf for part in parts for leaf in part]
    return []


def _flat(module: torch.nn.Module) -> torch.nn.Module:
    """`module` with its tensors as a tuple."""
    import torch

    class Flat(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(tensor for _, tensor in leaves(self.module(*given)))

    return Flat().eval()
