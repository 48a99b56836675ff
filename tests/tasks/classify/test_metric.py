"""Accuracy from outputs, paired with a reference; labels and outputs that do not fit are refused."""

from __future__ import annotations

import numpy as np
import pytest

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import ModelSpec, decode
from edgewright.data.sets import Item
from edgewright.tasks import scores
from edgewright.tasks.classify import metric
from edgewright.tasks.scores import Paired

SPEC = decode(
    """{"name": "classes", "input": {"height": 8, "width": 8}, "classes": 10,
    "preprocess": {"resize": "exact", "resize_to": [8, 8]}}""",
    ModelSpec,
    "spec",
)


def items(labels):
    return [Item(f"{number}.png", label) for number, label in enumerate(labels)]


@pytest.fixture
def outputs():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 10)).astype(np.float32)


def test_top1_top5_and_per_image_results(outputs):
    labels = outputs.argmax(axis=1)
    wrong = np.arange(10)
    labels[wrong] = outputs[wrong].argsort(axis=1)[:, -3]  # third best: wrong for top-1, right for top-5
    found = metric.score(outputs, items(labels.tolist()), SPEC)
    assert {name: one.value for name, one in found.scores.items()} == {"top1": 75.0, "top5": 100.0}
    assert (found.primary, found.score) == ("top1", 75.0)
    interval = found.scores["top1"].interval
    assert interval.low < 75 < interval.high
    assert scores.unpack(found.contributions).tolist() == [0.0] * 10 + [100.0] * 30


def test_packed_results_that_are_none_are_refused():
    assert scores.unpack(scores.pack(np.ones(9))).tolist() == [1.0] * 9
    for text in ("/4A=", "nonsense?"):
        with pytest.raises(ValueError):
            scores.unpack(text)


def test_compared_with_itself_nothing_is_lost(outputs):
    found = metric.compare(outputs, outputs, items([0] * 40), SPEC, Paired(margin=1.0))
    assert (found.delta.value, found.agreement) == (0.0, 100.0)
    assert found.delta.verdict == "undecided", "40 images cannot prove a point"


def test_without_labels_only_agreement(outputs):
    other = outputs.copy()
    other[:4] = -other[:4]
    found = metric.compare(other, outputs, items([None] * 40), SPEC)
    assert (found.score, found.delta, found.contributions) == (None, None, None)
    assert found.agreement == 90.0
    assert found.sqnr_db == pytest.approx(4, abs=2)


def test_only_labelled_images_count_for_top1(outputs):
    labels = [int(row.argmax()) for row in outputs[:20]] + [None] * 20
    found = metric.compare(outputs, outputs, items(labels), SPEC)
    assert (found.images, found.score, found.agreement) == (20, 100.0, 100.0)


def test_not_finite_outputs_are_a_failure(outputs):
    outputs[3, 1] = np.nan
    with pytest.raises(RuntimeFailed, match="not finite for 1 of 40"):
        metric.score(outputs, items([None] * 40), SPEC)


@pytest.mark.parametrize(
    ("labels", "says"),
    [([10] * 40, "Label 10 is not a"), ([-1] * 40, "Label -1 is not a"), ([0] * 3, "3 labels for 40 images")],
)
def test_labels_that_do_not_fit_are_refused(outputs, labels, says):
    with pytest.raises(InvalidInput, match=says):
        metric.score(outputs, items(labels), SPEC)


def test_outputs_of_other_classes_are_refused(outputs):
    with pytest.raises(InvalidInput, match=r"\(40, 9\)"):
        metric.compare(outputs[:, :9], outputs, items([None] * 40), SPEC)


def test_the_difference_of_two_reports_is_that_of_right_and_wrong():
    ours, theirs = np.array([0, 100, 100, 0] * 10), np.array([100, 100, 100, 0] * 10)
    found = metric.difference(ours, theirs)
    assert found.value == pytest.approx(-25.0) and found.low < -25 < found.high < 0
