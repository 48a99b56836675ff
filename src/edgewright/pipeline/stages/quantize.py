"""INT8 and FP16 as stages: each step of a method that is stored separately, and the quantized file."""

from __future__ import annotations

import shutil
from typing import Any, NamedTuple

import msgspec

from edgewright import tasks
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
"""The number of images for the check of FP16: more take longer and show no further overflow."""


class FloatModel(NamedTuple):
    """The float model to quantize, and the folder with statistics of its activations, for methods that need them."""

    model: Entry
    statistics: Entry | None


def float_model(runner: StageRunner, model: Entry, variant: Variant, calibration: ImageSet, seed: int) -> FloatModel:
    """`model` after those steps of the variant's method that are stages of their own."""
    assert variant.method is not None and variant.scheme is not None
    found = FloatModel(model, None)
    for step in methods.get(variant.method).steps_for(schemes.get(variant.scheme)):
        if not step.keeps:
            continue
        inputs: dict[str, Any] = {"model": found.model.key, "made_by": made_by("quantize", "graph")}
        request: dict[str, Any] = {"model": str(found.model.path / MODEL)}
        if "images" in step.needs:
            inputs["images"], request["images"] = calibration.digests, calibration.paths
        if "statistics" in step.needs and found.statistics:
            inputs["statistics"], request["statistics"] = found.statistics.key, str(found.statistics.path)
        if "seed" in step.needs:
            inputs["seed"] = request["seed"] = seed
        able = runner.with_torch if "heavy" in step.needs else runner
        entry = able.run(
            step.stage, calibration.name, inputs, "edgewright.quantize.quantize:run_step",
            step=msgspec.to_builtins(step), request=request, into="out",
        )  # fmt: skip
        if (entry.path / MODEL).is_file():
            found = FloatModel(entry, None)
        if (entry.path / STATISTICS).is_file():
            found = found._replace(statistics=entry)
    return found


def quantize(
    runner: StageRunner,
    model: Entry,
    variant: Variant,
    calibration: ImageSet,
    seed: int,
) -> Entry:
    """``model.onnx`` in INT8 and ``provenance.json``. `variant` names scheme and method."""
    assert variant.method is not None
    method = methods.get(variant.method)
    how: dict[str, Any] = {"scheme": variant.scheme, "method": variant.method}
    given: dict[str, Any] = {"seed": seed}
    if method.needs("labels"):
        given["labels"] = _classes(method.name, calibration, spec_of(model))
    source, statistics = float_model(runner, model, variant, calibration, seed)
    made_with = made_by("quantize", "graph")
    inputs = {"model": source.key, "images": calibration.digests, **how, **given, "made_by": made_with}
    request: dict[str, Any] = {"model": str(source.path / MODEL), "images": calibration.paths, **given}
    if statistics:
        inputs["statistics"], request["statistics"] = statistics.key, str(statistics.path)
    if method.needs("checkpoint"):
        request["checkpoint"] = str(runner.store.checkpoint("quantize", inputs))
    needs_torch = any("heavy" in step.needs for step in method.steps if not step.keeps)
    entry = (runner.with_torch if needs_torch else runner).run(
        "quantize", variant.name, inputs, "edgewright.quantize.quantize:quantize", **how, request=request, into="out",
    )  # fmt: skip
    if "checkpoint" in request:
        shutil.rmtree(request["checkpoint"], ignore_errors=True)
    return entry


def _classes(method: str, images: ImageSet, spec: ModelSpec) -> list[int]:
    """The model's class for each image. Raises `InvalidInput` if the images have no classes."""
    if not tasks.of(spec).truth.CLASSES:
        raise InvalidInput(
            f"The method '{method}' needs a class for each image, but '{spec.name}' is not a classifier.",
            f"Its task is {spec.task.kind}.", "Use the method `distil`, which needs only the float model.",
        )  # fmt: skip
    if any(item.label is None for item in images.items):
        raise InvalidInput(
            f"The method '{method}' needs a class for each image, but the images of '{images.name}' have none.",
            "They calibrate this run.", "Sort them into a folder per class, or use `distil`, which needs none.",
        )  # fmt: skip
    return [item.label for item in sets.match_labels(images, spec).items if item.label is not None]


def halve(runner: StageRunner, model: Entry, what: str, images: ImageSet) -> Entry:
    """``model.onnx`` in mixed FP16, ``simulated.onnx`` and ``half.json`` (see `quantize.fp16`).

    Checked on `HALF_IMAGES` of `images`, evenly spaced in the list, which is sorted by class.
    """
    some = msgspec.structs.replace(images, items=sets.spread(images.items, HALF_IMAGES))
    inputs = {"model": model.key, "images": some.digests, "made_by": made_by("quantize", "graph")}
    return runner.run(
        "half", what, inputs, "edgewright.quantize.fp16:convert", model=str(model.path / MODEL),
        images=some.paths, into="out",
    )  # fmt: skip
