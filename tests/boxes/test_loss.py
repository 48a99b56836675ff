"""A detector loses the share of its boxes' scores that is not found again."""

from __future__ import annotations

import numpy as np

from edgewright.boxes import loss
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.tasks.detect.spec import Detect


def test_an_image_loses_what_is_missing_of_the_scores() -> None:
    boxes = np.array([[0.1, 0.5, 0.2, 0.4], [0.7, 0.5, 0.2, 0.4]])
    scores = np.array([[[0.8, 0, 0, 0], [0, 0.4, 0, 0]], [[0, 0, 0, 0], [0, 0, 0, 0]], [[0.5, 0, 0, 0], [0, 0, 0, 0]]])
    exact = [np.concatenate([np.tile(boxes, (3, 1, 1)), scores], axis=2)]
    found = [exact[0].copy()]
    found[0][0, 1, 5], found[0][2, :, 4:] = 0.1, 0  # of 1.2 is 0.3 lost; of 0.5 all
    detector = ModelSpec(
        name="set",
        inputs=(Input(height=16, width=16, preprocess=Preprocess(resize="exact", resize_to=(16, 16))),),
        task=Detect(decoder="set", classes=4),
    )
    np.testing.assert_allclose(loss.changes(exact, found, detector), [0.25, 0, 1], atol=1e-6)
