"""Convert an ONNX model (float or with Q/DQ pairs) to mixed FP16, checked on real images.

Tensors that overflow on the images stay in float32. The converted model is then compared with the original on the
images, and written only if it passes. The comparison ignores the Q/DQ pairs of activations: a value that rounds to the
next quantization step would hide the error of FP16.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edgewright import tasks
from edgewright.core import files as core_files
from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import ModelSpec, encode
from edgewright.graph import files, half, metadata, names, upgrade

from .calibration import collect
from .calibration import statistics as ranges
from .calibration.images import Calibration
from .calibration.sessions import open_session
from .calibration.statistics import Tick
from .qdq import pairs

if TYPE_CHECKING:
    import onnx

HEADROOM = 4.0
"""An activation above this magnitude stays in float32: a quarter of the float16 maximum, as a margin for other images.
"""

LEAST_DB = 30.0
"""Minimum SQNR of the outputs in dB."""

PAIRS_DB = 10.0
"""Minimum SQNR in dB with Q/DQ pairs. A value that rounds to the next quantization step costs far more than FP16 does,
but an overflow in a pair leaves no signal at all."""

DELICATE = frozenset(
    {"Softmax", "LayerNormalization", "ReduceMean", "ReduceSum", "Pow", "Sqrt", "Exp", "Log", "Reciprocal"}
)
"""Operators that sum many values or amplify differences. They stay in float32 if nothing else is enough."""


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """Provenance of an FP16 file: ``half.json``. `float_nodes` stay in float32. `sqnr_db` was measured on `images`."""

    schema_version: int = 1
    float_nodes: tuple[str, ...]
    sqnr_db: float
    images: int


def convert(model: str, images: list[str], out: str, progress: Tick | None = None) -> Conversion:
    """Convert the file `model`, and write ``model.onnx`` and ``half.json`` into the folder `out`.

    ``simulated.onnx`` in the same folder computes in float32 and rounds like float16, for runtimes without float16.

    `images`: image files, at least `calibration.MINIMUM`. The spec is read from the model. Raises `InvalidInput` if the
    model has no spec or an image cannot be read, and `RuntimeFailed` if FP16 cannot represent the model or changes its
    outputs.
    """
    source = files.load(Path(model))
    spec = metadata.get_spec(source)
    if spec is None:
        raise InvalidInput(
            f"{model} has no ModelSpec.",
            "",
            "Export the model first: edgewright export MODEL.onnx --spec FILE -o NEW.onnx",
        )
    names.name_nodes(source)
    upgrade.apply(source, half.OPSET)
    tick = progress or (lambda *_: None)
    calibration = Calibration(images, spec)
    bare = pairs.without(source)
    found = ranges.find(collect.collect(bare, calibration, tick, histograms=False), "minmax", True)
    overflow = half.beyond(source, found, half.LARGEST / HEADROOM)
    delicate = [node.name for node in source.graph.node if node.op_type in DELICATE]
    feeds = list(calibration.batches(16))
    for keep in (overflow, [*overflow, *delicate]):
        made = _converted(source, keep)
        simulated = half.simulate(made)
        alone = half.simulate(_converted(bare, keep)) if bare != source else simulated
        reached, missed = _sqnr(bare, alone, feeds, spec), ""
        if reached < LEAST_DB:
            missed = f"{reached:.1f} dB (minimum {LEAST_DB:g} dB)"
        elif bare != source and (paired := _sqnr(source, simulated, feeds, spec)) < PAIRS_DB:
            missed = f"{paired:.1f} dB with its Q/DQ pairs (minimum {PAIRS_DB:g} dB)"
        if not missed:
            break
    else:
        raise RuntimeFailed(
            f"FP16 changes the outputs of {spec.name}: SQNR {missed}, on {len(feeds)} batches of images.",
            f"{len(overflow)} nodes that overflow and {len(delicate)} sensitive nodes in float32 were not enough.",
            "Use precision f32 for this model.",
        )
    for model_made in (made, simulated):
        metadata.set_spec(model_made, spec)
    try:
        files.check(made, "The FP16 model")
    except InvalidInput as error:  # The error is in our conversion, not in the user's file.
        raise RuntimeFailed(f"{spec.name} cannot be converted to FP16: {error.what}", error.why, "Use f32.") from None
    conversion = Conversion(
        float_nodes=tuple(keep), sqnr_db=round(reached, 1), images=len(feeds) * calibration.batch_size
    )
    files.save(made, Path(out, "model.onnx"))
    files.save(simulated, Path(out, "simulated.onnx"))
    core_files.write(Path(out, "half.json"), encode(conversion))
    return conversion


def _converted(model: onnx.ModelProto, keep: list[str]) -> onnx.ModelProto:
    copy = files.copy(model)
    half.apply(copy, keep)
    return copy


def _sqnr(
    reference: onnx.ModelProto, changed: onnx.ModelProto, feeds: list[dict[str, np.ndarray]], spec: ModelSpec
) -> float:
    """The lowest SQNR of the outputs over `feeds`, in dB; minus infinity if an output is not finite."""
    first, second = open_session(reference), open_session(changed)
    energy = tasks.of(spec).loss.energy
    signal, noise = (np.zeros(len(spec.outputs)) for _ in range(2))
    for feed in feeds:
        for i, (a, b) in enumerate(zip(first.run(list(spec.outputs), feed), second.run(list(spec.outputs), feed))):
            if not np.isfinite(b).all():
                return float("-inf")
            power, error = energy(a, b, spec)
            signal[i], noise[i] = signal[i] + power, noise[i] + error
    return float((10 * np.log10(np.maximum(signal, 1e-30) / np.maximum(noise, 1e-30))).min())
