"""The export as a stage: from a source to ONNX and a ModelSpec."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import Any

import msgspec

from edgewright.core import files, machine_key
from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.core.store import Entry
from edgewright.data.sets import ImageSet
from edgewright.export.sources import plan, torch, ultralytics
from edgewright.export.sources.parse import PLAN, ParsedSource, parse
from edgewright.pipeline.stages.runner import StageRunner, made_by
from edgewright.runtimes import torch as torch_reference


class Source(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The model as the user names it: a source string and the files that complete it."""

    source: str
    checkpoint: str | None = None
    spec_file: str | None = None
    trust_checkpoint: bool = False

    @functools.cached_property
    def parsed(self) -> ParsedSource:
        """The parsed source string."""
        return parse(self.source)

    def identity(self) -> dict[str, Any]:
        """The source's part of the export's key: names, and digests of all files that the export reads."""
        named = {"checkpoint": self.checkpoint, "spec_file": self.spec_file, "model": self.source}
        return {
            "source": self.source,
            "trust_checkpoint": self.trust_checkpoint,
            **{name: _digest(path) for name, path in named.items() if path and Path(path).is_file()},
            "beside": _beside(self.checkpoint or ultralytics.own_file(self.parsed) or self.source),
            "named": _named_digest(self.source),
        }


def export(runner: StageRunner, source: Source, images: ImageSet | None, batch: int | None) -> Entry:
    """``model.onnx`` (float, normalized on the host), ``spec.json``, ``parity.json``, ``reference.pt2`` for torch."""
    inputs = {
        **source.identity(),
        "images": images.digests if images else [],
        "batch": batch,
        "made_by": made_by("export", "graph"),
    }
    if not source.parsed.is_graph:
        machine_key.key()  # it signs the reference: an error is better reported before the work
        runner = runner.with_torch
    return runner.run(
        "export", source.source, inputs, "edgewright.export.exporter:export", refuse=_foreign, source=source.source,
        request={
            "checkpoint": source.checkpoint, "spec_file": source.spec_file,
            "trust_checkpoint": source.trust_checkpoint, "images": images.paths if images else [], "batch": batch,
        },
    )  # fmt: skip


def _foreign(folder: Path) -> str:
    return "" if torch_reference.is_own(folder) else "another machine or user wrote its torch program"


def _digest(path: str) -> str:
    return files.sha256(files.absolute(path))


def _beside(model: str) -> dict[str, str]:
    """Digests of files next to a model file that the export may read: its spec, its external data."""
    path = Path(model)
    if not path.is_file():
        return {}
    near = [path.with_suffix(".toml").name]
    if path.suffix == ".onnx":
        from edgewright.graph.files import external_names

        near += external_names(path)
    found = {}
    for name in near:
        with contextlib.suppress(InvalidInput, IntegrityError), files.open_contained(path.parent, name) as file:
            found[name] = files.sha256(file)  # a file that cannot be opened is reported by the export
    return found


def _named_digest(source: str) -> str | None:
    """A digest of the file in a source string, or of its factory's module: a change of it must export again."""
    library, _, rest = source.partition("?")[0].partition(":")
    if library == "ultralytics" and (path := ultralytics.file_of(rest)):
        return files.sha256(path)
    if (folder := files.absolute(source) / PLAN).is_file():
        return files.sha256(folder) + files.sha256(folder.with_name(plan.WEIGHTS))
    if library == "transformers" and (folder := files.absolute(rest)).is_dir():
        read = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".bin"))
        return "".join(files.sha256(path) for path in read if path.is_file())
    if library != "torch":
        return None
    found = torch.file_of(rest)
    return files.sha256(found) if found else None  # a wrong name is reported by the export
