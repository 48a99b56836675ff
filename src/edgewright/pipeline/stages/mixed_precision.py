"""Mixed precision as stages: the sensitivity of each block, and a file with some blocks in float."""

from __future__ import annotations

from typing import Any, NamedTuple

from edgewright.core.store import Entry
from edgewright.data.sets import ImageSet
from edgewright.pipeline.candidate import Variant
from edgewright.pipeline.stages.model import MODEL
from edgewright.pipeline.stages.quantize import float_model
from edgewright.pipeline.stages.runner import StageRunner, made_by


class InInt8(NamedTuple):
    """A float model, the INT8 file quantized from it, and its variant."""

    model: Entry
    quantized: Entry
    variant: Variant


def mix_precision(
    runner: StageRunner, model: Entry, quantized: Entry, variant: Variant, calibration: ImageSet, seed: int,
) -> Entry:  # fmt: skip
    """``model.onnx``, ``provenance.json``: `quantized` with the variant's float layers restored."""
    how: dict[str, Any] = {"float_layers": list(variant.float_layers)}
    versions = made_by("quantize", "graph")
    source, _ = float_model(runner, model, variant, calibration, seed)
    inputs = {
        "model": source.key,
        "quantized": quantized.key,
        "images": calibration.digests,
        **how,
        "made_by": versions,
    }
    return runner.run(
        "mixed", variant.name, inputs, "edgewright.quantize.mixed.compose:build", model=str(source.path / MODEL),
        quantized=str(quantized.path), images=calibration.paths, **how, into="out",
    )  # fmt: skip


def sensitivity(runner: StageRunner, int8: InInt8, calibration: ImageSet, seed: int, layers: bool) -> Entry:
    """``sensitivity.json``: the INT8 loss of each block, and with `layers` of each layer."""
    model, quantized, variant = int8
    how: dict[str, Any] = {"layers": layers}
    versions = made_by("quantize", "graph")
    source, _ = float_model(runner, model, variant, calibration, seed)
    inputs = {
        "model": source.key,
        "quantized": quantized.key,
        "images": calibration.digests,
        **how,
        "made_by": versions,
    }
    return runner.run(
        "sensitivity", variant.name, inputs, "edgewright.quantize.mixed.block_sensitivity:measure",
        model=str(source.path / MODEL),
        quantized=str(quantized.path), images=calibration.paths, **how,
    )  # fmt: skip
