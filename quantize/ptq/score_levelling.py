"""Score levelling: an approximated detector finds the same boxes with lower scores, so raise its score biases.

Every error in a network lowers the largest values. A score threshold in an application then drops boxes although mAP
looks fine. We shift the bias of each layer that computes scores until the objects that the float model is sure of have
its scores on average. That is one number per layer, for which a hundred images are enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright import tasks
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.calibration.sessions import open_session, until
from edgewright.quantize.calibration.statistics import Tick

if TYPE_CHECKING:
    import onnx

IMAGES, MOST_VALUES = 128, 8192
"""Number of images, and maximum number of values per layer and image."""
LEAST_LOGIT, MOST_SHIFT = -4.6, 3.0
"""Scores below 1% are ignored. No logit shifts by more than this."""


def level(changed: onnx.ModelProto, source: onnx.ModelProto, calibration: Calibration, tick: Tick) -> None:
    """Shift the biases of the score layers of `changed`, in place, so that its scores match those of `source` on
    average.

    The task names these layers; most tasks have none. The average is weighted with the scores of `source`, so
    background does not count. Nodes have the same names in both. A layer whose bias is not in float stays unchanged.
    `tick` is called with (batches done, batches, text).
    """
    from onnx import TensorProto, numpy_helper
    from scipy.special import expit

    floats = {t.name: t for t in changed.graph.initializer if t.data_type == TensorProto.FLOAT}
    others = {node.name: node for node in changed.graph.node}
    spec = calibration.spec
    telling = tasks.of(spec).protect.score_layers(source, spec)
    pairs = [(layer, others[layer.name]) for layer in telling if layer.name in others]
    pairs = [(layer, other) for layer, other in pairs if len(other.input) > 2 and other.input[2] in floats]
    if not pairs:
        return
    told, given = ([pair[side].output[0] for pair in pairs] for side in (0, 1))
    exact, found = (open_session(until(m, names), optimize=True) for m, names in ((source, told), (changed, given)))
    generator = np.random.default_rng(0)
    seen: list[list[np.ndarray]] = [[] for _ in pairs]
    most = min(IMAGES, len(calibration.images))
    for done, feed in enumerate(calibration.batches(most)):
        for rows, wanted, logits in zip(seen, exact.run(told, feed), found.run(given, feed)):
            sure = np.flatnonzero((wanted > LEAST_LOGIT) & np.isfinite(logits))
            if len(sure) > MOST_VALUES:
                sure = generator.choice(sure, MOST_VALUES, replace=False)
            rows.append(np.stack([expit(wanted.reshape(-1)[sure]), logits.reshape(-1)[sure]]))
        tick(done + 1, -(-most // calibration.batch_size), "scores")
    for (_, other), rows in zip(pairs, seen):
        bias = floats[other.input[2]]
        moved = numpy_helper.to_array(bias) + np.float32(_shift(*np.concatenate(rows, axis=1)))
        bias.CopyFrom(numpy_helper.from_array(moved, bias.name))


def _shift(wanted: np.ndarray, logits: np.ndarray) -> float:
    """The shift of `logits` for which their probabilities are as high as `wanted`, in an average weighted with
    `wanted`."""
    from scipy.optimize import brentq
    from scipy.special import expit

    def excess(shift: float) -> float:
        return float((wanted * (expit(logits + shift) - wanted)).sum())

    if not wanted.size or excess(-MOST_SHIFT) > 0 or excess(MOST_SHIFT) < 0:
        return 0.0  # no scores above the limit, or these are not scores
    return float(brentq(excess, -MOST_SHIFT, MOST_SHIFT))
