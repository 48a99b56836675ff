"""The heads of Ultralytics' models that edgewright exports, as data: task, outputs, and fields of the description."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Branch(NamedTuple):
    """A branch of a head beside those of boxes and classes.

    `names`: the keys of its parts in ``head.one2many``, one after the other. `layers`: the attribute of the last one's
    layers, one for each feature map. `output`: its name in the exported graph, (N, values, cells) before any
    activation.
    """

    names: tuple[str, ...]
    layers: str
    output: str


class Dense(NamedTuple):
    """A head that gives a map instead of boxes.

    `layers`: its last layers, whose output is the map. `finish`: a function of the head and this map that returns the
    output of the export. `output`: its name. `fields`: the fields of the description, other than those of the input.
    `classes`: the map has a channel for each class; one channel is the foreground.
    """

    layers: Callable[[Any], Any]
    finish: Callable[[Any, Any], Any]
    output: str
    fields: dict[str, Any]
    classes: bool = False


class Shared(NamedTuple):
    """A part of a head that has one result for an image.

    `layers`: its attribute. `output`: the name of its output. `inputs`: its input as a function of the feature maps.
    """

    layers: str
    output: str
    inputs: Callable[[Any], Any]


class Kind(NamedTuple):
    """A class of heads.

    `task`: edgewright's task. `model`: the class in ``ultralytics.nn.tasks`` that has this head. `branches`: each is an
    output of its own. `fields`: a function of the head that returns further fields of the task's table. `dense`: for a
    head without boxes. `shared`: a part of the head whose result is one more output.
    """

    task: str
    model: str
    branches: tuple[Branch, ...] = ()
    fields: Callable[[Any], dict[str, Any]] = lambda head: {}
    dense: Dense | None = None
    shared: Shared | None = None


# The logarithm of the depth, with the calibration in the head. The device computes the rest.
_DEPTH = Dense(
    lambda head: head.head,
    lambda head, logs: logs.clamp(-4.0, 5.0) * head.cal_a + head.cal_b,
    "log_depth",
    {
        "depth": {"values": "log", "unit": "m", "interpolation": "corners", "align": "median", "max_depth": 100.0},
        "preprocess": {"resize": "exact"},
    },
)
# The logits of the classes, as the head computes them. The device scales them to the photo.
_SEMANTIC = Dense(lambda head: head.classifier, lambda head, logits: logits, "logits", {}, classes=True)
_ANGLE = (Branch(("angle_head",), "cv4", "angles"),)
_MASKS = (Branch(("mask_head",), "cv4", "coefficients"),)
_POINTS = (Branch(("pose_head",), "cv4", "keypoints"),)
_POINTS_26 = (Branch(("pose_head", "kpts_head"), "cv4_kpts", "keypoints"),)


def _pose(coding: tuple[float, float]) -> Callable[[Any], dict[str, Any]]:
    """Return the fields of a pose head whose points are coded by `coding`."""

    def fields(head: Any) -> dict[str, Any]:
        points, values = (int(number) for number in head.kpt_shape)
        scored = values == 3
        return {
            "points": points, "values": "xys" if scored else "xy", "point_coding": coding,
            "point_scores": "sigmoid" if scored else "none",
        }  # fmt: skip

    return fields


def _masks(head: Any) -> dict[str, Any]:
    return {"coefficients": int(head.nm), "mask_stride": int(min(head.stride)) // 2}


HEADS: dict[str, Kind] = {
    "Detect": Kind("detect", "DetectionModel"),
    "v10Detect": Kind("detect", "DetectionModel"),
    "RTDETRDecoder": Kind("detect", "RTDETRDetectionModel"),
    "Segment": Kind(
        "instances", "SegmentationModel", _MASKS, _masks, shared=Shared("proto", "prototypes", lambda maps: maps[0])
    ),
    "Segment26": Kind(
        "instances", "SegmentationModel", _MASKS, _masks, shared=Shared("proto", "prototypes", lambda maps: maps)
    ),
    "OBB": Kind("obb", "OBBModel", _ANGLE, lambda head: {"angles": "quarter", "score_eval": 0.01}),
    "OBB26": Kind("obb", "OBBModel", _ANGLE, lambda head: {"angles": "radians", "score_eval": 0.01}),
    "SemanticSegment": Kind("segment", "SemanticSegmentationModel", dense=_SEMANTIC),
    "Depth": Kind("depth", "DepthModel", dense=_DEPTH),
    "Pose": Kind("pose", "PoseModel", _POINTS, _pose((2.0, 0.0))),
    "Pose26": Kind("pose", "PoseModel", _POINTS_26, _pose((1.0, 0.5))),
}
"""By the name of the class. YOLO11's head of rotated boxes applies a sigmoid to the angle, and YOLO26's does not. Both
are evaluated from a score of 0.01 on."""


def kind_of(model: Any) -> Kind:
    """Return the kind of a model's head, which is one of `HEADS`."""
    return HEADS[type(model.model[-1]).__name__]


def named_classes(count: int, labels: Sequence[str], scores: str = "softmax") -> dict[str, Any]:
    """Return the fields of a segmentation model with `count` maps. One map is the foreground, and has a background.

    `scores`: of several maps. Labels that only count ("0", "1" ...) are left out, as a model from a YAML has them.
    """
    named = list(labels) if list(labels) != [str(k) for k in range(len(labels))] else []
    if count == 1:
        rule = "sigmoid" if scores == "softmax" else scores
        return {"segment": {"scores": rule}, "classes": 2, "labels": ("background", *named) if named else ()}
    return {"segment": {"scores": scores}, "classes": count, "labels": tuple(named)}
