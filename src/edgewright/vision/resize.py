"""Bilinear resizing with OpenCV's pixels, also where OpenCV is not installed.

Detectors are trained on images that ``cv2.resize`` scaled with INTER_LINEAR: half-pixel centers, no antialiasing,
weights of 11 bits, and a vertical pass that truncates twice. Pillow's bilinear filter gives other pixels. Checked
against OpenCV 5.0 on x86-64. A build with a resize of its own (some for ARM have one) may differ by one gray level.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import ModuleType

import numpy as np

_ONE = 2048  # a weight of 1 in 11 bits


def bilinear(pixels: np.ndarray, width: int, height: int, into: np.ndarray | None = None) -> np.ndarray:
    """`pixels` (uint8, height x width, or with channels behind) scaled to `width` x `height`, as INTER_LINEAR does it.

    OpenCV does it where it is installed, and writes it right into the contiguous array `into` of that shape where one
    is given; else numpy, with the same result to the bit and many times slower. The result may be `into`,
    `pixels`, or a new array.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    cv2 = _opencv()
    if cv2 is None:
        return numpy_bilinear(pixels, width, height)
    out: np.ndarray = cv2.resize(pixels, (width, height), dst=into, interpolation=cv2.INTER_LINEAR)
    return into if out is into else out.reshape(height, width, *pixels.shape[2:])  # OpenCV drops a channel axis of 1


Planes = Sequence[np.ndarray] | np.ndarray


def planes(pixels: np.ndarray) -> Planes:
    """The channels of `pixels` (uint8, height x width x channels), each contiguous."""
    cv2 = _opencv()
    if cv2 is None or pixels.shape[2] == 1 or not pixels.size:  # of nothing OpenCV makes no planes
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))
    split: Sequence[np.ndarray] = cv2.split(pixels)  # twice as fast
    return split


def numpy_bilinear(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """`bilinear` without OpenCV."""
    old_height, old_width = pixels.shape[:2]
    if (old_width, old_height) == (2 * width, 2 * height):
        return _halved(pixels)
    x, x_weight = _taps(old_width, width)
    y, y_weight = _taps(old_height, height)
    # OpenCV drops the second tap of a column outside the image but keeps that of a row, which then rounds twice.
    x_weight[(x < 0) | (x >= old_width - 1)] = 0
    tail = (1,) * (pixels.ndim - 2)
    rows, where = np.unique(_clamped(y, old_height), return_inverse=True)
    upper, lower = where.reshape(2, height)
    left, right = _clamped(x, old_width)
    needed = pixels[rows]
    first, second = _weights(x_weight)
    across = np.take(needed, left, axis=1) * first.reshape(-1, *tail)
    across += np.take(needed, right, axis=1) * second.reshape(-1, *tail)
    across >>= 4
    first, second = _weights(y_weight)
    out = (across[upper] * first.reshape(-1, 1, *tail)) >> 16
    out += (across[lower] * second.reshape(-1, 1, *tail)) >> 16
    out += 2
    out >>= 2
    resized: np.ndarray = out.astype(np.uint8)
    return resized


@cache
def _opencv() -> ModuleType | None:
    try:
        import cv2
    except ImportError:
        return None
    return cv2


def _halved(pixels: np.ndarray) -> np.ndarray:
    """The rounded mean of four pixels each."""
    rows = np.add(pixels[::2], pixels[1::2], dtype=np.uint16)
    total = rows[:, ::2] + rows[:, 1::2]
    total += 2
    total >>= 2
    halved: np.ndarray = total.astype(np.uint8)
    return halved


def _taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """The first of two source positions for each new one, and the share of the second, in float32 as OpenCV has it."""
    # 1 / (new / old), not old / new: the two differ in the last bit, which can move a rounded weight.
    position = ((np.arange(new) + 0.5) * (1.0 / (new / old)) - 0.5).astype(np.float32)
    first = np.floor(position)
    return first.astype(np.int64), position - first


def _clamped(first: np.ndarray, size: int) -> np.ndarray:
    """(2, n) source positions, the edge repeated beyond the image."""
    both: np.ndarray = np.clip(np.stack([first, first + 1]), 0, size - 1)
    return both


def _weights(share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scaled = np.rint((1 - share) * np.float32(_ONE)), np.rint(share * np.float32(_ONE))
    return scaled[0].astype(np.int32), scaled[1].astype(np.int32)
