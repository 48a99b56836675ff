"""Training checkpoints: everything needed to continue after a kill to the same result. Tensors and JSON, no pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
import torch

from edgewright.core import files

from .schedule import Progress

FILE = "training.safetensors"


class Stateful(Protocol):
    """A module, or any object with a state dict."""

    def state_dict(self) -> Mapping[str, Any]:
        """The tensors by name."""
        ...

    def load_state_dict(self, state: Mapping[str, Any], /) -> Any:
        """Restore `state`."""
        ...


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint folder of one training, which its `identity` distinguishes from others."""

    folder: Path
    identity: str

    def keep(
        self, progress: Progress, modules: Mapping[str, Stateful], best: Mapping[str, torch.Tensor],
        optimizer: torch.optim.Optimizer,
    ) -> None:  # fmt: skip
        """Replace the folder's content atomically."""
        from safetensors.torch import save

        tensors = {f"{kind}.{name}": t for kind, module in modules.items() for name, t in module.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
        plain: dict[str, Any] = {}
        for number, state in enumerate(_states(optimizer)):
            for name, value in state.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimizer.{number}.{name}"] = value
                elif value is not None:
                    plain[f"{number}.{name}"] = value
        # Cloned: the file format cannot hold tensors that share memory (tied weights).
        stored = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
        about = {name: msgspec.json.encode(v).decode() for name, v in (("progress", progress), ("optimizer", plain))}
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write(self.folder / FILE, save(stored, metadata={"training": self.identity, **about}))

    def resume(
        self, modules: Mapping[str, Stateful], optimizer: torch.optim.Optimizer
    ) -> tuple[Progress, dict[str, torch.Tensor]] | None:
        """Load the checkpoint into `modules` and `optimizer`; return its progress and the best weights.

        Returns None if the folder has no checkpoint of this training, or a damaged one. The training then starts from
        the beginning.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder / FILE, "pt") as file:
                about = file.metadata() or {}
                if about.get("training") != self.identity:
                    return None
                stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            return None
        groups: dict[str, dict[str, Any]] = {}
        for name, tensor in stored.items():
            kind, _, rest = name.partition(".")
            groups.setdefault(kind, {})[rest] = tensor
        for kind, module in modules.items():
            module.load_state_dict(groups[kind])
        moments = {**groups.get("optimizer", {}), **msgspec.json.decode(about["optimizer"])}
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for name, value in moments.items():
            number, _, key = name.partition(".")
            parameter = parameters[int(number)]
            # Step counters stay on the CPU, where the optimizer keeps them.
            at_home = isinstance(value, torch.Tensor) and value.ndim > 0
            optimizer.state[parameter][key] = value.to(parameter.device) if at_home else value
        return msgspec.json.decode(about["progress"], type=Progress), groups.get("best", {})


def identity(modules: Sequence[Stateful], others: Any) -> str:
    """A digest of the modules' tensors and of `others` (JSON). It rejects a checkpoint of another training."""
    digest = hashlib.sha256(msgspec.json.encode(others, order="sorted"))
    for module in modules:
        for name, tensor in module.state_dict().items():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _states(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    return [optimizer.state.get(p, {}) for group in optimizer.param_groups for p in group["params"]]
