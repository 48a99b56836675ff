"""Data-aware weight rounding: the weights that are not yet rounded compensate for the error of each rounded weight.

GPTQ (Frantar et al. 2022, "Accurate Post-Training Quantization for Generative Pre-trained Transformers", algorithm 1,
with columns by falling activation energy), for convolutions with any groups through their windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

POSITIONS = 256
"""Output positions per image, evenly spread."""

DAMPING = 0.01
FAR = 3.0
"""If the mean of the inputs is more than this many standard deviations from zero, it is subtracted (see
`second_moment`)."""
BLOCK = 128
"""Weights per block: their errors are passed to later blocks in one matrix product."""


def round_weights(weights: np.ndarray, scale: np.ndarray, second_moment: np.ndarray, low: int, high: int) -> np.ndarray:
    """Integers q for which ``scale * q`` acts like `weights` on inputs with this second moment.

    `weights` (groups, outputs, inputs), `scale` (groups, outputs, 1), `second_moment` (groups, inputs, inputs), the
    mean of x x^T over positions. Returns integers in [low, high], as float64 in the shape of `weights`. Zeros stay
    zero, for sparse kernels (as in SparseGPT, Frantar and Alistarh 2023).
    """
    rounded = np.empty(weights.shape)
    for group, unordered in enumerate(second_moment.astype(np.float64)):
        order = np.argsort(-np.diagonal(unordered), kind="stable")
        moment = unordered[np.ix_(order, order)]
        moment[np.diag_indices_from(moment)] += DAMPING * np.diagonal(moment).mean() + 1e-9
        rows = np.ascontiguousarray(weights[group].T[order], np.float64)
        rounded[group][:, order] = _in_order(rows, scale[group, :, 0], _upper_factor(moment), low, high).T
    return rounded


def _in_order(rest: np.ndarray, scale: np.ndarray, upper: np.ndarray, low: int, high: int) -> np.ndarray:
    """Round the rows of `rest` (inputs, outputs), which changes, from first to last.

    Errors reach the rows after a block of `BLOCK` once per block: the same sums, in one matrix product.
    """
    rounded, kept = np.empty_like(rest), rest != 0
    for start in range(0, len(rest), BLOCK):
        stop = min(start + BLOCK, len(rest))
        errors = np.empty((stop - start, rest.shape[1]))
        for i in range(start, stop):
            rounded[i] = np.clip(np.rint(rest[i] / scale), low, high) * kept[i]
            errors[i - start] = (rest[i] - rounded[i] * scale) / upper[i, i]
            rest[i + 1 : stop] -= np.outer(upper[i, i + 1 : stop], errors[i - start])
        rest[stop:] -= upper[start:stop, stop:].T @ errors
    return rounded


def _upper_factor(moment: np.ndarray) -> np.ndarray:
    """The upper triangular U with U^T U = moment^-1: a Cholesky factor of the reversed moment, inverted, reversed."""
    from scipy.linalg.lapack import dtrtri

    lower = np.linalg.cholesky(moment[::-1, ::-1])
    inverse, failed = dtrtri(lower, lower=1)
    assert not failed
    return np.asarray(inverse[::-1, ::-1])


def second_moment(node: onnx.NodeProto, kernel: tuple[int, ...], arrays: list[np.ndarray]) -> np.ndarray | None:
    """The mean of x x^T over the windows of the inputs `arrays` of the layer `node`: (groups, inputs, inputs).

    If the inputs are far from zero (see `centering`), the mean of x is subtracted first. The bias absorbs the rounding
    error of a constant later; otherwise rounding would minimize nothing else. Returns None for a layer whose windows
    are not computed here: ConvTranspose, automatic padding, or not two spatial dimensions.
    """
    options: dict[str, Any] = {a.name: list(a.ints) or a.i or a.s for a in node.attribute}
    if node.op_type == "Conv" and len(kernel) == 2 and options.get("auto_pad", b"NOTSET") == b"NOTSET":
        groups = options.get("group") or 1
        # (positions, channels, window) of all images: one matrix product
        columns = _near_zero(np.concatenate([_windows(array, kernel, options) for array in arrays]))
        split = columns.reshape(len(columns), groups, -1).transpose(1, 2, 0)
        return np.asarray(split @ split.transpose(0, 2, 1) / np.float32(len(columns)))
    if node.op_type == "Gemm" and not options.get("transA"):
        rows = _near_zero(np.concatenate([array.reshape(-1, array.shape[-1]) for array in arrays]))
        return np.asarray((rows.T @ rows / len(rows))[None])
    return None


def _near_zero(rows: np.ndarray) -> np.ndarray:
    """`rows` (positions, ...) minus their mean, if it is much larger than their deviation."""
    mean = rows.mean(axis=0, dtype=np.float64)
    spread = np.square(rows - mean).mean()
    return rows - mean.astype(np.float32) if np.square(mean).mean() > FAR**2 * spread else rows


def _windows(array: np.ndarray, kernel: tuple[int, ...], options: dict[str, Any]) -> np.ndarray:
    top, left, bottom, right = options.get("pads") or (0, 0, 0, 0)
    down, across = options.get("strides") or (1, 1)
    dilation = options.get("dilations") or (1, 1)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    padded = np.pad(array, ((0, 0), (0, 0), (top, bottom), (left, right)))
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    view = view[:, :, ::down, ::across, :: dilation[0], :: dilation[1]]
    height, width = view.shape[2:4]
    positions = np.linspace(0, height * width - 1, min(POSITIONS, height * width)).astype(np.int64)
    chosen = view[:, :, positions // width, positions % width]  # (images, channels, positions, kh, kw)
    return chosen.transpose(0, 2, 1, 3, 4).reshape(-1, array.shape[1], kernel[0] * kernel[1])
