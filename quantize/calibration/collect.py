"""The step that collects the statistics of activations: minimum and maximum, then a histogram within them.

Two passes over the images, one batch in memory at a time (ONNX Runtime's own percentile and entropy calibrators hold
every activation of every image).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.graph import depthwise
from edgewright.quantize.state import FloatState
from edgewright.quantize.steps import Calibrate

from .images import Calibration
from .sessions import float_tensors, open_session, until
from .statistics import BINS, Statistics, Tick

if TYPE_CHECKING:
    import onnx


def apply(_step: Calibrate, state: FloatState) -> int:
    """Collect the statistics of the float model: once, for every scheme and method."""
    state.statistics = collect(state.model, state.calibration, state.tick)
    return len(state.statistics.names)


def collect(model: onnx.ModelProto, calibration: Calibration, tick: Tick, histograms: bool = True) -> Statistics:
    """Run the float `model` on all images, twice where `histograms` are wanted.

    `tick` is called with (batches done, batches in all, what).
    """
    names = float_tensors(model)
    split = depthwise.inputs(model)
    widths = np.array([split.get(name, 0) for name in names], np.int64)
    ends = np.cumsum(widths)
    channels = np.zeros((2, int(widths.sum())))
    session = open_session(until(model, names))
    lows, highs = np.zeros((len(calibration), len(names))), np.zeros((len(calibration), len(names)))
    for step, feed in enumerate(calibration.batches()):
        for i, array in enumerate(session.run(names, feed)):
            lows[step, i], highs[step, i] = min(0, array.min()), max(0, array.max())
            if widths[i]:
                _widen(channels[:, ends[i] - widths[i] : ends[i]], array)
        tick(step + 1, len(calibration), "activation ranges")
    low, high = lows.min(axis=0), highs.max(axis=0)
    counts = np.zeros((len(names), BINS if histograms else 0))
    for step, feed in enumerate(calibration.batches()) if histograms else ():
        for i, array in enumerate(session.run(names, feed)):
            # Exact zeros (ReLU) are on every grid: they tell nothing about a good range.
            counts[i] += np.histogram(array[array != 0], BINS, (low[i], high[i] if high[i] > low[i] else low[i] + 1))[0]
        tick(step + 1, len(calibration), "activation histograms")
    return Statistics(names, lows, highs, counts, channels=channels, widths=widths)


def _widen(rows: np.ndarray, array: np.ndarray) -> None:
    """Take the batch `array` (images, channels, ...) into `rows` (2, channels) of `Statistics.channels`, in place."""
    others = tuple(axis for axis in range(array.ndim) if axis != 1)
    rows[0], rows[1] = np.minimum(rows[0], array.min(axis=others)), np.maximum(rows[1], array.max(axis=others))
