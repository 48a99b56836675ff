"""The shapes of a detector's outputs for each layout, and the error that names a layout that fits."""

from __future__ import annotations

import math
from typing import get_args

import msgspec
import numpy as np

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import ModelSpec

from . import anchors as anchor_boxes
from .spec import Decoder, Detect

Shape = tuple["int | None", ...]
"""The shape of one image's output; None: any length."""


def _shapes(d: Detect, spec: ModelSpec) -> list[Shape]:
    """Return the output shapes that `d.decoder` reads, for one image, in order."""
    c, i = spec.classes, spec.input
    cells = [math.ceil(i.height / s) * math.ceil(i.width / s) for s in d.strides]
    single: dict[str, Shape] = {
        "boxes": (None, 4 + c) if d.transposed else (4 + c, None),
        "dfl": (sum(cells), 4 * d.bins + c) if d.transposed else (4 * d.bins + c, sum(cells)),
        "yolov5": (None, 5 + c),
        "yolox": (sum(cells), 5 + c),
        "fastestdet": (5 + c, None, None),
        "set": (None, 4 + c),
        "end2end": (None, 6),
    }
    if d.decoder == "anchors":
        n = anchor_boxes.count(d.anchors)
        return [(n, c), (n, 4)]
    if d.decoder == "nanodet":
        return [(n, width) for width in (c, 4 * d.bins) for n in cells]
    if d.decoder == "yunet":
        return [(n, width) for width in (c, 1, 4, 10) for n in cells]
    if d.decoder == "ultraface":
        return [(None, c), (None, 4)]
    if d.decoder == "yolo-fastestv2":
        return [(level.rows, level.columns, 5 * len(level.sizes) + c) for level in d.anchors]
    return [single[d.decoder]]


def checked(outputs: list[np.ndarray], spec: ModelSpec, d: Detect, images: int) -> list[np.ndarray]:
    """Return the outputs of a run over `images` as float32 with N first.

    Raises `InvalidInput` if the decoder of `d` needs other shapes, and `RuntimeFailed` if a value is not finite. For
    "boxes", "dfl" and "nanodet", `layouts` checks the values that it reads.
    """
    if d.scores == "softmax" and (d.decoder != "anchors" or spec.classes < 2):
        raise InvalidInput(
            f'The decoder "{d.decoder}" is described with scores = "softmax" and {spec.classes} classes.',
            'Softmax needs a class for the background, which only the outputs of "anchors" have.',
            'Correct scores in the model\'s spec: "sigmoid" or "none".',
        )
    expected = _shapes(d, spec)
    arrays = [np.asarray(output, np.float32) for output in outputs]
    if d.decoder == "yunet" and len(arrays) == 3 * len(d.strides):  # the landmarks were left out
        expected = expected[: len(arrays)]
    if images == 1 and len(arrays) == len(expected):  # some exporters drop the axis of a batch of one
        arrays = [a[None] if a.ndim == len(shape) else a for a, shape in zip(arrays, expected)]
    paired = d.decoder != "ultraface" or len({array.shape[1:2] for array in arrays}) == 1
    if not _fit(arrays, expected, images) or not paired:
        raise _misfit([np.asarray(output) for output in outputs], spec, d, images)
    if d.decoder not in ("boxes", "dfl", "nanodet"):  # there scores are checked when read, and what boxes are made of
        for array in arrays:
            require_finite(array)
    return arrays


def require_finite(array: np.ndarray) -> None:
    """Raise `RuntimeFailed` if a value of `array` is NaN or infinite."""
    flat = array.reshape(-1)
    with np.errstate(all="ignore"):
        finite = math.isfinite(np.dot(flat, flat))  # one pass; the exact test only where this one overflows
    if not finite and not np.isfinite(flat).all():
        raise RuntimeFailed(
            "The model's output holds NaN or infinite values.",
            "edgewright can read no box from it. Usually, weights overflow in a low precision.",
            "Build the artifact with a higher precision, or check the checkpoint.",
        )


def _fit(arrays: list[np.ndarray], expected: list[Shape], images: int) -> bool:
    return len(arrays) == len(expected) and all(
        a.ndim == len(shape) + 1
        and len(a) == images
        and all(want is None or have == want for have, want in zip(a.shape[1:], shape))
        for a, shape in zip(arrays, expected)
    )


def _misfit(arrays: list[np.ndarray], spec: ModelSpec, d: Detect, images: int) -> InvalidInput:
    def text(shape: Shape) -> str:
        return f"({', '.join([str(images), *('any' if n is None else str(n) for n in shape)])})"

    others = []
    for name in get_args(Decoder):
        for transposed in (False, True) if name in ("boxes", "dfl") else (False,):
            other = msgspec.structs.replace(d, decoder=name, transposed=transposed)
            if _fit(arrays, _shapes(other, spec), images):
                others.append(f'decoder = "{name}"{", transposed = true" if transposed else ""}')
    fits = f"These shapes fit {' or '.join(others)}." if others else "See the list of decoders for the one that fits."
    return InvalidInput(
        f"The model's outputs have the shapes {', '.join(str(a.shape) for a in arrays) or '(none)'}.",
        f'The decoder "{d.decoder}" reads {", ".join(map(text, _shapes(d, spec)))} for {images} images of '
        f"{spec.classes} classes at {spec.input.height}x{spec.input.width}.",
        f"Correct decoder (or classes, bins, strides, outputs) in the model's spec. {fits}",
    )
