"""Run an artifact on an image set. The task's `metric` computes scores from the outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewright import tasks
from edgewright.core import files
from edgewright.core.child import YIELDING, Child, Limits, Progress
from edgewright.core.errors import EdgewrightError, InvalidInput
from edgewright.core.spec import ModelSpec, convert
from edgewright.core.warm import Kind
from edgewright.data.items import Item
from edgewright.runtimes import artifact as artifacts
from edgewright.runtimes import registry
from edgewright.tasks.scores import Paired

WORKER = "edgewright.bench.worker"
OUTPUTS = "outputs.npy"
SCORES = "accuracy.json"

Outputs = NDArray[Any]
"""The rows of all images; their type is that of the task's `decode.DTYPE`."""
Answer = Callable[[Path, Sequence[str], Path, Progress | None], Any]
"""Runs the artifact in a folder on images (files), here or on a device, and writes `OUTPUTS` to another folder."""


def evaluate(
    artifact: Path,
    paths: Sequence[str],
    folder: Path,
    *,
    limits: Limits = Limits(),
    progress: Progress | None = None,
    answer: Answer | None = None,
) -> None:
    """Run `artifact` on the images (files) in a child process, with the session code that devices use.

    Writes ``outputs.npy`` to `folder`: the rows of each image that the task's metric reads, in the given order (see
    `worker.predict`). `answer` does this work elsewhere, for example on a device; then `limits` do not apply. Raises
    `InvalidInput` if there are no images, `RuntimeFailed` for outputs that are not finite, and the errors of the
    child's limits.
    """
    if not paths:
        raise InvalidInput("There are no images to evaluate on.", "Accuracy needs at least one.", "Name another split.")
    folder.mkdir(parents=True, exist_ok=True)
    if answer:
        answer(artifact, paths, folder, progress)
        return
    with Child(folder / "log.txt", limits, YIELDING, _kind(artifact)) as child:
        child.call(f"{WORKER}:open_artifact", path=str(artifact), images=list(paths[:1]))
        child.call(f"{WORKER}:predict", images=list(paths), out=str(folder / OUTPUTS), progress=progress)


def _kind(artifact: Path) -> Kind:
    """The kind of warm process that has imported most of the modules of this artifact's runtime."""
    try:
        return "heavy" if registry.traits(artifacts.read(artifact).options.runtime).reference else "light"
    except (OSError, EdgewrightError):  # the child reports the error
        return "light"


def load_outputs(folder: Path) -> Outputs:
    """Return the outputs that `evaluate` wrote to `folder`, as a memory-mapped array."""
    outputs: Outputs = np.load(folder / OUTPUTS, mmap_mode="r", allow_pickle=False)
    return outputs


class ScoreRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request to the child: folders of outputs for `items`. `reference` is None for the reference's own outputs."""

    answers: str
    reference: str | None
    items: tuple[Item, ...]
    spec: dict[str, Any]
    paired: Paired


def score(request: dict[str, Any], folder: str) -> None:
    """Compute the scores with the task's metric and write ``accuracy.json``. Runs in a child process."""
    asked = msgspec.convert(request, ScoreRequest)
    spec = convert(asked.spec, ModelSpec)
    metric, outputs = tasks.of(spec).metric, load_outputs(Path(asked.answers))
    if asked.reference is None:
        found = metric.score(outputs, asked.items, spec)
    else:
        found = metric.compare(outputs, load_outputs(Path(asked.reference)), asked.items, spec, asked.paired)
    files.write(Path(folder, SCORES), msgspec.json.encode(found))
