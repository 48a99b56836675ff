"""The heads of Ultralytics' models that edgewright exports, as data: task, outputs, and fields of the description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Branch(NamedTuple):
    """A branch of a head beside those of boxes and classes.

    `name`: its key in ``head.one2many``. `layers`: the attribute of its layers, one for each feature map. `output`: its
    name in the exported graph, (N, values, cells) before any activation.
    """

    name: str
    layers: str
    output: str


class Kind(NamedTuple):
    """A class of heads.

    `task`: edgewright's task. `model`: the class in ``ultralytics.nn.tasks`` that has this head. `branches`: each is an
    output of its own. `fields`: a function of the head that returns further fields of the task's table.
    """

    task: str
    model: str
    branches: tuple[Branch, ...] = ()
    fields: Callable[[Any], dict[str, Any]] = lambda head: {}


_ANGLE = (Branch("angle_head", "cv4", "angles"),)
HEADS: dict[str, Kind] = {
    "Detect": Kind("detect", "DetectionModel"),
    "v10Detect": Kind("detect", "DetectionModel"),
    "RTDETRDecoder": Kind("detect", "RTDETRDetectionModel"),
    "OBB": Kind("obb", "OBBModel", _ANGLE, lambda head: {"angles": "quarter", "score_eval": 0.01}),
    "OBB26": Kind("obb", "OBBModel", _ANGLE, lambda head: {"angles": "radians", "score_eval": 0.01}),
}
"""By the name of the class. YOLO11's head of rotated boxes applies a sigmoid to the angle, and YOLO26's does not. Both
are evaluated from a score of 0.01 on."""


def kind_of(model: Any) -> Kind:
    """Return the kind of a model's head, which is one of `HEADS`."""
    return HEADS[type(model.model[-1]).__name__]
