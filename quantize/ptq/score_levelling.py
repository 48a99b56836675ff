"""Level scores, as a task wants it: what was approximated finds the same boxes and gives them lower scores.

Every error within a network takes from what stands out, and a threshold that an application has set then drops boxes
while mAP looks fine. Here the bias of each layer that tells scores is moved until what the float model is sure of has
its scores on average: one number a layer, which a hundred images are enough for.
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
"""What is looked at: so many images, of each at most so many values a layer."""
LEAST_LOGIT, MOST_SHIFT = -4.6, 3.0
"""Of scores below 1 % there is nothing to hold; no logit is moved by more than this."""


def level(changed: onnx.ModelProto, source: onnx.ModelProto, calibration: Calibration, tick: Tick) -> None:
    """Move the biases of the score layers of `changed`, in place, so that its scores are those of `source` on average.

    The task says which layers these are; most have none. The average is weighted with the scores of `source`: where it
    sees nothing there is nothing to hold. Nodes have the same names in both; a layer whose bias is not in float stays
    as it is. `tick` is called with (batches done, batches, what).
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
    """What is added to `logits` so that their probabilities are as high as `wanted`, an average weighted with these."""
    from scipy.optimize import brentq
    from scipy.special import expit

    def excess(shift: float) -> float:
        return float((wanted * (expit(logits + shift) - wanted)).sum())

    if not wanted.size or excess(-MOST_SHIFT) > 0 or excess(MOST_SHIFT) < 0:
        return 0.0  # nothing was seen, or these are no scores
    return float(brentq(excess, -MOST_SHIFT, MOST_SHIFT))
