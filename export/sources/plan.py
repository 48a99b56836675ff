"""A changed copy of a source's model (fewer channels, fewer blocks, other weights): a folder of two plain files.

``weights.safetensors`` has the tensors of the module as it is trained. ``plan.json`` (`Plan`) names the source that
builds it (``model.yaml`` if that is a pickle) and the changes: attributes of modules (channels, groups, heads), shapes
of tensors, blocks replaced by identities. Nothing is pickled, so that loading needs and runs no code of another origin.

Such a folder may come from elsewhere. So its plan may name only a registered architecture of timm or torchvision, or a
description that Ultralytics ships or that is in the folder (config.json for transformers). A path, hub, pickle or
pretrained weights are refused, and a torch factory needs the user's trust.
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

from . import transformers
from .loaded import Loaded, Trainable
from .options import require_allowed
from .parse import LIBRARIES, PLAN, ParsedSource, parse

if TYPE_CHECKING:
    import torch

WEIGHTS = "weights.safetensors"
ARCHITECTURE = "model.yaml"
"""The file that builds the model of an Ultralytics checkpoint, so that the pickle is not needed again."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""A name in a library's registry: no path, no prefix of a hub."""
Value = int | tuple[int, ...]


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The changes to the module that `source` builds, before ``weights.safetensors`` fits it.

    `attributes`: by module name, e.g. ``{"layer1.0.conv1": {"out_channels": 40}}``. `shapes`: of the parameters and
    buffers that differ from the source's. `removed`: blocks that return their input. `description`: the fields of the
    ModelSpec. `made`: the history, for people.
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
    """Write the second of `modules`, a changed copy of the first, which `source` builds, to `folder`. Returns its plan.

    A copy of another plan's model gets a plan for that plan's own source.
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
    """The plan in `folder`. Raises `InvalidInput` if it is missing, damaged or newer."""
    with files.open_contained(folder, PLAN) as file:
        return decode(file.read(), Plan, str(folder / PLAN))


def keep_architecture(folder: Path, module: torch.nn.Module) -> str:
    """Write the description of Ultralytics' `module` to `folder`. Returns the source for a plan there."""
    from . import ultralytics

    files.write(folder / ARCHITECTURE, json.dumps(ultralytics.description(module)).encode())  # JSON is YAML
    return f"ultralytics:{ARCHITECTURE}"


def keep_config(folder: Path, source: ParsedSource) -> str:
    """Copy the configuration of the transformers `source` to `folder`. Returns the source for a plan there."""
    origin = transformers.folder_of(source.name, weights=False)
    for name in (transformers.CONFIG, transformers.PROCESSOR):
        with files.open_contained(origin, name, hard_links=True) as file:
            files.write(folder / name, file.read())
    options = [f"{key}={value}" for key, value in source.options.items() if key != "pretrained"]
    return "?".join([f"transformers:{transformers.CONFIG}", *(["&".join(options)] if options else [])])


def source_of(plan: Plan, folder: Path, trust: bool = False) -> ParsedSource:
    """The source that the plan in `folder` changes: a registered architecture, or the description in the folder.

    The weights are the folder's own, never pretrained ones. Raises `IntegrityError` for a source that could run code
    (unless `trust`) or that reads anything outside the folder.
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
                "Loading the folder would run it, with the options in the plan.",
                "Pass --trust-checkpoint if you trust the folder's origin.",
            )
        return source
    if source.kind == "ultralytics" and source.name == ARCHITECTURE:
        with files.open_contained(folder, ARCHITECTURE):  # a file inside the folder, no link out of it
            return msgspec.structs.replace(source, name=str(folder / ARCHITECTURE))
    if source.kind == "transformers" and source.name == transformers.CONFIG:
        for name in (transformers.CONFIG, transformers.PROCESSOR):
            with files.open_contained(folder, name):  # files inside the folder, no links out of it
                pass
        return msgspec.structs.replace(source, name=str(folder), options={**source.options, "pretrained": False})
    if source.kind not in LIBRARIES or source.kind == "transformers" or not _NAME.fullmatch(source.name):
        raise _refused(folder, plan, "It names a file, a folder or a hub.")
    if source.kind == "ultralytics":
        _require_shipped(source.name, folder, plan)
        return source
    return msgspec.structs.replace(source, options={**source.options, "pretrained": False})


def _require_shipped(name: str, folder: Path, plan: Plan) -> None:
    """Raise if `name` is not a description that Ultralytics ships, or if a local file would replace it."""
    if not name.endswith(".yaml"):
        raise _refused(folder, plan, "It names weights, which are a pickle.")
    family = re.sub(
        r"(\d+)([nslmx])(.+)?$", r"\1\3", name
    )  # the library's own rule: yolo11n.yaml is a scale of yolo11.yaml
    for local in {name, family}:
        if files.absolute(local).exists():
            raise InvalidInput(
                f"{files.absolute(local)} would replace the library's own file.",
                f"{folder / PLAN} names {name}, which Ultralytics looks for in the working directory first.",
                "Run from another folder, or rename that file.",
            )


def _refused(folder: Path, plan: Plan, why: str) -> IntegrityError:
    return IntegrityError(
        f"{folder / PLAN} names the source '{plan.source}'.",
        f"{why} A plan may name only an architecture that timm, torchvision or Ultralytics ships.",
        "Write the folder again with `edgewright prune` or `distill`, or do not use a model from this origin.",
    )


def trainable(name: str, options: dict[str, Any], checkpoint: str | None = None, trust: bool = False) -> Trainable:
    """The model in the folder `name`: its source's module with the plan's changes and the folder's weights.

    Raises `InvalidInput` if options or a checkpoint are given, and if plan, weights and source do not fit;
    `IntegrityError` if loading it could run code and `trust` does not allow that.
    """
    from . import trainable as build

    folder = files.absolute(name)
    if options or checkpoint is not None:
        raise InvalidInput(
            f"{folder} was given with {'a checkpoint' if checkpoint else 'options'}.",
            f"Its {PLAN} and {WEIGHTS} describe the model completely.", "Leave that out.",
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
    """The weights in `folder`. Raises `InvalidInput` if they are missing or damaged."""
    library = require("safetensors", "host")
    load = require("safetensors.torch", "host").load
    with files.open_contained(folder, WEIGHTS) as file:
        content = file.read()
    try:
        found: dict[str, torch.Tensor] = load(content)
    except library.SafetensorError as error:
        raise InvalidInput(
            f"{folder / WEIGHTS} is damaged: {error}", f"It has {len(content)} bytes.", "Copy or create it again."
        ) from None
    return found


def apply(module: torch.nn.Module, plan: Plan, weights: dict[str, torch.Tensor], origin: str) -> None:
    """Change `module`, as the plan's source builds it, by `plan`, and load `weights`.

    Raises `InvalidInput`, which names `origin`, if module, plan and weights do not fit.
    """
    import torch

    modules = dict(module.named_modules())
    for name in plan.removed:
        _require(name in modules and name != "", f"The plan removes '{name}', which the source does not have.", origin)
        parent, _, leaf = name.rpartition(".")
        setattr(modules[parent], leaf, torch.nn.Identity())
    modules = dict(module.named_modules())
    for name, values in plan.attributes.items():
        for key, value in values.items():
            known = name in modules and isinstance(getattr(modules[name], key, None), (int, tuple))
            _require(known, f"The plan sets '{name}.{key}', which the source does not have.", origin)
            setattr(modules[name], key, value)
    own = module.state_dict()
    wrong = sorted(set(own) ^ set(weights))
    _require(not wrong, f"Source and file differ in the weights {', '.join(wrong[:4])}.", origin)
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
    """The attributes of `after` that are integers, or tuples of them, and differ from those of `before`."""
    found: dict[str, Value] = {}
    for key, value in vars(after).items():
        new, old = _whole(value), _whole(getattr(before, key, None))
        if new is None or old is None:  # state of a run, no part of a plan
            continue
        if new != old and not key.startswith("_"):
            found[key] = new
    return found


def _whole(value: Any) -> Value | None:
    """`value` if it is an integer or a tuple of integers, else None."""
    if type(value) is int:
        return value
    several = isinstance(value, (tuple, list)) and value and all(type(one) is int for one in value)
    return tuple(value) if several else None


def _require(holds: bool, what: str, origin: str) -> None:
    if not holds:
        raise InvalidInput(
            what, f"Plan, weights and source of {origin} must be of one model and one version of its library.",
            "Write the folder again: edgewright prune SOURCE --data DIR --speedup X -o FOLDER",
        )  # fmt: skip
