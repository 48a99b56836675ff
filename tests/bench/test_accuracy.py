"""Accuracy from outputs, paired with a reference; labels and outputs that do not fit are refused."""

from __future__ import annotations

import numpy as np
import pytest

from edgewright.bench import accuracy
from edgewright.core.errors import InvalidInput, RuntimeFailed


@pytest.fixture
def outputs():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 10)).astype(np.float32)


def test_top1_top5_and_per_image_results(outputs):
    labels = outputs.argmax(axis=1)
    wrong = np.arange(10)
    labels[wrong] = outputs[wrong].argsort(axis=1)[:, -3]  # third best: wrong for top-1, right for top-5
    found = accuracy.score(outputs, labels.tolist())
    assert (found.top1, found.top5) == (75.0, 100.0)
    assert found.top1_interval.low < 75 < found.top1_interval.high
    assert accuracy.unpack(found.right, 40).tolist() == [False] * 10 + [True] * 30


def test_packed_results_that_are_none_are_refused():
    assert accuracy.unpack(accuracy.pack(np.ones(9, bool)), 9).all()
    for text, images in (("/4A=", 17), ("/4A=", 8), ("/4A=", 10**12), ("nonsense?", 9)):
        with pytest.raises(ValueError):
            accuracy.unpack(text, images)


def test_compared_with_itself_nothing_is_lost(outputs):
    found = accuracy.compare(outputs, outputs, [0] * 40, margin=1.0)
    assert (found.delta.value, found.agreement) == (0.0, 100.0)
    assert found.delta.verdict == "undecided", "40 images cannot prove a point"


def test_without_labels_only_agreement(outputs):
    other = outputs.copy()
    other[:4] = -other[:4]
    found = accuracy.compare(other, outputs, None)
    assert (found.top1, found.delta) == (None, None)
    assert found.agreement == 90.0
    assert found.sqnr_db == pytest.approx(4, abs=2)


def test_only_labelled_images_count_for_top1(outputs):
    labels = [int(row.argmax()) for row in outputs[:20]] + [None] * 20
    found = accuracy.compare(outputs, outputs, labels)
    assert (found.images, found.top1, found.agreement) == (20, 100.0, 100.0)


def test_not_finite_outputs_are_a_failure(outputs):
    outputs[3, 1] = np.nan
    with pytest.raises(RuntimeFailed, match="not finite for 1 of 40"):
        accuracy.score(outputs, None)


@pytest.mark.parametrize(
    ("labels", "says"),
    [([10] * 40, "Label 10 is none"), ([-1] * 40, "Label -1 is none"), ([0] * 3, "3 labels for 40 images")],
)
def test_labels_that_do_not_fit_are_refused(outputs, labels, says):
    with pytest.raises(InvalidInput, match=says):
        accuracy.score(outputs, labels)


def test_outputs_of_other_classes_are_refused(outputs):
    with pytest.raises(InvalidInput, match=r"\(40, 9\)"):
        accuracy.compare(outputs[:, :9], outputs, None)


def test_no_images_is_an_error(tmp_path):
    with pytest.raises(InvalidInput, match="no images"):
        accuracy.evaluate(tmp_path, [], None, tmp_path / "out")
