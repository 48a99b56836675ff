"""An image's answer changes by the probability that moves; other scores by the error's share of the energy."""

from __future__ import annotations

import numpy as np

from edgewright.core.spec import Input, ModelSpec
from edgewright.tasks.classify import loss
from edgewright.tasks.classify.spec import Classify

SPEC = ModelSpec(name="four", inputs=(Input(height=8, width=8),), task=Classify(classes=4))


def test_an_images_answer_changes_by_the_probability_that_moves() -> None:
    exact = np.log([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25], [0.4, 0.4, 0.1, 0.1]])
    found = np.log([[0.4, 0.4, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25], [1e-9, 1e-9, 1.0, 1e-9]])
    np.testing.assert_allclose(loss.changes([exact], [found], SPEC), [0.3, 0, 0.9], atol=1e-6)


def test_scores_of_another_kind_change_by_the_errors_share_of_the_energy() -> None:
    exact = [np.ones((3, 4)), 2 * np.ones((3, 5))]
    found = [exact[0] * [[0.5], [1], [5]], exact[1] * [[0.9], [1], [1]]]
    values = SPEC.with_task(scores="none")
    np.testing.assert_allclose(loss.changes(exact, found, values), [0.25 + 0.01, 0, 1])
