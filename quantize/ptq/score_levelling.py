"""Level a detector's scores: what was approximated finds the same boxes and gives them lower scores.

Every error within a network takes from what stands out, and a threshold that an application has set then drops boxes
while mAP looks fine. Here the bias of each layer that tells scores is moved until what the float model is sure of has
its scores on average: one number a layer, which a hundred images are enough for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.core.spec import ModelSpec
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.calibration.sessions import open_session, until
from edgewright.quantize.calibration.statistics import Tick
from edgewright.quantize.qdq import float_head

if TYPE_CHECKING:
    import onnx

IMAGES, MOST_VALUES = 128, 8192
"""What is looked at: so many images, of each at most so many values a layer."""
LEAST_LOGIT, MOST_SHIFT = -4.6, 3.0
"""Of scores below 1 % there is nothing to hold; no logit is moved by more than this."""


def level(changed: onnx.ModelProto, source: onnx.ModelProto, calibration: Calibration, tick: Tick) -> None:
    """Move the biases of the score layers of `changed`, in place, so that its scores are those of `source` on average.

    The average is weighted with the scores of `source`: where it sees nothing there is nothing to hold. Nodes have the
    same names in both; a layer whose bias is not in float stays as it is. `tick` is called with (batches done, batches,
    what).
    """
    from onnx import TensorProto, numpy_helper
    from scipy.special import expit

    floats = {t.name: t for t in changed.graph.initializer if t.data_type == TensorProto.FLOAT}
    others = {node.name: node for node in changed.graph.node}
    pairs = [(layer, others[layer.name]) for layer in layers(source, calibration.spec) if layer.name in others]
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


def layers(model: onnx.ModelProto, spec: ModelSpec) -> list[onnx.NodeProto]:
    """The last convolutions of a detector that tell its classes, or whether there is an object: by their channels.

    One channel is an object's, as many as there are classes are theirs; four are left alone, since they may be a box.
    None where scores are shares of a softmax, and none for a head that tells boxes and classes in one layer (NanoDet),
    or has several anchors a cell, or whose last layers are no convolutions.
    """
    if spec.detect and spec.detect.scores == "softmax":
        return []
    channels = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.dims}
    convolutions = [node for node in float_head.last_layers(model) if node.op_type == "Conv" and len(node.input) > 2]
    return [node for node in convolutions if channels.get(node.input[2]) in {1, spec.classes} - {4}]


def _shift(wanted: np.ndarray, logits: np.ndarray) -> float:
    """What is added to `logits` so that their probabilities are as high as `wanted`, an average weighted with these."""
    from scipy.optimize import brentq
    from scipy.special import expit

    def excess(shift: float) -> float:
        return float((wanted * (expit(logits + shift) - wanted)).sum())

    if not wanted.size or excess(-MOST_SHIFT) > 0 or excess(MOST_SHIFT) < 0:
        return 0.0  # nothing was seen, or these are no scores
    return float(brentq(excess, -MOST_SHIFT, MOST_SHIFT))
