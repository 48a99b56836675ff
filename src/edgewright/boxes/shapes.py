"""The shapes of the outputs of a head for each layout, and the error that names a layout that fits."""

from __future__ import annotations

import math
from typing import get_args

import msgspec
import numpy as np

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import ModelSpec

from . import anchors as anchor_boxes
from .spec import Decoder, Head

Shape = tuple["int | None", ...]
"""The shape of one image's output; None: any length."""


JOINED = frozenset({"boxes", "dfl", "yolov5", "yolox", "set", "end2end", "blazeface"})
"""The layouts whose first output has rows. Extra values can be part of the rows."""


def _forms(d: Head, spec: ModelSpec) -> list[list[Shape]]:
    """Return the lists of output shapes that `d` can have for one image: without extra values one list, else with the
    extra values in outputs of their own, or in the rows."""
    own = _shapes(d, spec)
    if not d.extra:
        return [own]
    cells = [(n, d.extra) for n in _cells(d, spec)]
    forms = [[*own, (d.extra, None)], [*own, (None, d.extra)], [*own, *cells]]
    return [_shapes(d, spec, d.extra), *forms] if d.decoder in JOINED else forms


def _cells(d: Head, spec: ModelSpec) -> list[int]:
    return [math.ceil(spec.input.height / s) * math.ceil(spec.input.width / s) for s in d.strides]


def _shapes(d: Head, spec: ModelSpec, extra: int = 0) -> list[Shape]:
    """Return the output shapes that `d.decoder` reads, for one image, in order. `extra`: more values in a row."""
    c, cells = spec.classes, _cells(d, spec)
    boxes, sides = 4 + c + extra, 4 * d.bins + c + extra
    single: dict[str, Shape] = {
        "boxes": (None, boxes) if d.transposed else (boxes, None),
        "dfl": (sum(cells), sides) if d.transposed else (sides, sum(cells)),
        "yolov5": (None, 5 + c + extra),
        "yolox": (sum(cells), 5 + c + extra),
        "fastestdet": (5 + c, None, None),
        "set": (None, 4 + c + extra),
        "end2end": (None, 6 + extra),
    }
    if d.decoder == "anchors":
        n = anchor_boxes.count(d.anchors)
        return [(n, c), (n, 4)]
    if d.decoder == "blazeface":
        n = sum(count * size for count, size in zip(d.per_cell, cells))
        return [(n, 4 + extra if d.extra else None), (n, c)]
    if d.decoder == "nanodet":
        return [(n, width) for width in (c, 4 * d.bins) for n in cells]
    if d.decoder == "yunet":
        widths = (c, 1, 4) if d.extra else (c, 1, 4, 10)
        return [(n, width) for width in widths for n in cells]
    if d.decoder == "ultraface":
        return [(None, c), (None, 4)]
    if d.decoder == "yolo-fastestv2":
        return [(level.rows, level.columns, 5 * len(level.sizes) + c) for level in d.anchors]
    return [single[d.decoder]]


def checked(outputs: list[np.ndarray], spec: ModelSpec, d: Head, images: int) -> list[np.ndarray]:
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
    given = [np.asarray(output, np.float32) for output in outputs]
    arrays = next((found for form in _forms(d, spec) if (found := _as(form, given, d, images)) is not None), None)
    if arrays is None:
        raise _misfit([np.asarray(output) for output in outputs], spec, d, images)
    if d.decoder not in ("boxes", "dfl", "nanodet"):  # there scores are checked when read, and what boxes are made of
        for array in arrays:
            require_finite(array)
    return arrays


def extra_values(arrays: list[np.ndarray], spec: ModelSpec, d: Head, cells: np.ndarray) -> np.ndarray:
    """Return the extra values (K, extra) of `cells`, from one image's outputs that `checked` returned.

    Raises `RuntimeFailed` if one is not finite.
    """
    own = arrays[len(_shapes(d, spec)) :]
    if not d.extra:
        return np.zeros((len(cells), 0), np.float32)
    if not own:
        rows = arrays[0] if d.decoder not in ("boxes", "dfl") or d.transposed else arrays[0].T
        values = rows[cells, -d.extra :]
    elif len(own) == 1:
        values = own[0].T[cells] if own[0].shape[0] == d.extra else own[0][cells]
    else:
        values = np.concatenate(own)[cells]
    require_finite(values)
    return values


def _as(expected: list[Shape], arrays: list[np.ndarray], d: Head, images: int) -> list[np.ndarray] | None:
    """Return `arrays` with N first if their shapes are `expected`, else None."""
    if d.decoder == "yunet" and not d.extra and len(arrays) == 3 * len(d.strides):  # the landmarks were left out
        expected = expected[: len(arrays)]
    if images == 1 and len(arrays) == len(expected):  # some exporters drop the axis of a batch of one
        arrays = [a[None] if a.ndim == len(shape) else a for a, shape in zip(arrays, expected)]
    paired = d.decoder != "ultraface" or len({array.shape[1:2] for array in arrays[:2]}) == 1
    return arrays if _fit(arrays, expected, images) and paired else None


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


def _misfit(arrays: list[np.ndarray], spec: ModelSpec, d: Head, images: int) -> InvalidInput:
    def text(shape: Shape) -> str:
        return f"({', '.join([str(images), *('any' if n is None else str(n) for n in shape)])})"

    others = []
    for name in get_args(Decoder):
        for transposed in (False, True) if name in ("boxes", "dfl") else (False,):
            other = msgspec.structs.replace(d, decoder=name, transposed=transposed)
            if any(_fit(arrays, form, images) for form in _forms(other, spec)):
                others.append(f'decoder = "{name}"{", transposed = true" if transposed else ""}')
    reads = " or ".join(", ".join(map(text, form)) for form in _forms(d, spec))
    fits = f"These shapes fit {' or '.join(others)}." if others else "See the list of decoders for the one that fits."
    return InvalidInput(
        f"The model's outputs have the shapes {', '.join(str(a.shape) for a in arrays) or '(none)'}.",
        f'The decoder "{d.decoder}" reads {reads} for {images} images of '
        f"{spec.classes} classes at {spec.input.height}x{spec.input.width}.",
        f"Correct decoder (or classes, bins, strides, outputs) in the model's spec. {fits}",
    )
