"""The metadata of an ONNX file that Ultralytics exported: enough for a spec without a TOML.

The library writes ``author``, ``task``, ``head``, ``names``, ``imgsz``, ``channels``, ``end2end`` and the export's
``args``. Older versions lack some of them; then the shape of the output decides.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edgewright import tasks
from edgewright.boxes.decode import all_cells, all_extra
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess, Section
from edgewright.graph import batch, compare, cut

from .ultralytics_heads import named_classes

if TYPE_CHECKING:
    import onnx

TASKS = {
    "detect": "detect", "classify": "classify", "semantic": "segment", "segment": "instances", "pose": "pose",
    "depth": "depth", "obb": "obb",
}  # fmt: skip
"""Ultralytics' tasks whose exports are supported, and edgewright's names."""
_TOLERANCE = 0.02  # pixels, and a thousandth of it in score: float32 rounding on an input of 640 pixels is below it


def size_of(model: onnx.ModelProto) -> tuple[int, int] | None:
    """The (height, width) of Ultralytics' export of `model`, which a ``dynamic`` export leaves open; else None."""
    sides = _literal(_metadata(model), "imgsz")
    sides = [sides, sides] if isinstance(sides, int) else sides
    if not isinstance(sides, (list, tuple)) or len(sides) != 2 or not all(type(s) is int and s > 0 for s in sides):
        return None
    return sides[0], sides[1]


def gives_maps(model: onnx.ModelProto) -> bool:
    """Whether Ultralytics exported `model` for semantic segmentation, whose output is the class of each pixel."""
    said = _metadata(model)
    return said.get("author") == "Ultralytics" and said.get("task") == "semantic"


def read(model: onnx.ModelProto, image: Input) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The spec fields of a model of Ultralytics with the input `image`, and notes; both empty for another model.

    The decoding of a detector is removed in place if that changes none of its boxes. Raises as `spec_of` does.
    """
    spec = spec_of(model, image)
    if spec.get("task") not in ("detect", "instances"):
        return spec, ()
    spec, notes = cut_decoding(model, spec, image)
    if spec[spec["task"]]["decoder"] == "end2end" and _metadata(model).get("end2end") != "True":
        notes += (_SUPPRESSED,)
    return spec, notes


def spec_of(model: onnx.ModelProto, image: Input) -> dict[str, Any]:
    """The spec fields of a model of Ultralytics with the input `image`; empty for another model.

    Raises `InvalidInput` for an unsupported task, and `RuntimeFailed` if ONNX Runtime cannot run `model`.
    """
    said = _metadata(model)
    names = _literal(said, "names")
    if said.get("author") != "Ultralytics" or "task" not in said:
        return {}
    if said["task"] not in TASKS:
        raise InvalidInput(
            f"Ultralytics exported the model for the task '{said['task']}' (head {said.get('head', 'unknown')}).",
            f"edgewright reads the tasks {', '.join(TASKS)} from the metadata.",
            "Export a model of one of these tasks, or describe its outputs in a TOML: task, outputs, [TASK].",
        )
    if said["task"] == "depth":  # the graph computes meters at the size of the input
        depth = {"values": "depth", "unit": "m", "interpolation": "corners", "align": "median", "max_depth": 100.0}
        return {"task": "depth", "preprocess": _preprocess(said, image), "depth": depth}
    if not isinstance(names, dict) or not names:
        return {}  # another program changed the file: the user must describe the model
    labels = tuple(str(names[k]) for k in sorted(names))
    found = compare.run(model, np.zeros(image.shape(image.batch or 1), np.dtype(image.dtype)))
    known = {
        "task": TASKS[said["task"]],
        "preprocess": _preprocess(said, image),
        "classes": len(labels),
        "labels": () if labels == tuple(str(k) for k in range(len(labels))) else labels,
    }
    if said["task"] == "classify":
        return {**known, "postprocess": {"scores": "none"}} if found[0].size == len(found[0]) * len(labels) else {}
    if said["task"] == "semantic":
        # Newer exports choose the class in the graph; older ones and other formats give the logits.
        rule = "classes" if found[0].ndim == 3 else "softmax"
        return {**known, **named_classes(len(labels), labels, rule)}
    own: dict[str, Any] = {}
    extra = 0
    if said["task"] == "segment" and (own := dict(_masks(found, image))):
        extra = own["coefficients"]
    elif said["task"] == "pose" and (own := _points(said)):
        extra = own["points"] * len(own["values"])
    elif said["task"] == "obb":
        own, extra = {"angles": "radians", "score_eval": 0.01}, 1
    if not own and said["task"] != "detect":
        return {}
    shape = found[0].shape if len(found) == 1 + (said["task"] == "segment") else ()
    head = _head(said, shape, len(labels), extra)
    return {**known, TASKS[said["task"]]: {**head, **own}} if head else {}


def _masks(found: list[np.ndarray], image: Input) -> dict[str, int]:
    """The fields of `Instances` that the outputs give; empty if the second one is not prototypes."""
    if len(found) != 2 or found[1].ndim != 4:
        return {}
    return {"coefficients": found[1].shape[1], "mask_stride": image.height // found[1].shape[2]}


def _points(said: dict[str, str]) -> dict[str, Any]:
    """The fields of `Pose` that the metadata gives; empty if the number of points is unknown."""
    shape, names = _literal(said, "kpt_shape"), _literal(said, "kpt_names")
    if not (isinstance(shape, (list, tuple)) and len(shape) == 2 and all(type(n) is int for n in shape)):
        return {}
    if shape[0] < 1 or shape[1] not in (2, 3):
        return {}
    # One list of names for each class; points have one name if all classes agree.
    lists = {tuple(map(str, one)) for one in names.values()} if isinstance(names, dict) else set()
    one = next(iter(lists)) if len(lists) == 1 else ()
    return {
        "points": shape[0], "values": "xys" if shape[1] == 3 else "xy", "names": one if len(one) == shape[0] else ()
    }  # fmt: skip


def _preprocess(said: dict[str, str], image: Input) -> dict[str, Any]:
    """The preprocessing of the library's predictors: a letterbox, RT-DETR's stretching, or resize and crop."""
    size = (image.height, image.width)
    color = {"color": "L", "mean": (0.0,), "std": (1.0,)} if image.channels == 1 else {}
    if said["task"] == "classify":
        # For a square the shorter side is scaled, other sizes are exact (data.augment.classify_transforms).
        resize = "shorter" if image.height == image.width else "exact"
        return {"resize": resize, "resize_to": size, "crop": size, "interpolation": "bilinear", "exif": "apply"} | color
    resize = "exact" if _transformer(said) or said["task"] == "depth" else "letterbox"
    return {"resize": resize, "resize_to": size, "interpolation": "opencv", "exif": "apply"} | color


def _head(said: dict[str, str], shape: tuple[int, ...], classes: int, extra: int = 0) -> dict[str, Any]:
    """The fields of `Head` for an output of `shape`; empty if it is none of Ultralytics' layouts. `extra`: the further
    values of each box."""
    if len(shape) != 3:
        return {}
    if _transformer(said):  # all queries, or (from 8.4 on) the best of them; `cut_decoding` restores all of them
        fits = shape[2] in (4 + classes, 6)
        return {"decoder": "set", "multi_label": True, "iou": 1.0} if fits else {}
    if shape[1] == 4 + classes + extra and said.get("end2end") != "True" and not _suppresses(said):
        return {"decoder": "boxes", "multi_label_eval": True}
    return {"decoder": "end2end"} if shape[2] == 6 + extra else {}


def _transformer(said: dict[str, str]) -> bool:
    described = "rtdetr" in said.get("description", "").lower()
    return said["head"] == "RTDETRDecoder" if "head" in said else described


def _suppresses(said: dict[str, str]) -> bool:
    """Whether the model was exported with ``nms=True``."""
    arguments = _literal(said, "args")
    return bool(isinstance(arguments, dict) and arguments.get("nms"))


def cut_decoding(model: onnx.ModelProto, spec: dict[str, Any], image: Input) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Remove the decoding of `model` in place. Returns its `spec` then, and a note; both unchanged if that is
    impossible.

    The change is kept only if the boxes and scores of every cell are the same for random input. Raises `InvalidInput`
    if a set of queries cannot be read otherwise.
    """
    x = np.random.default_rng(0).random(image.shape(image.batch or 1), np.float32)
    task = spec["task"]
    head = spec[task]
    if head["decoder"] == "set":
        return spec, _cut_selection(model, spec, image, x)
    if head["decoder"] != "boxes":
        return spec, ()
    after = _fixed(model, image)
    found = cut.apply(after)
    raw = compare.run(after, x)
    strides = _strides(image, raw[0].shape[-1])
    if found is None or found.decoder != "dfl" or strides is None:
        return spec, (_KEPT.format("the graph has no known form"),)
    cut_off = {**head, "decoder": "dfl", "bins": found.bins, "strides": strides, "scores": "sigmoid"}
    before, now = (
        _cells(outputs, _described(spec, fields, image))
        for outputs, fields in ((compare.run(model, x), head), (raw, cut_off))
    )
    gaps = [np.abs(a - b).max(initial=0) for a, b in zip(before, now)]
    if not max(gaps[0], 1e3 * gaps[1], 1e2 * gaps[2]) <= _TOLERANCE:
        return spec, (_KEPT.format("the boxes would change"),)
    model.CopyFrom(after)
    return {**spec, task: cut_off}, ("The decoding of boxes was removed from the graph: the session does it.",)


def _cells(outputs: list[np.ndarray], spec: ModelSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The boxes, class scores and further values of every cell. The last output of masks has prototypes, not cells."""
    head = outputs[:-1] if spec.task.kind == "instances" else outputs
    return *all_cells(head, spec), all_extra(head, spec)


def _cut_selection(model: onnx.ModelProto, spec: dict[str, Any], image: Input, x: np.ndarray) -> tuple[str, ...]:
    """Make `model` (RT-DETR) output all queries instead of the best ones (N, boxes, 6). Returns notes."""
    best = compare.run(model, x)[0]
    if best.shape[2] != 6 or (best[..., 5] % 1).any():  # column 5 has class numbers, which are integers; scores are not
        return ()
    after = _fixed(model, image)
    found = cut.apply(after)
    if found is None or found.decoder != "set" or not _same_set(best, compare.run(after, x)[0]):
        raise InvalidInput(
            f"Ultralytics' export of an RT-DETR gives only the best boxes: {list(best.shape)}.",
            "Its graph has no known form, so the selection of boxes cannot be removed.",
            "Name the original model: ultralytics:FILE.pt --trust-checkpoint",
        )
    model.CopyFrom(after)
    return ("The selection of the best queries was removed from the graph: the session does it.",)


def _same_set(best: np.ndarray, queries: np.ndarray) -> bool:
    """Whether the rows `best` (N, K, 6) are the best pairs of query and class of `queries` (N, Q, 4 + classes)."""
    classes = queries.shape[2] - 4
    for rows, image in zip(best, queries):
        flat = image[:, 4:].ravel()
        order = np.argsort(-flat, kind="stable")[: len(rows)]
        pairs = np.column_stack([image[order // classes, :4], flat[order], order % classes])
        gaps = np.abs(rows[:, None] - pairs[None]).max(axis=2)  # rounding may swap neighbors
        if len(pairs) != len(rows) or gaps.min(axis=1).max() > 1e-3:
            return False
    return True


def _fixed(model: onnx.ModelProto, image: Input) -> onnx.ModelProto:
    """A copy of `model` for the one image size of `image`."""
    copy = type(model)()
    copy.CopyFrom(model)
    batch.apply(copy, image.batch, [image])
    return copy


_KEPT = "The decoding of boxes stays in the graph: {}."
_SUPPRESSED = (
    "The graph drops overlapping boxes and those with a low score (nms=True), so accuracy is measured "
    "without those with a low score."
)
_STRIDES = ((8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64), (16, 32), (8, 16), (4, 8, 16))


def _strides(image: Input, cells: int) -> tuple[int, ...] | None:
    """The strides whose grids over `image` have `cells` cells in total."""
    return next(
        (s for s in _STRIDES if sum((image.height // k) * (image.width // k) for k in s) == cells),
        None,
    )


def _described(spec: dict[str, Any], head: dict[str, Any], image: Input) -> ModelSpec:
    section = tasks.get(spec["task"]).section
    about = ModelSpec(name="", inputs=(image,), task=cast("Section", section(**head, classes=spec["classes"])))
    return about.with_input(preprocess=Preprocess(**spec["preprocess"]))


def _metadata(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def _literal(said: dict[str, str], key: str) -> Any:
    """The Python literal in the metadata under `key`; None if there is none."""
    try:
        return ast.literal_eval(said[key])
    except (KeyError, ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
