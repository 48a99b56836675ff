"""The stage: an ONNX model (float, or with Q/DQ pairs) and real images in; the model in mixed FP16 out.

What overflows on the images stays in float32; then the outputs are compared on them, and what the comparison does not
prove is not written. The comparison leaves the Q/DQ pairs of activations out: a rounded value that falls on the next
step of its grid would hide what FP16 itself does.
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
"""An activation stays in float32 from a quarter of what float16 holds: other images reach further than these."""

LEAST_DB = 30.0
"""Least power of the float32 outputs over that of the difference."""

PAIRS_DB = 10.0
"""The least with Q/DQ pairs: values that fall on the next step of a grid cost far more than FP16 itself, but what
overflows in a pair leaves nothing."""

DELICATE = frozenset(
    {"Softmax", "LayerNormalization", "ReduceMean", "ReduceSum", "Pow", "Sqrt", "Exp", "Log", "Reciprocal"}
)
"""Operators that sum many values or magnify differences: kept in float32 where all else did not suffice."""


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """How an FP16 file came to be: ``half.json``. `float_nodes` stay in float32; `sqnr_db` was reached on `images`."""

    schema_version: int = 1
    float_nodes: tuple[str, ...]
    sqnr_db: float
    images: int


def convert(model: str, images: list[str], out: str, progress: Tick | None = None) -> Conversion:
    """Convert the file `model` and write ``model.onnx`` and ``half.json`` into the folder `out`.

    ``simulated.onnx`` beside them computes in float32 and rounds as the other does, for runtimes without float16.

    `images`: files, at least `calibration.MINIMUM`; the spec is read from the model. Raises `InvalidInput` (no spec,
    images that are none) and `RuntimeFailed` where FP16 cannot express the model or changes its answers.
    """
    source = files.load(Path(model))
    spec = metadata.get_spec(source)
    if spec is None:
        raise InvalidInput(f"{model} holds no ModelSpec.", "", "Export the model with edgewright first.")
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
            missed = f"{reached:.1f} dB where at least {LEAST_DB:g} are asked for"
        elif bare != source and (paired := _sqnr(source, simulated, feeds, spec)) < PAIRS_DB:
            missed = f"with its Q/DQ pairs {paired:.1f} dB where at least {PAIRS_DB:g} are asked for"
        if not missed:
            break
    else:
        raise RuntimeFailed(
            f"In FP16 {spec.name} gives other answers: {missed}, on {len(feeds)} batches of images.",
            f"{len(overflow)} nodes that overflow were kept in float32, and in vain {len(delicate)} delicate ones.",
            "Use precision f32 for this model.",
        )
    for model_made in (made, simulated):
        metadata.set_spec(model_made, spec)
    try:
        files.check(made, "The FP16 model")
    except InvalidInput as error:  # not the user's file is wrong, but what was made of it
        raise RuntimeFailed(f"{spec.name} cannot be written in FP16: {error.what}", error.why, "Use f32.") from None
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
    """The least signal-to-noise ratio of the outputs over `feeds`, in dB; minus infinity where one is not finite."""
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
