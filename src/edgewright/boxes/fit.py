"""Check the outputs of a head against its description: whether class outputs are probabilities or logits."""

from __future__ import annotations

import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec

from . import spec as section
from .spec import Head


def require_scores(outputs: list[np.ndarray], spec: ModelSpec, origin: str) -> None:
    """Raise `InvalidInput` if the class outputs of `origin` are logits and the description names probabilities, or the
    reverse."""
    d = section.of(spec)
    if d.scores == "softmax":
        return
    raw = _class_outputs(outputs, d, spec.classes)
    low, high = (float(end([end(array) for array in raw])) for end in (np.min, np.max))
    inside = low >= -1e-4 and high <= 1 + 1e-3
    if inside == (d.scores == "none"):
        return
    are, would = ("probabilities", "none") if inside else ("logits", "sigmoid")
    raise InvalidInput(
        f'{origin} gives class outputs from {low:.3g} to {high:.3g}; the description says scores = "{d.scores}".',
        f"Such numbers are {are}.",
        f'Write [{spec.task.kind}] scores = "{would}".',
    )


def _class_outputs(outputs: list[np.ndarray], d: Head, classes: int) -> list[np.ndarray]:
    """The outputs of each decoder that are scores, before any function."""
    first = np.asarray(outputs[0], np.float32)
    if first.ndim == (3 if d.decoder == "fastestdet" else 2):
        first = first[None]  # some exporters drop the axis of a batch of one
    if d.decoder in ("boxes", "dfl"):
        width = 4 if d.decoder == "boxes" else 4 * d.bins
        return [first[..., width : width + classes] if d.transposed else first[:, width : width + classes]]
    if d.decoder == "fastestdet":
        return [first[:, :1], first[:, 5:]]
    if d.decoder == "yolo-fastestv2":
        return [array[..., 4 * len(level.sizes) :] for array, level in zip(outputs, d.anchors)]
    if d.decoder in ("yolov5", "yolox", "set"):
        return [first[..., 4 : 4 + classes + (d.decoder != "set")]]
    if d.decoder == "end2end":
        return [first[..., 4:5]]
    if d.decoder == "blazeface":
        return outputs[1:2]
    several = {"nanodet": len(d.strides), "yunet": 2 * len(d.strides)}
    return outputs[: several.get(d.decoder, 1)]
