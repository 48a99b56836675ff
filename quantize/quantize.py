"""The stage: a float ONNX model, real images, a scheme and a method in; an INT8 ONNX model and its provenance out."""

from __future__ import annotations

import functools
import random
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edgewright.core import files as core_files
from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.lazy import version
from edgewright.core.spec import encode
from edgewright.graph import census, files, metadata, precision

from . import methods, schemes
from .calibration import clipping, sensitivity
from .calibration import statistics as ranges
from .calibration.images import Calibration
from .calibration.statistics import STATISTICS, ChannelRanges, Range, Statistics, Tick
from .prepare import prepare, read
from .ptq import bias_correction, centering, score_levelling
from .qdq import (
    float_head,
    float_tail,
    fused_activations,
    nncf,
    onnxruntime,
    per_channel_activations,
    tensorrt,
)

if TYPE_CHECKING:
    import onnx


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """How an INT8 file came to be: ``provenance.json`` beside it. `ranges`: of several ways the one taken.

    `missing`: what of the method could not be done for this model, and why.
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


def quantize(
    model: str,
    scheme: str,
    method: str,
    images: list[str],
    out: str,
    seed: int = 0,
    statistics: str | None = None,
    checkpoint: str | None = None,
    labels: list[int] | None = None,
    progress: Tick | None = None,
) -> Provenance:
    """Quantize the float model at `model` and write ``model.onnx`` and ``provenance.json`` into the folder `out`.

    `images`: files to calibrate on, at least `calibration.MINIMUM`; `statistics`: the folder in which `observe` (and
    `weigh`) wrote of the same model and images; `labels`: each image's class, for methods that learn from it. The
    ModelSpec is read from the model's metadata and kept. The same input and seed give the same bytes. A distillation
    that was ended goes on from the folder `checkpoint`. Raises `InvalidInput` for an unknown scheme or method, for a
    pair that does not fit, a model without a spec, and images that are too few, broken or not finite.
    """
    chosen, how = schemes.get(scheme), methods.get(method)
    if not how.fits(scheme):
        fitting = ", ".join(m for m in methods.METHODS if methods.METHODS[m].fits(scheme))
        raise InvalidInput(
            f"The method '{method}' cannot make files of the scheme '{scheme}'.",
            f"Methods for it: {fitting}.", "Use one of them.",
        )  # fmt: skip
    start = time.monotonic()
    random.seed(seed)
    np.random.seed(seed)
    source, calibration = read(model, images)
    tick = progress or _silent
    seen = ranges.read(Path(statistics, STATISTICS)) if statistics else None
    quantized, kept, found, missing = apply(source, chosen, how, calibration, tick, seen, seed)
    if how.distil:
        from .qat import train as distil

        folder = Path(checkpoint) if checkpoint else None
        distil.distil(quantized, source, calibration, tick, seed=seed, checkpoint=folder, labels=labels or ())
    if calibration.spec.task == "detect":
        score_levelling.level(quantized, source, calibration, tick)
    metadata.set_spec(quantized, calibration.spec)
    files.check(quantized, "The quantized model")
    provenance = Provenance(
        scheme=scheme, method=method, seed=seed, model_digest=core_files.sha256(Path(model)),
        images=calibration.provenance.images, images_digest=calibration.provenance.digest, float_nodes=kept,
        ranges=found, missing=missing, seconds=round(time.monotonic() - start, 3),
        versions={name: version(name) for name in ("edgewright", "nncf", "onnx", "onnxruntime", "numpy", "torch")},
    )  # fmt: skip
    files.save(quantized, Path(out, "model.onnx"))
    core_files.write(Path(out, "provenance.json"), encode(provenance))
    return provenance


def observe(model: str, images: list[str], out: str, progress: Tick | None = None) -> None:
    """Write what the float model at `model` does on `images` into the folder `out`: once, for every scheme and method.

    Raises `InvalidInput` as `quantize` does.
    """
    source, calibration = read(model, images)
    prepare(source)
    ranges.save(ranges.collect(source, calibration, progress or _silent), Path(out, STATISTICS))


def weigh(
    model: str, images: list[str], statistics: str, out: str, seed: int = 0, progress: Tick | None = None
) -> None:
    """Add the ranges of the kind "output" to the `statistics` that `observe` wrote of the same model and images.

    A model with an operator that has no gradient here gets none.
    """
    source, calibration = read(model, images)
    prepare(source)
    seen = _weighed(source, calibration, ranges.read(Path(statistics, STATISTICS)), progress or _silent, seed)
    ranges.save(seen, Path(out, STATISTICS))


def _weighed(model: onnx.ModelProto, calibration: Calibration, seen: Statistics, tick: Tick, seed: int) -> Statistics:
    try:
        return clipping.choose(model, calibration, seen, tick, seed)
    except RuntimeFailed as error:
        return seen._replace(missing=f"There are no ranges by the model's answers: {error.what}")


def apply(
    model: onnx.ModelProto,
    scheme: schemes.Scheme,
    method: methods.Method,
    calibration: Calibration,
    tick: Tick,
    seen: Statistics | None = None,
    seed: int = 0,
) -> tuple[onnx.ModelProto, tuple[str, ...], str | None, str | None]:
    """The INT8 form of the float model `model`, which is prepared in place.

    With it the nodes that stayed in float, of several ways to find ranges the one taken, and what could not
    be done.
    """
    prepare(model)
    protected = float_head.protected(model) if calibration.spec.task == "detect" else []
    kept, best = list(protected), None
    if method.engine == "nncf":
        quantized = nncf.place(files.copy(model), calibration, scheme, method, kept, tick)
    else:

        def placed(
            found: dict[str, Range], channels: ChannelRanges, source: onnx.ModelProto, float_nodes: list[str]
        ) -> onnx.ModelProto:
            return place(source, found, scheme, float_nodes, channels)

        if seen is None:
            seen = ranges.collect(model, calibration, tick, histograms=not {*method.ranges} <= {"minmax", "mean"})
            seen = _weighed(model, calibration, seen, tick, seed) if "output" in method.ranges else seen
        kinds = [kind for kind in method.ranges if kind != "output" or len(seen.best)]
        trials = {}
        for kind in kinds:
            channels = ranges.find_channels(seen, kind) if scheme.depthwise_input == "channel" else {}
            trials[kind] = functools.partial(placed, ranges.find(seen, kind, scheme.centred), channels)
        best = sensitivity.best_trial(model, trials, calibration, kept, tick) if len(trials) > 1 else kinds[0]
        place_all = trials[best]

        if method.float_layers:
            kept += sensitivity.most_sensitive(model, place_all, calibration, method.float_layers, kept, tick)
        quantized = place_all(model, kept)
    float_tail.apply(quantized, model, keep_convolutions=scheme.runtime == "onnxruntime")
    if method.bias_correction == "sequential":
        bias_correction.correct(quantized, model, calibration, tick, method.reround, protected)
    _require_quantized(quantized, model, scheme, kept)
    missing = seen.missing if seen and "output" in method.ranges else ""
    return quantized, tuple(kept), best, missing or None


def _require_quantized(
    quantized: onnx.ModelProto, model: onnx.ModelProto, scheme: schemes.Scheme, kept: list[str]
) -> None:
    """Raise `RuntimeFailed` where too few layers are in INT8 of those that could be (`precision.LEAST`).

    Could: layers of the float `model` with constant weights, but for those in `kept`, those that the scheme leaves in
    float by its own rule, and recurrent ones, of which no engine here makes INT8.
    """
    constants = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    could = [
        node
        for node in model.graph.node
        if node.op_type in census.PRODUCTS and node.input[1] in constants and node.name not in kept
    ]
    if scheme.placement == "inputs":
        narrow = tensorrt.FEWEST_CHANNELS
        could = [n for n in could if n.op_type != "Conv" or min(tensorrt.channels(n, constants[n.input[1]])) >= narrow]
    asked = precision.quantized(quantized).int8
    if not precision.Quantized(asked, len(could)).few or (could == [] and kept):
        return
    types = Counter(node.op_type for node in could)
    left = ", ".join(f"{count} {operator}" for operator, count in types.items()) or "no layers that could be"
    rule = (
        f" Convolutions below {tensorrt.FEWEST_CHANNELS} channels stay in float."
        if scheme.placement == "inputs"
        else ""
    )
    raise RuntimeFailed(
        f"Only {asked} of {len(could)} layers came out in INT8 with the scheme '{scheme.name}'.",
        f"The model has {left}; its weights or operators are not of the kind that is quantized.{rule}",
        "Use the float model, or another scheme or method.",
    )


def place(
    model: onnx.ModelProto, found: dict[str, Range], scheme: schemes.Scheme, float_nodes: list[str],
    channels: ChannelRanges | None = None,
) -> onnx.ModelProto:  # fmt: skip
    """A copy of `model` with the Q/DQ pairs of `scheme`, for the range `found` of each tensor.

    `float_nodes` stay in float. `channels`: ranges of each channel, where layers are to have them (`depthwise`).
    """
    engine = tensorrt if scheme.placement == "inputs" else onnxruntime
    placed = engine.place(files.copy(model), found, scheme, float_nodes)
    if scheme.centred:
        centering.compensate(placed, model)
    if scheme.fuses_functions:
        fused_activations.apply(placed, model)
    if channels:
        per_channel_activations.apply(placed, channels)
    return placed


def _silent(_done: int, _total: int, _what: str) -> None:
    """Progress that nobody watches."""
