"""Any torch module: a factory in an importable module or in a Python file, with keyword arguments."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from edgewright.core import files
from edgewright.core.errors import InvalidInput

from . import checkpoint as weights_file
from . import merging, timm
from .loaded import Loaded, Trainable, outputs, torch_module
from .parse import EXAMPLES


def trainable(name: str, options: dict[str, Any], checkpoint: str | None = None, trust: bool = False) -> Trainable:
    """Call the factory `name` (``package.module:factory`` or ``file.py:factory``) with `options`.

    The factory is the user's own code and runs. A model with timm's ``pretrained_cfg`` has a spec; any other model
    needs a TOML. Raises `InvalidInput` if the factory is not found or fails.
    """
    import torch

    place, _, function = name.rpartition(":")
    module = _from_file(files.absolute(place)) if place.endswith(".py") else _import(place)
    factory = getattr(module, function, None)
    if not callable(factory):
        raise InvalidInput(
            f"'{place}' has no function '{function}'.",
            "The source names it as the model's factory.",
            "Correct the name.",
        )
    torch.manual_seed(0)
    try:
        model = factory(**options)
    except TypeError as error:
        raise InvalidInput(
            f"{name} cannot be called: {error}", f"The call had {options or 'no options'}.", "Correct the options."
        ) from error
    model = torch_module(model, name)
    taken = () if checkpoint is None else weights_file.apply(model, checkpoint, trust)
    weights = str(checkpoint) if checkpoint else f"as {name} gives them"

    def finish(module: Any) -> Loaded:
        known = getattr(module, "pretrained_cfg", None)
        spec: dict[str, Any] = timm.spec_of(module, function) if known else {"name": function}
        merged, notes = merging.merge(torch_module(module, name), spec.get("input"))
        return Loaded(merged, spec, weights, taken + notes)

    return Trainable(model, finish, outputs)


def _import(name: str) -> ModuleType:
    top, here = name.partition(".")[0], str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last: a file there with the name of a library does not replace it
    try:
        if top not in sys.modules and (spec := PathFinder.find_spec(top, [here])) and spec.loader:
            # The source's own module, however, is the one in the working directory.
            sys.modules[top] = module = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except BaseException:
                sys.modules.pop(top, None)
                raise
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"The Python module '{error.name}' cannot be imported.",
            f"The source's factory needs it. Forms of a source: {EXAMPLES}.",
            "Run from the module's folder, install it, or name the file: torch:path/models.py:factory",
        ) from error


def file_of(name: str) -> Path | None:
    """The file of the factory `name` (as in `trainable`), found without importing anything."""
    place = name.rpartition(":")[0]
    if place.endswith(".py"):
        path = files.absolute(place)
        return path if path.is_file() else None
    dotted = place.replace(".", "/")
    for folder in (Path.cwd(), *map(Path, sys.path)):
        for path in (folder / f"{dotted}.py", folder / dotted / "__init__.py"):
            if path.is_file():
                return path
    return None


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"edgewright_source_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InvalidInput(f"There is no file {path}.", "The source names it as a Python module.", "Check the path.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
