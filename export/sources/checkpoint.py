"""Trained weights from a file, read without running code that may be hidden in it."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edgewright.core import files
from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.core.lazy import require

if TYPE_CHECKING:
    import torch

_USUAL = ("state_dict", "model_state_dict", "model", "module", "net", "network", "backbone", "params", "weights")
"""Usual names of the weights in training scripts; used only if several entries of a file fit."""
_AVERAGED = frozenset(("ema", "swa", "averaged", "shadow"))
"""Words in the path or prefix of weights that are a moving average over the training."""
_ONLINE = "online"
"""The word for weights that are averaged: ema-pytorch has ``ema.online_model`` and ``ema.ema_model``."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""The words of a key: ``model_EMA``, ``emaModel`` and ``EMAModel`` have two each, ``schema`` one."""
_INSERTED = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Names that torch.compile, FSDP and activation checkpointing insert before the wrapped part."""
_COUNTS = re.compile(r"(?:^|\.)(?:num_batches_tracked|n_averaged|total_ops|total_params)$")
"""Buffers that only count: of batch norms, AveragedModel and thop."""
_TRAINING = re.compile(r"^(?:criterion|(?:\w+_)?loss(?:_\w+)?|(?:\w+_)?metrics?|(?:train|val|valid|test)_\w+)\.")
"""Names of losses and metrics, which Lightning stores with the weights."""
_DEEPEST = 3


class Part(NamedTuple):
    """Tensors by name, as a file has them. `place`: the keys that lead to them, joined by dots; empty at the top."""

    place: str
    tensors: dict[str, torch.Tensor]


class _Fit(NamedTuple):
    """Weights for a module: `tensors` by its names, from `part` after `prefix`. `others`: further names in the part."""

    part: Part
    prefix: str
    tensors: dict[str, torch.Tensor]
    others: tuple[str, ...]

    @property
    def shown(self) -> str:
        return f"{self.part.place}.{self.prefix}".strip(".") or "the top of the file"

    @property
    def averaged(self) -> bool:
        """Whether they are a moving average, by the last key that says so."""
        keys = [{word.lower() for word in _WORD.findall(key)} for key in f"{self.part.place}.{self.prefix}".split(".")]
        saying = [words for words in keys if words & _AVERAGED or _ONLINE in words]
        return bool(saying and saying[-1] & _AVERAGED)

    @property
    def usual(self) -> bool:
        return all(key in _USUAL for key in f"{self.part.place}.{self.prefix}".split(".") if key)


def apply(module: torch.nn.Module, path: str | Path, trust: bool = False) -> tuple[str, ...]:
    """Load the weights in the file `path` into `module`. Returns notes on what was used and left out.

    Every parameter and buffer must be there with its shape. Wrappers (``state_dict``), a common prefix of all names
    (``module.``, ``model.``, any other) and insertions by torch.compile are removed. A moving average (EMA) is
    preferred to the weights of the last step. Raises `InvalidInput` (missing, damaged, does not fit, fits more than
    once) or `IntegrityError` (contains code; see `read`).
    """
    import torch

    name = Path(path).name
    own = module.state_dict()
    fits = [_fit(part, prefix, own) for part in read(path, trust) for prefix in _prefixes(part, own)]
    found = _chosen([fit for fit in fits if not _misfits(fit, own)], name)
    if found is None:
        best = max(fits, key=lambda fit: (sum(key in own for key in fit.tensors), fit.averaged, -len(fit.prefix)))
        raise InvalidInput(
            f"{name} does not fit the model; weights {'; '.join(_misfits(best, own))}.",
            "Checkpoint and source must have the same architecture and the same options.",
            "Name the source of the training with its options, e.g. 'timm:resnet18?num_classes=10'.",
        )
    broken = [k for k, v in found.tensors.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if broken:
        raise InvalidInput(
            f"{name} contains NaN or infinite weights: {_few(broken)}.",
            "The outputs of such a model are not usable.",
            "Use a checkpoint from before the training diverged.",
        )
    module.load_state_dict({key: value for key, value in found.tensors.items() if key in own}, strict=False)
    rest = [fit for fit in fits if fit.shown != found.shown and not _misfits(fit, own)]
    return _words(found, rest)


def _prefixes(part: Part, own: Mapping[str, torch.Tensor]) -> list[str]:
    """The possible prefixes of the names of `own` in `part`: those of most names, and none.

    Counters are ignored: a moving average of the parameters and statistics may have none.
    """
    leaves: dict[str, list[str]] = {}
    for key in part.tensors:
        leaves.setdefault(key.rpartition(".")[2], []).append(key)
    count = Counter(
        key[: -len(name)]
        for name in own
        if not _COUNTS.search(name)
        for key in leaves.get(name.rpartition(".")[2], ())
        if key.endswith(f".{name}")
    )
    most = max(count.values(), default=0)
    return ["", *(prefix for prefix, times in count.items() if times == most)]


def _fit(part: Part, prefix: str, own: Mapping[str, torch.Tensor]) -> _Fit:
    """The tensors of `part` after `prefix`, without counters. Other tensors do not belong to the model."""
    tensors = {key.removeprefix(prefix): value for key, value in part.tensors.items() if key.startswith(prefix)}
    extra = [key for key in tensors if key not in own and (_COUNTS.search(key) or _TRAINING.match(key))]
    others = (*(key for key in part.tensors if not key.startswith(prefix)), *extra)
    return _Fit(part, prefix, {key: value for key, value in tensors.items() if key not in extra}, others)


def _misfits(fit: _Fit, own: Mapping[str, torch.Tensor]) -> list[str]:
    """Why `fit` cannot be loaded into a module with the state `own`, as text."""
    # Counters matter only for further training; checkpoints of old torch versions have none.
    missing = [k for k in own if k not in fit.tensors and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in fit.tensors if k not in own]
    shapes = [
        f"{k} is {list(fit.tensors[k].shape)}, not {list(v.shape)}"
        for k, v in own.items()
        if k in fit.tensors and v.shape != fit.tensors[k].shape
    ]
    named = (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
    return [f"{len(found)} {what}: {_few(found)}" for what, found in named if found]


def _chosen(fits: list[_Fit], name: str) -> _Fit | None:
    """The weights to use, if several fit: the average, else those with a usual name."""
    fits = [fit for fit in fits if fit.averaged] or fits
    if len(fits) > 1:
        fits = [fit for fit in fits if fit.usual] or fits
    if any(not _same(fit, fits[0]) for fit in fits[1:]):
        raise InvalidInput(
            f"{name} contains weights for this model in {len(fits)} places: {', '.join(fit.shown for fit in fits)}.",
            "edgewright does not choose between them.",
            "Save only the weights to export: torch.save(model.state_dict(), ...)",
        )
    return fits[0] if fits else None


def _same(one: _Fit, other: _Fit) -> bool:
    import torch

    first, second = ({k: v for k, v in fit.tensors.items() if not _COUNTS.search(k)} for fit in (one, other))
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


def _words(found: _Fit, rest: list[_Fit]) -> tuple[str, ...]:
    """Notes on what was removed and left out, one sentence each; empty if the file had only the weights."""
    said = []
    if found.part.place or found.prefix:
        kind = ", a moving average" if found.averaged else ""
        said.append(f"The weights were taken from {found.shown}{kind} in the checkpoint.")
    if rest:
        said.append(f"Other weights for the same model were left out: {', '.join(fit.shown for fit in rest)}.")
    counted = [key for key in found.others if not key.endswith("num_batches_tracked")]
    left_out = [
        key for key in counted if not any(fit.part is found.part and key.startswith(fit.prefix) for fit in rest)
    ]
    if left_out:
        said.append(f"Left out of the checkpoint: {_few(left_out)}.")
    return tuple(said)


def read(path: str | Path, trust: bool = False) -> list[Part]:
    """The tensors of a safetensors or torch file: one part for each mapping with tensors.

    A pickle that needs more than tensors raises `IntegrityError`, unless `trust` allows it to run its code.
    """
    path = files.absolute(path)
    if not path.is_file():
        raise InvalidInput(
            f"There is no checkpoint file {path}.", "It should have the model's weights.", "Check the path."
        )
    with path.open("rb") as file:
        head = file.read(16)
    content = _safetensors(path) if head[8:9] == b"{" else _torch(path, head, trust)
    parts = list(_parts(content, ()))
    if not parts:
        raise InvalidInput(
            f"{path.name} contains no weights: its content is {type(content).__name__}.",
            "It must be a mapping of names to tensors, at the top or under a name such as state_dict or model.",
            "Save the weights with torch.save(model.state_dict(), ...) or safetensors.",
        )
    return parts


def _parts(content: Any, keys: tuple[str, ...]) -> Iterator[Part]:
    """The mappings with tensors in `content` (at the path `keys`), from outside in."""
    import torch

    if isinstance(content, torch.nn.Module):  # a complete model, which only a trusted pickle can contain
        content = content.state_dict()
    if not isinstance(content, Mapping):
        return
    tensors = {_plain(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    if tensors:
        yield Part(".".join(keys), tensors)
    for key, value in content.items() if len(keys) < _DEEPEST else ():
        yield from _parts(value, (*keys, str(key)))


def _plain(name: Any) -> str:
    """A name in a checkpoint, without the insertions of torch's wrappers."""
    plain = str(name)
    for inserted in _INSERTED:
        plain = plain.replace(inserted, "")
    return plain


def _safetensors(path: Path) -> Any:
    library = require("safetensors", "host")
    load = require("safetensors.torch", "host").load_file
    try:
        return load(str(path))
    except library.SafetensorError as error:
        raise _damaged(path, error) from None


def _torch(path: Path, head: bytes, trust: bool) -> Any:
    import pickle  # for the class of torch's error; nothing is unpickled with it

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
            f"{path.name} contains more than weights" + (f" ({culprit})." if culprit else "."),
            "It is a pickle, and loading it would run code; edgewright loads only tensors by default.",
            "Save it again (torch.save(model.state_dict(), ...)), or pass --trust-checkpoint if you trust its origin.",
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # on damaged bytes torch raises nearly any class: EOFError, KeyError, struct.error ...
        raise _damaged(path, error) from None


def _damaged(path: Path, error: object) -> InvalidInput:
    return InvalidInput(
        f"{path.name} cannot be read as a checkpoint: {' '.join(str(error).split())[:200] or type(error).__name__}",
        f"Its {path.stat().st_size} bytes are incomplete, or no safetensors or torch file.",
        "Copy or download the checkpoint again.",
    )


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
