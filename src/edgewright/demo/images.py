"""The images of the demos: drawn in children, stored, and copied to the user's folder."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edgewright.core.store import Entry
from edgewright.data import built_in
from edgewright.pipeline import side_by_side
from edgewright.pipeline.stages.runner import StageRunner, made_by

FILE = "images.safetensors"
"""All images in one file, since the store flushes each file."""


class Part(NamedTuple):
    """Images that are drawn together: their name, and the function ("module:function") that returns their files."""

    what: str
    source: str
    arguments: dict[str, Any]


def write(runner: StageRunner, folder: Path, names: Collection[str], parts: Sequence[Part]) -> None:
    """Replace `folder`, which may contain only `names`, by the files of all `parts`.

    Raises `InvalidInput` if anything else is in it, `Unavailable` without scikit-learn.
    """
    with built_in.replacing(folder, names, folder.name) as new:
        drawn = side_by_side.each(parts, lambda one: _drawn(runner, one), id, side_by_side.at_once(len(parts)))
        for entry in drawn:
            built_in.write(new, _files(entry.path / FILE))


def draw(source: str, arguments: dict[str, Any], folder: str) -> None:
    """Store the files that the function `source` returns, as arrays of bytes. Runs in a child."""
    import numpy as np
    from safetensors.numpy import save_file

    module, _, function = source.partition(":")
    named = getattr(importlib.import_module(module), function)(**arguments)
    save_file({name: np.frombuffer(content, np.uint8) for name, content in named}, Path(folder, FILE))


def _drawn(runner: StageRunner, part: Part) -> Entry:
    how: dict[str, Any] = {"source": part.source, "arguments": part.arguments}
    return runner.run("images", part.what, {**how, "made_by": made_by("images", "data")}, f"{__name__}:draw", **how)


def _files(path: Path) -> Iterator[built_in.Named]:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        for name in file.keys():  # noqa: SIM118 - it is not a mapping
            yield name, file.get_tensor(name).tobytes()
