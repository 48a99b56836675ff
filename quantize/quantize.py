"""The stage: a float ONNX model, real images, a scheme and a method in; an INT8 ONNX model and its provenance out."""

from __future__ import annotations

import functools
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edgewright.core import files as core_files
from edgewright.core.errors import InvalidInput
from edgewright.core.lazy import version
from edgewright.core.spec import encode
from edgewright.graph import files, metadata

from . import activations, bias, head, methods, nncf, ort, ranges, schemes, sensitivity, tail, tensorrt
from .calibration import Calibration
from .ranges import Range, Tick

if TYPE_CHECKING:
    import onnx


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """How an INT8 file came to be: ``provenance.json`` beside it."""

    schema_version: int = 1
    scheme: str
    method: str
    seed: int
    model_digest: str
    images: int
    images_digest: str
    float_nodes: tuple[str, ...]
    versions: dict[str, str | None]
    seconds: float


def quantize(
    model: str, scheme: str, method: str, images: list[str], out: str, seed: int = 0, progress: Tick | None = None
) -> Provenance:
    """Quantize the float model at `model` and write ``model.onnx`` and ``provenance.json`` into the folder `out`.

    `images`: files to calibrate on, at least `calibration.MINIMUM`. The ModelSpec is read from the model's metadata and
    kept. The same input and seed give the same bytes. Raises `InvalidInput` for an unknown scheme or method, for a pair
    that does not fit, a model without a spec, and images that are too few, broken or not finite.
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
    source = files.load(Path(model))
    spec = metadata.get_spec(source)
    if spec is None:
        raise InvalidInput(
            f"{model} holds no ModelSpec.",
            "Without it the calibration images cannot be preprocessed as in training.",
            "Export the model with edgewright first: edgewright export MODEL.onnx -o DIR",
        )
    calibration = Calibration(images, spec)
    quantized, kept = apply(source, chosen, how, calibration, progress or _silent)
    metadata.set_spec(quantized, spec)
    files.check(quantized, "The quantized model")
    provenance = Provenance(
        scheme=scheme, method=method, seed=seed, model_digest=core_files.sha256(Path(model)),
        images=calibration.provenance.images, images_digest=calibration.provenance.digest, float_nodes=kept,
        versions={name: version(name) for name in ("edgewright", "nncf", "onnx", "onnxruntime", "numpy")},
        seconds=round(time.monotonic() - start, 3),
    )  # fmt: skip
    files.save(quantized, Path(out, "model.onnx"))
    core_files.write(Path(out, "provenance.json"), encode(provenance))
    return provenance


def apply(
    model: onnx.ModelProto, scheme: schemes.Scheme, method: methods.Method, calibration: Calibration, tick: Tick
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The INT8 form of the float model `model`, which is prepared in place, and the nodes that stayed in float."""
    prepare(model, scheme)
    protected = head.protected(model) if calibration.spec.task == "detect" else []
    kept = list(protected)
    if method.engine == "nncf":
        quantized = nncf.place(_copy(model), calibration, scheme, method, kept, tick)
    else:
        engine = tensorrt if scheme.placement == "inputs" else ort

        def place(found: dict[str, Range], source: onnx.ModelProto, float_nodes: list[str]) -> onnx.ModelProto:
            placed = engine.place(_copy(source), found, scheme, float_nodes)
            if scheme.fuses_functions:
                activations.apply(placed, source)
            return placed

        collected = ranges.collect(model, calibration, method.ranges, scheme.symmetric, tick)
        trials = [functools.partial(place, found) for found in collected]
        place_all = sensitivity.least_loss(model, trials, calibration, kept) if len(trials) > 1 else trials[0]

        if method.float_layers:
            kept += sensitivity.most_sensitive(model, place_all, calibration, method.float_layers, kept, tick)
        quantized = place_all(model, kept)
    tail.apply(quantized, model, keep_convolutions=scheme.runtime == "onnxruntime")
    if method.bias_correction == "sequential":
        bias.correct(quantized, model, calibration, tick, method.reround, protected)
    return quantized, tuple(kept)


def prepare(model: onnx.ModelProto, scheme: schemes.Scheme) -> None:
    """Raise the opset to what per-channel Q/DQ needs, name every node, give every layer a bias of its own; in place."""
    from edgewright.graph import upgrade

    upgrade.apply(model, scheme.opset)
    name_nodes(model)
    bias.add_missing(model)


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node of `model` a name that no other has, in place."""
    taken: set[str] = set()
    for i, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{i}_{len(taken)}"
        taken.add(node.name)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    clone = type(model)()
    clone.CopyFrom(model)
    return clone


def _silent(_done: int, _total: int, _what: str) -> None:
    """Progress that nobody watches."""
