"""INT8 and FP16 as stages: statistics, ranges, the preparation of the float model, the quantized file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.store import Entry
from edgewright.data import sets
from edgewright.data.sets import ImageSet
from edgewright.pipeline.candidate import Variant
from edgewright.pipeline.stages.model import MODEL, spec_of
from edgewright.pipeline.stages.runner import StageRunner, made_by
from edgewright.quantize import methods, schemes
from edgewright.quantize.calibration.statistics import STATISTICS

HALF_IMAGES = 64
"""Images that FP16 is proven on: of more the time grows, and what overflows shows on these."""

AROUND_ZERO = {
    "split": "edgewright.quantize.ptq.channel_splitting:split",
    "centre": "edgewright.quantize.ptq.centering:centre",
}
"""What is done with a float model for grids around zero, where the method wants it, in this order."""


def quantize(
    runner: StageRunner,
    model: Entry,
    variant: Variant,
    calibration: ImageSet,
    seed: int,
) -> Entry:
    """``model.onnx`` in INT8 and ``provenance.json``; `variant` names scheme and method."""
    assert variant.method is not None
    method = methods.get(variant.method)
    how: dict[str, Any] = {"scheme": variant.scheme, "method": variant.method, "seed": seed}
    if method.labels:
        how["labels"] = _classes(method.name, calibration, spec_of(model))
    source = quantized_from(runner, model, variant, calibration, seed)
    paths = calibration.paths
    inputs = {"model": source.key, "images": calibration.digests, **how, "made_by": made_by("quantize", "graph")}
    kwargs: dict[str, Any] = {"model": str(source.path / MODEL), "images": paths, **how}
    if method.engine == "onnxruntime":
        seen = _statistics(runner, source, method, calibration, seed)
        inputs["statistics"], kwargs["statistics"] = seen.key, str(seen.path)
    if method.distil:
        kwargs["checkpoint"] = str(runner.store.checkpoint("quantize", inputs))
    made = runner.run(
        "quantize", variant.name, inputs, "edgewright.quantize.quantize:quantize", **kwargs, into="out",
    )  # fmt: skip
    if method.distil:
        shutil.rmtree(kwargs["checkpoint"], ignore_errors=True)
    return made


def _classes(method: str, images: ImageSet, spec: ModelSpec) -> list[int]:
    """The model's class for each image; raises `InvalidInput` where the images do not tell it."""
    if spec.task != "classify":
        raise InvalidInput(
            f"The method '{method}' learns from a class for each image, and '{spec.name}' is no classifier.",
            f"Its task is {spec.task}.", "Use distil, which learns from the float model alone.",
        )  # fmt: skip
    if any(item.label is None for item in images.items):
        raise InvalidInput(
            f"The method '{method}' learns from a class for each image, and the calibration images have none.",
            f"They are those of '{images.name}'.", "Sort them into a folder a class, or use distil, which needs none.",
        )  # fmt: skip
    return [item.label for item in sets.match_labels(images, spec).items if item.label is not None]


def observe(runner: StageRunner, model: Entry, calibration: ImageSet) -> Entry:
    """``statistics.safetensors``: what the model's activations do on the images; serves every scheme and method."""
    inputs = {"model": model.key, "images": calibration.digests, "made_by": made_by("quantize", "graph")}
    return runner.run(
        "observe", calibration.name, inputs, "edgewright.quantize.quantize:observe", model=str(model.path / MODEL),
        images=calibration.paths, into="out",
    )  # fmt: skip


def weigh(runner: StageRunner, model: Entry, seen: Entry, calibration: ImageSet, seed: int) -> Entry:
    """``statistics.safetensors`` with the range of each tensor that costs the answers least: `calibration.clipping`."""
    how = {"seed": seed, "made_by": made_by("quantize", "graph")}
    return runner.run(
        "weigh", calibration.name, {"model": model.key, "statistics": seen.key, "images": calibration.digests, **how},
        "edgewright.quantize.quantize:weigh", model=str(model.path / MODEL), statistics=str(seen.path), seed=seed,
        images=calibration.paths, into="out",
    )  # fmt: skip


def _statistics(runner: StageRunner, model: Entry, method: methods.Method, calibration: ImageSet, seed: int) -> Entry:
    """``statistics.safetensors`` of `model`, with all that `method` wants; a split or centred model brings its own."""
    if Path(model.path, STATISTICS).is_file():
        return model
    seen = observe(runner, model, calibration)
    return weigh(runner, model, seen, calibration, seed) if "output" in method.ranges else seen


def quantized_from(runner: StageRunner, model: Entry, variant: Variant, calibration: ImageSet, seed: int) -> Entry:
    """The float model that is quantized: `model`, or the same function as the method prepares it for the scheme."""
    assert variant.method is not None and variant.scheme is not None
    method, scheme = methods.get(variant.method), schemes.get(variant.scheme)
    made_with = made_by("quantize", "graph")
    if method.equalize:
        made = runner.run(
            "equalize", calibration.name, {"model": model.key, "images": calibration.digests, "made_by": made_with},
            "edgewright.quantize.ptq.equalize:equalize", model=str(model.path / MODEL),
            images=calibration.paths, into="out",
        )  # fmt: skip
        model = made if Path(made.path, MODEL).is_file() else model
    for stage, target in AROUND_ZERO.items() if scheme.centred else ():
        if getattr(method, stage):
            seen = _statistics(runner, model, method, calibration, seed)
            made = runner.run(
                stage, calibration.name, {"model": model.key, "statistics": seen.key, "made_by": made_with},
                target, model=str(model.path / MODEL), statistics=str(seen.path), into="out",
            )  # fmt: skip
            model = made if Path(made.path, MODEL).is_file() else model
    return model


def halve(runner: StageRunner, model: Entry, what: str, images: ImageSet) -> Entry:
    """``model.onnx`` in mixed FP16, ``simulated.onnx`` and ``half.json`` (see `quantize.fp16`).

    It is proven on `HALF_IMAGES` of `images`, evenly out of the list, which is sorted by class.
    """
    some = msgspec.structs.replace(images, items=sets.spread(images.items, HALF_IMAGES))
    inputs = {"model": model.key, "images": some.digests, "made_by": made_by("quantize", "graph")}
    return runner.run(
        "half", what, inputs, "edgewright.quantize.fp16:convert", model=str(model.path / MODEL),
        images=some.paths, into="out",
    )  # fmt: skip
