"""Weight rounding that looks at the data: each error of one weight is made good by the weights not yet rounded.

GPTQ (Frantar et al. 2022, "Accurate Post-Training Quantization for Generative Pre-trained Transformers", algorithm 1,
with columns in the order of falling activation energy), for convolutions of any grouping by way of their windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

POSITIONS = 256
"""Output positions taken of each image, evenly spread."""

DAMPING = 0.01
BLOCK = 64
"""Weights whose errors are handed on together to those behind the block: a matrix product instead of a pass each."""


def round_weights(weights: np.ndarray, scale: np.ndarray, second_moment: np.ndarray, low: int, high: int) -> np.ndarray:
    """Integers q that make ``scale * q`` act like `weights` on inputs with this second moment.

    `weights` (groups, outputs, inputs), `scale` (groups, outputs, 1), `second_moment` (groups, inputs, inputs): the
    mean of x x^T over positions. Returns integers in [low, high], as float64 and in the shape of `weights`.
    """
    groups, _, size = weights.shape
    diagonal = np.einsum("gii->gi", second_moment)
    order = np.argsort(-diagonal, axis=1, kind="stable")
    row = np.arange(groups)[:, None]
    moment = second_moment.astype(np.float64)[row[:, :, None], order[:, :, None], order[:, None, :]]
    moment[:, np.arange(size), np.arange(size)] += (DAMPING * diagonal.mean(axis=1) + 1e-9)[:, None]
    upper = _inverse_factor(moment)
    rest = np.ascontiguousarray(weights.astype(np.float64).transpose(0, 2, 1)[row, order])  # (groups, inputs, outputs)
    rounded, step = np.empty_like(rest), scale[:, :, 0]
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        errors = np.empty((groups, stop - start, rest.shape[2]))
        for i in range(start, stop):
            rounded[:, i] = np.clip(np.rint(rest[:, i] / step), low, high)
            errors[:, i - start] = (rest[:, i] - rounded[:, i] * step) / upper[:, i, i, None]
            rest[:, i + 1 : stop] -= upper[:, i, i + 1 : stop, None] * errors[:, None, i - start]
        rest[:, stop:] -= upper[:, start:stop, stop:].transpose(0, 2, 1) @ errors
    back = np.argsort(order, axis=1)
    return np.ascontiguousarray(rounded[row, back].transpose(0, 2, 1))


def _inverse_factor(moment: np.ndarray) -> np.ndarray:
    """The upper triangular U with ``inverse(moment) = U^T U``, for each group.

    With the axes reversed, moment = L L^T gives moment = A A^T for an upper triangular A, and U is the inverse of A:
    two triangular steps instead of an inverse and another factorization.
    """
    from scipy.linalg import lapack

    lower = np.linalg.cholesky(moment[:, ::-1, ::-1])
    return np.stack([lapack.dtrtri(one)[0] for one in lower[:, ::-1, ::-1]])


def second_moment(node: onnx.NodeProto, kernel: tuple[int, ...], arrays: list[np.ndarray]) -> np.ndarray | None:
    """The mean of x x^T over the windows that the layer `node` sees in its inputs `arrays`: (groups, inputs, inputs).

    None for a layer whose windows are not computed here: ConvTranspose, automatic padding, other than two dimensions.
    """
    options: dict[str, Any] = {a.name: list(a.ints) or a.i or a.s for a in node.attribute}
    if node.op_type == "Conv" and len(kernel) == 2 and options.get("auto_pad", b"NOTSET") == b"NOTSET":
        groups = options.get("group") or 1
        total: Any = 0.0
        for array in arrays:
            columns = _windows(array, kernel, options)  # (positions, channels, window)
            split = columns.reshape(len(columns), groups, -1).transpose(1, 2, 0).astype(np.float64)
            total = total + split @ split.transpose(0, 2, 1) / len(columns)
        return np.asarray(total / len(arrays))
    if node.op_type == "Gemm" and not options.get("transA"):
        rows = np.concatenate([array.reshape(-1, array.shape[-1]) for array in arrays]).astype(np.float64)
        return np.asarray((rows.T @ rows / len(rows))[None])
    return None


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
