"""An artifact: a model compiled for one runtime with one set of options, in a folder with ``artifact.json``."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from edgewright import tasks
from edgewright.core import files
from edgewright.core.child import Progress
from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.lazy import version
from edgewright.core.spec import SCHEMA_VERSION, ModelSpec, convert, decode, encode, inconsistency, upgraded
from edgewright.vision import feeds

from . import registry
from .contents import Contents
from .options import Options

FILE = "artifact.json"
T = TypeVar("T")


class Artifact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``artifact.json``. `described`: the runtime's description of the run after the build, or empty.

    `is_int8`: whether enough layers of the graph are quantized to call the model INT8 (`graph.precision`); None in
    files of an older version.
    """

    schema_version: int = SCHEMA_VERSION
    options: Options
    spec: ModelSpec
    versions: dict[str, str]
    described: dict[str, Any]
    is_int8: bool | None = None

    @staticmethod
    def upgraded(data: dict[str, Any]) -> dict[str, Any]:
        """Convert an artifact with a spec of schema 1 to this schema."""
        return {**upgraded(data, "spec"), "schema_version": SCHEMA_VERSION}

    @property
    def precision(self) -> str:
        """ "int8" if the graph is quantized, else the precision in the options."""
        ran = bool(self.described.get("layers", {}).get("int8"))
        return "int8" if (ran if self.is_int8 is None else self.is_int8) else self.options.precision


def build(
    model: str | Path,
    spec: ModelSpec | dict[str, Any],
    options: Options | dict[str, Any],
    folder: str | Path,
    run: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compile `model` into `folder`, run it once on zeros, write ``artifact.json`` and return its content.

    Accepts plain data, so that it can run in a child process. `run` False: do not load or run, for another device.
    Raises `Unavailable`, `RuntimeFailed`, and `InvalidInput` if the outputs do not fit the spec.
    """
    folder, spec, options = Path(folder), _as(spec, ModelSpec), _as(options, Options)
    folder.mkdir(parents=True, exist_ok=True)
    registry.module(options.runtime).build(files.absolute(model), options, folder)
    return complete(folder, spec, options, run, progress, _is_int8(Path(model), options))


def _is_int8(model: Path, options: Options) -> bool:
    """Whether the ONNX file `model` counts as INT8; a torch program does not."""
    if registry.traits(options.runtime).reference:
        return False
    from edgewright.graph import precision  # on the host, which builds

    return not precision.read(model).quantized.few


def complete(
    folder: Path, spec: ModelSpec, options: Options, run: bool, progress: Progress | None, is_int8: bool | None = None
) -> dict[str, Any]:
    """Write ``artifact.json`` and return its content. With `run`: first finish the artifact here and run it once.

    `is_int8`: as in `Artifact`.
    """
    runtime = registry.module(options.runtime)
    described: dict[str, Any] = {}
    if run:
        if hasattr(runtime, "finish"):
            described["builder"] = runtime.finish(folder, options, progress)
        handle = runtime.load(Contents(folder), options)
        _check(runtime.run(handle, *feeds.zeros(spec, spec.batch or 1)), spec, options)
        described |= runtime.describe(handle)
    versions = {
        "edgewright": version("edgewright") or "",
        "python": platform.python_version(),
        "Pillow": version("Pillow") or "",  # major versions differ by a level in some resized pixels
        options.runtime: runtime.probe().version or "",
    }
    artifact = Artifact(options=options, spec=spec, versions=versions, described=described, is_int8=is_int8)
    files.write(folder / FILE, encode(artifact))
    plain: dict[str, Any] = msgspec.to_builtins(artifact)
    return plain


def read(folder: Path) -> Artifact:
    """Read ``artifact.json`` in `folder`. Raises `InvalidInput` if it is missing, malformed or of a newer schema."""
    return parse(Contents(folder))


def parse(contents: Contents) -> Artifact:
    """Read ``artifact.json`` in `contents`. Raises the errors of `read`."""
    about = decode(contents.read(FILE), Artifact, f"{contents.folder / FILE}")
    registry.require_known(about.options.runtime, contents.folder / FILE)
    if wrong := inconsistency(about.spec):
        raise InvalidInput(
            f"{contents.folder / FILE} contradicts itself: {wrong}.",
            "This file states how images become the model's input.",
            "Build the bundle again.",
        )  # fmt: skip
    return about


def _check(outputs: list[np.ndarray], spec: ModelSpec, options: Options) -> None:
    size = (spec.input.width, spec.input.height) if spec.images else (0, 0)
    try:
        tasks.of(spec).decode.read(outputs, spec, [size] * (spec.batch or 1))
    except RuntimeFailed as error:
        given = "a black image" if spec.takes_image else "zeros"
        raise RuntimeFailed(
            f"{options.runtime} returns NaN or infinity for {spec.name} on {given}.",
            "The variant is numerically broken on this runtime.",
            "Choose another variant, precision or runtime.",
        ) from error


def _as(value: Any, kind: type[T]) -> T:
    try:
        return convert(value, kind) if isinstance(value, dict) else value
    except msgspec.ValidationError as error:
        raise InvalidInput(f"Not a valid {kind.__name__}: {error}.", "", "Correct this field.") from None
