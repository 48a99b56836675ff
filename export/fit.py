"""Does a description fit what a model answers? What cannot be read on a device is refused before it is built."""

from __future__ import annotations

import numpy as np

from edgewright.core.errors import EdgewrightError, InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.tasks.detect.decode import read
from edgewright.tasks.detect.spec import Detect


def require(outputs: list[np.ndarray], spec: ModelSpec, origin: str, images: int) -> None:
    """Raise `InvalidInput` where the `outputs` of one run of `origin` over `images` cannot be read as `spec` says.

    Of a classifier the scores must be (N, classes); of a detector its decoder must take them, and where it says that
    class scores are probabilities (or logits) they must look so.
    """
    if spec.task.kind == "classify":
        if outputs[0].size != images * spec.classes:
            raise InvalidInput(
                f"{origin} answers with {_shape(outputs[0])} where the description says {spec.classes} classes.",
                "A classifier gives one score a class.",
                "Correct `classes` or `labels`, or name the scores: outputs = [...]",
            )
        return
    size = (spec.input.width, spec.input.height)
    try:
        read(outputs, spec, [size] * images)
    except EdgewrightError as error:
        shapes = ", ".join(map(_shape, outputs))
        raise InvalidInput(
            f"The description does not fit the outputs of {origin} ({shapes}): {error.what}", error.why, error.fix
        ) from error
    _require_scores(outputs, spec, origin)


def _require_scores(outputs: list[np.ndarray], spec: ModelSpec, origin: str) -> None:
    d = spec.detect
    if d is None or d.scores == "softmax":
        return
    raw = _class_outputs(outputs, d)
    low, high = (float(end([end(array) for array in raw])) for end in (np.min, np.max))
    inside = low >= -1e-4 and high <= 1 + 1e-3
    if inside == (d.scores == "none"):
        return
    are, would = ("probabilities", "none") if inside else ("logits", "sigmoid")
    raise InvalidInput(
        f'{origin} gives class outputs from {low:.3g} to {high:.3g}; the description says scores = "{d.scores}".',
        f"Such numbers are {are}.",
        f'Write [detect] scores = "{would}".',
    )


def _class_outputs(outputs: list[np.ndarray], d: Detect) -> list[np.ndarray]:
    """What of the outputs of each decoder are scores, before any function."""
    first = np.asarray(outputs[0], np.float32)
    if first.ndim == (3 if d.decoder == "fastestdet" else 2):
        first = first[None]  # some exporters drop the axis of a batch of one
    if d.decoder in ("boxes", "dfl"):
        width = 4 if d.decoder == "boxes" else 4 * d.bins
        return [first[..., width:] if d.transposed else first[:, width:]]
    if d.decoder == "fastestdet":
        return [first[:, :1], first[:, 5:]]
    if d.decoder == "yolo-fastestv2":
        return [array[..., 4 * len(level.sizes) :] for array, level in zip(outputs, d.anchors)]
    if d.decoder in ("yolov5", "yolox", "set"):
        return [first[..., 4:]]
    if d.decoder == "end2end":
        return [first[..., 4:5]]
    several = {"nanodet": len(d.strides), "yunet": 2 * len(d.strides)}
    return outputs[: several.get(d.decoder, 1)]


def _shape(array: np.ndarray) -> str:
    return f"[{', '.join(map(str, ('N', *array.shape[1:])))}]"
