"""A model with other widths, fewer blocks or other weights than its source gives: a folder of two plain files.

``weights.safetensors`` holds the tensors of the module as it is trained; ``plan.json`` (`Plan`) says which source
builds it (where that is a pickle, ``model.yaml`` does) and what is changed in it then: attributes of modules (channels,
groups, heads), shapes of tensors, blocks that became identities. No class is pickled, so that no code of another
library is needed to load it, nor runs from it. Such a folder may come from elsewhere: of what a source can be its plan
may name a registered architecture of timm or torchvision, or a description that Ultralytics ships or that lies beside
it; no path, hub, pickle or pretrained weights, and a torch factory only where the user trusts it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgewright.core import files
from edgewright.core.errors import IntegrityError, InvalidInput, UsageError
from edgewright.core.lazy import require
from edgewright.core.spec import decode, encode

from .loaded import Loaded, Trainable
from .options import require_allowed
from .parse import LIBRARIES, PLAN, ParsedSource, parse

if TYPE_CHECKING:
    import torch

WEIGHTS = "weights.safetensors"
ARCHITECTURE = "model.yaml"
"""Of a model that an Ultralytics checkpoint gave: what builds it, so that the pickle is not needed again."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""A name in a library's register: no path, no prefix of a hub."""
Value = int | tuple[int, ...]


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change in the module that `source` builds before ``weights.safetensors`` fits it.

    `attributes`: of modules by name, e.g. ``{"layer1.0.conv1": {"out_channels": 40}}``. `shapes`: of the parameters and
    buffers that are not as the source builds them. `removed`: blocks that give back what they are given. `description`:
    the fields of the ModelSpec. `made`: how it came about, for people.
    """

    schema_version: int = 1
    source: str
    attributes: dict[str, dict[str, Value]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    removed: tuple[str, ...] = ()
    description: dict[str, Any] = {}
    made: dict[str, Any] = {}


def write(
    folder: Path, source: str, modules: tuple[torch.nn.Module, torch.nn.Module], *, removed: Iterable[str] = (),
    description: dict[str, Any] | None = None, made: dict[str, Any] | None = None,
) -> Plan:  # fmt: skip
    """Write the second of `modules`, made of the first, which `source` builds, into `folder`; returns its plan.

    A model that was made of another plan's is written as one of that plan's own source.
    """
    from safetensors.torch import save

    original, changed = modules
    removed = tuple(removed)
    gone = tuple(f"{name}." for name in removed)
    before, own = dict(original.named_modules()), changed.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in original.state_dict().items()}
    attributes = {
        name: difference
        for name, module in changed.named_modules()
        if name not in removed and (difference := _difference(before[name], module))
    }
    plan = Plan(
        source=source, attributes=attributes, removed=removed,
        shapes={name: tuple(t.shape) for name, t in own.items() if tuple(t.shape) != shapes[name]},
        description=description or {}, made=made or {},
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in own.items() if not name.startswith(gone)}
    files.write(folder / WEIGHTS, save(kept))
    files.write(folder / PLAN, encode(plan))
    return plan


def read(folder: Path) -> Plan:
    """The plan in `folder`; raises `InvalidInput` where there is none, or a damaged or newer one."""
    with files.open_contained(folder, PLAN) as file:
        return decode(file.read(), Plan, str(folder / PLAN))


def keep_architecture(folder: Path, module: torch.nn.Module) -> str:
    """Write what builds Ultralytics' `module` into `folder`; the source that a plan there may name from now on."""
    from . import ultralytics

    files.write(folder / ARCHITECTURE, json.dumps(ultralytics.description(module)).encode())  # JSON is YAML
    return f"ultralytics:{ARCHITECTURE}"


def source_of(plan: Plan, folder: Path, trust: bool = False) -> ParsedSource:
    """What the plan in `folder` changes: a registered architecture, or the description that lies beside it.

    Its weights are the folder's own, never pretrained ones. Raises `IntegrityError` for a source that could run code
    (unless `trust`) or that reads anything outside of the folder.
    """
    try:
        source = parse(plan.source)
        require_allowed(source)
    except UsageError as error:
        raise _refused(folder, plan, f"{error.what} {error.why}") from None
    if source.kind == "torch":
        if not trust:
            raise IntegrityError(
                f"{folder / PLAN} names the factory {source.name}.",
                "It would be called, with the options that are there.",
                "Pass --trust-checkpoint if the folder's origin is trusted.",
            )
        return source
    if source.kind == "ultralytics" and source.name == ARCHITECTURE:
        with files.open_contained(folder, ARCHITECTURE):  # a file of its own, no link out of the folder
            return msgspec.structs.replace(source, name=str(folder / ARCHITECTURE))
    if source.kind not in LIBRARIES or not _NAME.fullmatch(source.name):
        raise _refused(folder, plan, "It names a file, a folder or a hub.")
    if source.kind == "ultralytics":
        _require_shipped(source.name, folder, plan)
        return source
    return msgspec.structs.replace(source, options={**source.options, "pretrained": False})


def _require_shipped(name: str, folder: Path, plan: Plan) -> None:
    """Raise where `name` is no description that Ultralytics ships, or a local file stands in for it."""
    if not name.endswith(".yaml"):
        raise _refused(folder, plan, "It names weights, which are a pickle.")
    family = re.sub(
        r"(\d+)([nslmx])(.+)?$", r"\1\3", name
    )  # the library's own rule: yolo11n.yaml is a scale of yolo11.yaml
    for local in {name, family}:
        if files.absolute(local).exists():
            raise InvalidInput(
                f"{files.absolute(local)} would stand in for the library's own file.",
                f"{folder / PLAN} names {name}, which Ultralytics looks for in the working directory first.",
                "Run from another folder, or rename that file.",
            )


def _refused(folder: Path, plan: Plan, why: str) -> IntegrityError:
    return IntegrityError(
        f"{folder / PLAN} names the source '{plan.source}'.",
        f"{why} A plan may only name an architecture that timm, torchvision or Ultralytics ships.",
        "Make the folder with `edgewright prune` or `distill`, or do not use a model from this origin.",
    )


def trainable(name: str, options: dict[str, Any], checkpoint: str | None = None, trust: bool = False) -> Trainable:
    """The model in the folder `name`: its source's module with the plan's changes and the folder's weights.

    Raises `InvalidInput` for options or a checkpoint beside it, and where plan, weights and source do not fit;
    `IntegrityError` where loading it could run code and `trust` does not allow that.
    """
    from . import trainable as build

    folder = files.absolute(name)
    if options or checkpoint is not None:
        raise InvalidInput(
            f"{folder} was given {'a checkpoint' if checkpoint else 'options'} too.",
            f"Its {PLAN} and {WEIGHTS} say all of the model.", "Leave that out.",
        )  # fmt: skip
    plan = read(folder)
    source = source_of(plan, folder, trust)
    found = build(source, None, trust)
    apply(found.module, plan, tensors(folder), str(folder))

    def finish(module: torch.nn.Module) -> Loaded:
        loaded = found.finish(module)
        return loaded._replace(spec={**loaded.spec, **plan.description}, weights=str(folder))

    return found._replace(finish=finish)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The weights in `folder`; raises `InvalidInput` where they are missing or damaged."""
    library = require("safetensors", "host")
    load = require("safetensors.torch", "host").load
    with files.open_contained(folder, WEIGHTS) as file:
        content = file.read()
    try:
        found: dict[str, torch.Tensor] = load(content)
    except library.SafetensorError as error:
        raise InvalidInput(
            f"{folder / WEIGHTS} is damaged: {error}", f"It has {len(content)} bytes.", "Copy or make it again."
        ) from None
    return found


def apply(module: torch.nn.Module, plan: Plan, weights: dict[str, torch.Tensor], origin: str) -> None:
    """Change `module`, as the plan's source builds it, as `plan` says, and give it `weights`.

    Raises `InvalidInput`, naming `origin`, where module, plan and weights do not fit one another.
    """
    import torch

    modules = dict(module.named_modules())
    for name in plan.removed:
        _require(name in modules and name != "", f"The plan removes '{name}', which the source has not.", origin)
        parent, _, leaf = name.rpartition(".")
        setattr(modules[parent], leaf, torch.nn.Identity())
    modules = dict(module.named_modules())
    for name, values in plan.attributes.items():
        for key, value in values.items():
            known = name in modules and isinstance(getattr(modules[name], key, None), (int, tuple))
            _require(known, f"The plan sets '{name}.{key}', which the source has not.", origin)
            setattr(modules[name], key, value)
    own = module.state_dict()
    wrong = sorted(set(own) ^ set(weights))
    _require(not wrong, f"The weights {', '.join(wrong[:4])} are in one of source and file only.", origin)
    for name, tensor in weights.items():
        shape = plan.shapes.get(name, tuple(own[name].shape))
        said = f"The weights '{name}' are {list(tensor.shape)}, not {list(shape)}."
        _require(tuple(tensor.shape) == shape, said, origin)
        finite = not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
        _require(finite, f"The weights '{name}' are not all finite.", origin)
        parent, _, leaf = name.rpartition(".")
        if leaf in modules[parent]._parameters:
            modules[parent]._parameters[leaf] = torch.nn.Parameter(tensor, requires_grad=False)
        else:
            modules[parent]._buffers[leaf] = tensor


def _difference(before: torch.nn.Module, after: torch.nn.Module) -> dict[str, Value]:
    """The attributes of `after` that are whole numbers, or tuples of them, and other than those of `before`."""
    found: dict[str, Value] = {}
    for key, value in vars(after).items():
        new, old = _whole(value), _whole(getattr(before, key, None))
        if new is None or old is None:  # what a run leaves behind is no part of a plan
            continue
        if new != old and not key.startswith("_"):
            found[key] = new
    return found


def _whole(value: Any) -> Value | None:
    """`value` where it is a whole number or several, else None."""
    if type(value) is int:
        return value
    several = isinstance(value, (tuple, list)) and value and all(type(one) is int for one in value)
    return tuple(value) if several else None


def _require(holds: bool, what: str, origin: str) -> None:
    if not holds:
        raise InvalidInput(
            what, f"Plan, weights and source of {origin} must be of one model and version of its library.",
            "Make the folder again: edgewright prune SOURCE --data DIR --speedup X -o FOLDER",
        )  # fmt: skip
