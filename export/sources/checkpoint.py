"""Trained weights from a file, read without running what may be hidden in it."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.core import files
from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.core.lazy import require

if TYPE_CHECKING:
    import torch

_INSIDE = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
"""Under which names training scripts keep the weights; averaged ones (EMA) first, as timm's own loader does."""
_PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""


def apply(module: torch.nn.Module, path: str | Path, trust: bool = False) -> None:
    """Load the weights in the file `path` into `module`; every parameter must be there and no other.

    Raises `InvalidInput` (missing, damaged, does not fit) or `IntegrityError` (holds code; see `read`).
    """
    import torch

    state = read(path, trust)
    name = Path(path).name
    broken = [k for k, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if broken:
        raise InvalidInput(
            f"{name} holds NaN or infinite weights: {_few(broken)}.",
            "A model with them answers nothing.",
            "Use a checkpoint from before the training diverged.",
        )
    own = module.state_dict()
    # Counts only what training does next; checkpoints of old torch versions have none.
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in own]
    shapes = [
        f"{k} is {list(state[k].shape)}, not {list(v.shape)}"
        for k, v in own.items()
        if k in state and v.shape != state[k].shape
    ]
    wrong = [
        f"{len(found)} {what}: {_few(found)}"
        for what, found in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if found
    ]
    if wrong:
        raise InvalidInput(
            f"{name} does not fit the model; weights {'; '.join(wrong)}.",
            "Checkpoint and source must be the same architecture, built with the same options.",
            "Name the source that it was trained as, with its options: 'timm:resnet18?num_classes=10'.",
        )
    module.load_state_dict(state, strict=False)


def read(path: str | Path, trust: bool = False) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors or torch file by name, wrappers and prefixes removed.

    A pickle that needs more than tensors raises `IntegrityError`, unless `trust` says that its code may run.
    """
    path = files.absolute(path)
    if not path.is_file():
        raise InvalidInput(
            f"There is no checkpoint file {path}.", "The model's weights were expected there.", "Check the path."
        )
    with path.open("rb") as file:
        head = file.read(16)
    content = _safetensors(path) if head[8:9] == b"{" else _torch(path, head, trust)
    return _unwrap(content, path.name)


def _safetensors(path: Path) -> Any:
    library = require("safetensors", "host")
    load = require("safetensors.torch", "host").load_file
    try:
        return load(str(path))
    except library.SafetensorError as error:
        raise _damaged(path, error) from None


def _torch(path: Path, head: bytes, trust: bool) -> Any:
    import pickle  # the class of torch's refusal; nothing is unpickled with it

    import torch

    zipped = head.startswith(b"PK")
    if not head or (zipped and not zipfile.is_zipfile(path)):
        raise _damaged(path, "it is empty" if not head else "its end is missing")
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        if not zipped and not head.startswith(b"\x80"):
            raise _damaged(path, "it is neither a safetensors nor a torch file") from None
        culprit = str(error).partition("Unsupported global: GLOBAL ")[2].partition(" ")[0]
        raise IntegrityError(
            f"{path.name} holds more than weights" + (f" ({culprit})." if culprit else "."),
            "It is a pickle whose code would run on loading; only tensors are loaded by default.",
            "Save it anew (torch.save(model.state_dict(), ...)), or pass --trust-checkpoint if its origin is trusted.",
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # on damaged bytes torch raises nearly any class: EOFError, KeyError, struct.error ...
        raise _damaged(path, error) from None


def _unwrap(content: Any, name: str) -> dict[str, torch.Tensor]:
    import torch

    if isinstance(content, torch.nn.Module):  # a whole model, which only a trusted pickle can hold
        content = content.state_dict()
    for key in _INSIDE:
        inner = content.get(key) if isinstance(content, Mapping) else None
        if isinstance(inner, torch.nn.Module):
            inner = inner.state_dict()
        if isinstance(inner, Mapping) and inner:
            content = inner
            break
    if not isinstance(content, Mapping) or not content:
        raise InvalidInput(
            f"{name} holds no weights: its content is {type(content).__name__}.",
            f"A mapping of names to tensors was expected, alone or under one of {', '.join(_INSIDE)}.",
            "Save the weights with torch.save(model.state_dict(), ...) or safetensors.",
        )
    strange = [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise InvalidInput(
            f"{name} holds entries that are no tensors: {_few(strange)}.",
            "A mapping of names to tensors was expected.",
            "Save the weights with torch.save(model.state_dict(), ...) or safetensors.",
        )
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in content):
            content = {key.removeprefix(prefix): value for key, value in content.items()}
    return dict(content)


def _damaged(path: Path, error: object) -> InvalidInput:
    return InvalidInput(
        f"{path.name} cannot be read as a checkpoint: {' '.join(str(error).split())[:200] or type(error).__name__}",
        f"Its {path.stat().st_size} bytes are cut off or are no safetensors or torch file.",
        "Copy or download the checkpoint again.",
    )


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
