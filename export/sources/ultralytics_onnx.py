"""What an ONNX file that Ultralytics exported says of itself: enough for a spec without a TOML."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.core.spec import Detect, Input, ModelSpec, Preprocess
from edgewright.graph import compare, cut, inputs
from edgewright.vision.detection import all_cells

if TYPE_CHECKING:
    import onnx

_TOLERANCE = 0.02  # pixels, and its thousandth part in score: rounding in float32 on an input of 640 pixels is below it


def spec_of(model: onnx.ModelProto, image: Input) -> dict[str, Any]:
    """The spec fields of a detector of Ultralytics that takes `image`; empty where `model` is none.

    The fields are in the metadata that the library writes (``author``, ``task``, ``names``, ``end2end``). RT-DETR's
    exported answer has a layout of its own and is not known here.
    """
    said = {entry.key: entry.value for entry in model.metadata_props}
    if said.get("author") != "Ultralytics" or said.get("task") != "detect" or said.get("head") == "RTDETRDecoder":
        return {}
    try:
        names = ast.literal_eval(said["names"])
        labels = tuple(str(names[k]) for k in sorted(names))
    except (KeyError, ValueError, SyntaxError, TypeError):
        return {}  # another program changed it: the user must describe the model
    shape = inputs.shape(model.graph.output[0]) if len(model.graph.output) == 1 else []
    if len(shape) != 3:
        return {}
    if said.get("end2end") == "True" and shape[2] == 6:
        detect: dict[str, Any] = {"decoder": "end2end"}
    elif shape[1] == 4 + len(labels):
        detect = {"decoder": "boxes", "multi_label_eval": True}
    else:
        return {}
    size = (image.height, image.width)
    return {
        "task": "detect",
        "preprocess": {"resize": "letterbox", "resize_to": size, "interpolation": "opencv", "exif": "apply"},
        "detect": detect,
        "classes": len(labels),
        "labels": () if labels == tuple(str(k) for k in range(len(labels))) else labels,
    }


def cut_decoding(model: onnx.ModelProto, spec: dict[str, Any], image: Input) -> tuple[dict[str, Any], tuple[str, ...]]:
    """`spec` for `model` after its decoding was cut off in place, both unchanged where that cannot be done; and a note.

    Kept only if the boxes and scores of every cell are the same as before, on random input.
    """
    before, after = type(model)(), type(model)()
    before.CopyFrom(model)
    after.CopyFrom(model)
    bins = cut.apply(after)
    cells = inputs.shape(after.graph.output[0])[2] if bins else None
    strides = next((s for s in _STRIDES if _cells(image, s) == cells), None)
    if strides is None:
        return spec, (_KEPT.format("no such graph is known"),)
    raw = {**spec["detect"], "decoder": "dfl", "bins": bins, "strides": strides, "scores": "sigmoid"}
    x = compare.random_input(before, batch=1)
    found = [
        all_cells(compare.run(which, x), _described(spec, detect, image))
        for which, detect in ((before, spec["detect"]), (after, raw))
    ]
    (boxes, scores), (new_boxes, new_scores) = found
    gap = max(np.abs(boxes - new_boxes).max(), 1e3 * np.abs(scores - new_scores).max())
    if not gap <= _TOLERANCE:
        return spec, (_KEPT.format("the boxes would not be the same"),)
    model.CopyFrom(after)
    return {**spec, "detect": raw}, ("The decoding of boxes was cut off the graph: the session does it.",)


_KEPT = "The decoding of boxes stays in the graph: {}."
_STRIDES = ((8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64), (16, 32), (8, 16), (4, 8, 16))


def _cells(image: Input, strides: tuple[int, ...]) -> int:
    return sum((image.height // s) * (image.width // s) for s in strides)


def _described(spec: dict[str, Any], detect: dict[str, Any], image: Input) -> ModelSpec:
    p = spec["preprocess"]
    return ModelSpec(
        name="", task="detect", input=image, classes=spec["classes"], detect=Detect(**detect),
        preprocess=Preprocess(resize="letterbox", resize_to=p["resize_to"]),
    )  # fmt: skip
