"""Activation statistics, and the clipping ranges that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from edgewright.quantize.schemes import Scheme
from edgewright.quantize.steps import Kind

Range = tuple[float, float]
ChannelRanges = dict[str, tuple[np.ndarray, np.ndarray]]
"""The lowest and the highest value of each channel (channels,), by tensor."""

Tick = Callable[[int, int, str], None]

STATISTICS = "statistics.safetensors"
BINS = 2048
COARSE = 513
"""Bins of the entropy search. Its time grows with their square."""
PERCENTILE = 99.99
UNEVEN = 2.0


class Ranges(NamedTuple):
    """The range (lowest, highest) of every tensor, found in one way. `channels`: the ranges of tensors that have one
    per channel."""

    kind: Kind
    tensors: dict[str, Range]
    channels: ChannelRanges


class Statistics(NamedTuple):
    """Activation statistics of a model and its images: collected once, used by every scheme and method.

    Rows are batches, columns are the tensors `names`. `lows` and `highs` (batches, tensors) hold the extremes, with
    zero included. `counts` (tensors, BINS) is the histogram of nonzero values between the lowest and the highest of
    all.

    `best` (2, tensors, 2): the range of each tensor that changes the outputs least, for grids with any zero point and
    for centered grids. Empty if it was not searched or could not be found; `missing` gives the reason.

    `channels` (2, all channels): the extremes of each channel of the tensors that only depthwise convolutions read, one
    tensor after another. `widths` (tensors,): the number of channels of each tensor. `slopes` (all channels): how much
    noise on each channel of the feature maps changes the outputs, per unit of variance (see `clipping`); empty if
    `best` is. `slope_widths` (tensors,): the number of channels of each.
    """

    names: list[str]
    lows: np.ndarray
    highs: np.ndarray
    counts: np.ndarray
    best: np.ndarray = np.zeros((0, 0, 2))
    missing: str = ""
    channels: np.ndarray = np.zeros((2, 0))
    widths: np.ndarray = np.zeros(0, np.int64)
    slopes: np.ndarray = np.zeros(0)
    slope_widths: np.ndarray = np.zeros(0, np.int64)


ARRAYS = ("lows", "highs", "counts", "best", "channels", "widths", "slopes", "slope_widths")


def ranges(seen: Statistics, kind: Kind, scheme: Scheme) -> Ranges:
    """The ranges of this kind for the grids of `scheme`."""
    channels = find_channels(seen, kind) if scheme.depthwise_input == "channel" else {}
    return Ranges(kind, find(seen, kind, scheme.centered), channels)


def find(seen: Statistics, kind: Kind, centered: bool) -> dict[str, Range]:
    """The range (lowest, highest) of every tensor, with zero included.

    "minmax" clips nothing. "mean" is the mean of the batches' extremes, which clips the outliers of a few images.
    "percentile", "mse" and "entropy" use the histograms. `centered`: the range will be made symmetric around zero, so
    "mse" searches for the best symmetric one.
    """
    if kind == "output":
        return {name: (float(low), float(high)) for name, (low, high) in zip(seen.names, seen.best[int(centered)])}
    low, high = seen.lows.min(axis=0), seen.highs.max(axis=0)
    if kind in ("minmax", "mean"):
        ends = (low, high) if kind == "minmax" else (seen.lows.mean(axis=0), seen.highs.mean(axis=0))
        return {name: (float(a), float(b)) for name, a, b in zip(seen.names, *ends)}
    search = {"percentile": _percentile, "mse": _mse, "entropy": _entropy}[kind]
    return {name: search(seen.counts[i], float(low[i]), float(high[i]), centered) for i, name in enumerate(seen.names)}


def find_channels(seen: Statistics, kind: Kind) -> ChannelRanges:
    """The range of each channel of the uneven tensors that only depthwise convolutions read, with zero included.

    It covers all observed values, but no more than the tensor's range of this kind. (A mean of the batches' extremes
    would clip a channel that is small in most images.) A channel that was always zero gets the tensor's range, because
    other images may activate it. A tensor is uneven if half of its channels lose a bit or more with the tensor's range
    (`UNEVEN`). For less uneven tensors, as after a ReLU6, the gain is smaller than the cost of images that exceed a
    channel's narrow range.
    """
    whole = find(seen, kind, False)
    lows, highs = seen.channels
    found: ChannelRanges = {}
    for name, width, end in zip(seen.names, seen.widths, np.cumsum(seen.widths)):
        if width:
            low, high = whole[name]
            least, most = np.maximum(lows[end - width : end], low), np.minimum(highs[end - width : end], high)
            asleep = least == most
            least, most = np.where(asleep, low, least), np.where(asleep, high, most)
            if high - low >= UNEVEN * np.median(most - least):
                found[name] = (least, most)
    return found


def save(seen: Statistics, path: Path) -> None:
    """Write statistics as safetensors. The names are in the metadata."""
    from safetensors.numpy import save_file

    arrays = {key: np.ascontiguousarray(getattr(seen, key)) for key in ARRAYS}
    save_file(arrays, path, metadata={"names": msgspec.json.encode(seen.names).decode(), "missing": seen.missing})


def read(path: Path) -> Statistics:
    """Read a file that `save` wrote."""
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        about = file.metadata()
        names = msgspec.json.decode(about["names"], type=list[str])
        return Statistics(names, **{key: file.get_tensor(key) for key in ARRAYS}, missing=about["missing"])


def _percentile(counts: np.ndarray, low: float, high: float, _symmetric: bool) -> Range:
    """The range without the lowest and the highest 0.005%."""
    if not counts.any():
        return low, high
    edges = np.linspace(low, high, BINS + 1)
    mass = np.cumsum(counts) / counts.sum()
    out = (1 - PERCENTILE / 100) / 2
    first, last = int(np.searchsorted(mass, out)), int(np.searchsorted(mass, 1 - out))
    return min(0.0, float(edges[first])), max(0.0, float(edges[min(last + 1, BINS)]))


def _mse(counts: np.ndarray, low: float, high: float, symmetric: bool) -> Range:
    """The range with the lowest mean squared error of 8-bit rounding and clipping, by search from both ends."""
    if not counts.any():
        return low, high
    edges = np.linspace(low, high, BINS + 1)
    centers = (edges[1:] + edges[:-1]) / 2
    shrink = np.linspace(1.0, 0.2, 81)
    if symmetric:
        bound = max(-low, high)
        best = float(min(shrink, key=lambda s: _error(counts, centers, -s * bound, s * bound)))
        return max(low, -best * bound), min(high, best * bound)
    for _ in range(2):  # The ends depend on each other only through the step size: two rounds are enough.
        top, bottom = high, low
        high = float(min(shrink * edges[-1], key=lambda b: _error(counts, centers, bottom, b))) if high > 0 else high
        low = float(min(shrink * edges[0], key=lambda a: _error(counts, centers, a, top))) if low < 0 else low
    return low, high


def _error(counts: np.ndarray, centers: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    clipped = np.maximum(low - centers, 0) + np.maximum(centers - high, 0)
    inside = clipped == 0
    return float((counts * clipped**2).sum() + counts[inside].sum() * step**2 / 12)


def _entropy(counts: np.ndarray, low: float, high: float, _symmetric: bool) -> Range:
    """The symmetric threshold with the lowest Kullback-Leibler divergence, by ONNX Runtime's search."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    if not counts.any():
        return low, high
    bound = max(-low, high)
    edges = np.linspace(low, high, BINS + 1)
    centered, bins = np.histogram((edges[1:] + edges[:-1]) / 2, COARSE, (-bound, bound), weights=counts)
    collector = HistogramCollector("entropy", True, COARSE, 128, 99.99, "same")
    a, b = collector.get_entropy_threshold(
        (centered.astype(np.int64), bins, np.float64(low), np.float64(high), bound), 128
    )[:2]
    return max(low, min(0.0, float(a))), min(high, max(0.0, float(b)))
