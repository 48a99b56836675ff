"""Check a detector's outputs against its description, so that shapes that a device cannot read are refused early."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgewright.core.errors import EdgewrightError, InvalidInput
from edgewright.core.spec import ModelSpec

from . import spec as section
from .decode import read
from .spec import Detect


def require(outputs: list[np.ndarray], spec: ModelSpec, origin: str, images: int, real: bool = True) -> None:
    """Raise `InvalidInput` if the outputs of one run of `origin` over `images` cannot be read by `spec`.

    The decoder must accept the shapes. For `real` images, the values must look like probabilities or logits, as
    described.
    """
    size = (spec.input.width, spec.input.height)
    try:
        read(outputs, spec, [size] * images)
    except EdgewrightError as error:
        shapes = ", ".join(map(_shape, outputs))
        raise InvalidInput(
            f"The description does not fit the outputs of {origin} ({shapes}): {error.what}", error.why, error.fix
        ) from error
    if real:
        _require_scores(outputs, spec, origin)


def settle(
    answers: np.ndarray, spec: ModelSpec, function: str, said: Mapping[str, Any], certain: bool
) -> tuple[ModelSpec, tuple[str, ...]]:
    """Return `spec` unchanged, because `require` checked the scores."""
    return spec, ()


def _require_scores(outputs: list[np.ndarray], spec: ModelSpec, origin: str) -> None:
    d = section.of(spec)
    if d.scores == "softmax":
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
    """The outputs of each decoder that are scores, before any function."""
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
