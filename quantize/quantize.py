"""Quantize a float ONNX model with real images, a scheme and a method; write the INT8 model and its provenance.

`quantize` runs the steps of a method (see `methods`) in order. Steps whose results serve several schemes and methods
are stages of their own: `run_step` runs each of them before.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgewright.core import files as core_files
from edgewright.core.errors import InvalidInput
from edgewright.core.lazy import version
from edgewright.core.spec import encode
from edgewright.graph import files, metadata

from . import methods, prepare, schemes, steps
from .calibration import statistics
from .calibration.statistics import STATISTICS, Tick
from .methods import Method
from .state import FloatState, Int8State

MODEL, PROVENANCE = "model.onnx", "provenance.json"


class QuantizeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a step or of a method.

    `model`: a float file with a ModelSpec. `images`: calibration images, at least `calibration.images.MINIMUM`.
    `statistics`: the folder with the statistics of the same model. `labels`: the class of each image, for methods that
    learn from labels. `checkpoint`: the folder from which interrupted training continues.
    """

    model: str
    images: list[str] = []
    statistics: str | None = None
    seed: int = 0
    labels: list[int] = []
    checkpoint: str | None = None


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Provenance of an INT8 file: ``provenance.json`` next to it. `ranges`: the kind of ranges that was chosen.

    `missing`: the parts of the method that could not run for this model, with reasons.
    """

    schema_version: int = 1
    scheme: str
    method: str
    seed: int
    model_digest: str
    images: int
    images_digest: str
    float_nodes: tuple[str, ...]
    ranges: str | None = None
    missing: str | None = None
    versions: dict[str, str | None]
    seconds: float


def quantize(request: QuantizeRequest, scheme: str, method: str, out: str, progress: Tick | None = None) -> Provenance:
    """Run the method's steps (see `apply`), and write ``model.onnx`` and ``provenance.json`` into the folder `out`.

    `request.model` is the float model after the steps that are separate stages, `request.statistics` its statistics.
    Without statistics this function collects them. The ModelSpec in the model's metadata is kept. The same input and
    seed give the same bytes. Raises `InvalidInput` for an unknown scheme or method, for a method that does not support
    the scheme, for a model without a spec, and for images that are too few, unreadable or not finite.
    """
    request = msgspec.convert(request, QuantizeRequest)
    chosen, how = schemes.get(scheme), methods.get(method)
    if not how.fits(scheme):
        fitting = ", ".join(m for m in methods.METHODS if methods.METHODS[m].fits(scheme))
        raise InvalidInput(
            f"The method '{method}' does not support the scheme '{scheme}'.",
            f"Methods that support it: {fitting}.", "Use one of them.",
        )  # fmt: skip
    start = time.monotonic()
    random.seed(request.seed)
    np.random.seed(request.seed)
    checkpoint = Path(request.checkpoint) if request.checkpoint else None
    state = Int8State(scheme=chosen, labels=request.labels, checkpoint=checkpoint, **_started(request, progress))
    images = state.calibration.provenance
    apply(how, state)
    metadata.set_spec(state.quantized, state.spec)
    files.check(state.quantized, "The quantized model")
    provenance = Provenance(
        scheme=scheme, method=method, seed=request.seed, model_digest=core_files.sha256(Path(request.model)),
        images=images.images, images_digest=images.digest, float_nodes=tuple(state.float_nodes),
        ranges=state.ranges.kind if state.ranges else None, missing=state.missing or None,
        seconds=round(time.monotonic() - start, 3),
        versions={name: version(name) for name in ("edgewright", "nncf", "onnx", "onnxruntime", "numpy", "torch")},
    )  # fmt: skip
    files.save(state.quantized, Path(out, MODEL))
    core_files.write(Path(out, PROVENANCE), encode(provenance))
    return provenance


def apply(method: Method, state: Int8State) -> None:
    """Run the steps of `method` on `state` in order, and skip those that ran before.

    Those are the steps that change the float model and, if the state has statistics, the steps that collect them.
    """
    done = {"model", *(["statistics"] if state.statistics else [])}
    for step in method.steps_for(state.scheme):
        if step.keeps.isdisjoint(done):
            steps.apply(step, state)


def run_step(step: steps.KeptStep, request: QuantizeRequest, out: str, progress: Tick | None = None) -> int:
    """Run one step that is a stage of its own, and write its results into the folder `out`.

    Writes ``model.onnx``, ``statistics.safetensors`` or both. Returns how many places it changed. If there are none, it
    writes nothing. Raises `InvalidInput` like `quantize`.
    """
    step, request = msgspec.convert(step, steps.KeptStep), msgspec.convert(request, QuantizeRequest)
    state = FloatState(**_started(request, progress))
    changed = steps.apply(step, state)
    if "model" in step.keeps and changed:
        metadata.set_spec(state.model, state.spec)
        files.check(state.model, step.result)
        files.save(state.model, Path(out, MODEL))
    if "statistics" in step.keeps and (changed or step.keeps == {"statistics"}):
        statistics.save(state.seen, Path(out, STATISTICS))
    return changed


def _started(request: QuantizeRequest, progress: Tick | None) -> dict[str, Any]:
    """The arguments that every state needs."""
    model, spec = prepare.read(request.model)
    prepare.prepare(model)
    seen = statistics.read(Path(request.statistics, STATISTICS)) if request.statistics else None
    tick = {"tick": progress} if progress else {}
    return {"model": model, "spec": spec, "images": request.images, "statistics": seen, "seed": request.seed, **tick}
