"""The step that collects activation statistics: first minimum and maximum, then a histogram between them.

It makes two passes over the images with two batches in memory at a time. (ONNX Runtime's percentile and entropy
calibrators hold every activation of every image.)
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.graph import depthwise
from edgewright.quantize.state import FloatState
from edgewright.quantize.steps import Calibrate

from .histogram import Histogram
from .images import Calibration
from .sessions import float_tensors, open_session, until
from .statistics import BINS, Statistics, Tick

if TYPE_CHECKING:
    import onnx


def apply(_step: Calibrate, state: FloatState) -> int:
    """Collect the statistics of the float model once, for every scheme and method."""
    state.statistics = collect(state.model, state.calibration, state.tick)
    return len(state.statistics.names)


def collect(model: onnx.ModelProto, calibration: Calibration, tick: Tick, histograms: bool = True) -> Statistics:
    """Run the float `model` on all images, twice if `histograms` are wanted.

    `tick` is called with (batches done, batches, text).
    """
    names = float_tensors(model)
    split = depthwise.inputs(model)
    widths = np.array([split.get(name, 0) for name in names], np.int64)
    ends = np.cumsum(widths)
    channels = np.zeros((2, int(widths.sum())))
    session = open_session(until(model, names))
    lows, highs = np.zeros((len(calibration), len(names))), np.zeros((len(calibration), len(names)))
    for step, arrays in enumerate(_ran(session, names, calibration)):
        for i, array in enumerate(arrays):
            lows[step, i], highs[step, i] = min(0, array.min()), max(0, array.max())
            if widths[i]:
                _widen(channels[:, ends[i] - widths[i] : ends[i]], array)
        tick(step + 1, len(calibration), "activation ranges")
    low, high = lows.min(axis=0), highs.max(axis=0)
    # Exact zeros (ReLU) are on every grid. They say nothing about a good range.
    found = [Histogram(BINS, a, b if b > a else a + 1) for a, b in zip(low, high)] if histograms else []
    for step, arrays in enumerate(_ran(session, names, calibration) if found else ()):
        for one, array in zip(found, arrays):
            one.add(array)
        tick(step + 1, len(calibration), "activation histograms")
    counts = np.zeros((len(names), BINS if histograms else 0))
    for i, one in enumerate(found):
        counts[i] = one.counts
    return Statistics(names, lows, highs, counts, channels=channels, widths=widths)


def _ran(session: Any, names: list[str], calibration: Calibration) -> Iterator[list[np.ndarray]]:
    """The tensors `names` for each batch. The next batch is computed while the caller processes one."""
    with ThreadPoolExecutor(1) as thread:
        ahead: Future[list[np.ndarray]] | None = None
        for feed in calibration.batches():
            before, ahead = ahead, thread.submit(session.run, names, feed)
            if before:
                yield before.result()
        if ahead:
            yield ahead.result()


def _widen(rows: np.ndarray, array: np.ndarray) -> None:
    """Merge the batch `array` (images, channels, ...) into `rows` (2, channels) of `Statistics.channels`, in place."""
    others = tuple(axis for axis in range(array.ndim) if axis != 1)
    rows[0], rows[1] = np.minimum(rows[0], array.min(axis=others)), np.maximum(rows[1], array.max(axis=others))
