"""Outputs become labels and scores, and never a label out of NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.outputs import probabilities
from edgewright.core.spec import Input, ModelSpec
from edgewright.tasks.classify.decode import read
from edgewright.tasks.classify.spec import Classify


def spec(classes: int, kind: str = "softmax", top: int = 5, labels: tuple[str, ...] = ()) -> ModelSpec:
    return ModelSpec(
        name="m",
        inputs=(Input(height=8, width=8),),
        task=Classify(scores=kind, top=top, classes=classes, labels=labels),
    )


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=40))
def test_softmax_is_stable_and_sums_to_one(row: list[float]) -> None:
    values = probabilities(np.array([row], np.float32), "softmax")
    assert values.dtype == np.float32
    assert abs(values.sum() - 1) < 1e-5
    assert values[0, int(np.argmax(row))] == values.max()


def test_sigmoid_and_none() -> None:
    x = np.array([[-1e30, -2.0, 0.0, 2.0, 1e30]], np.float32)
    with np.errstate(over="raise"):
        sigmoid = probabilities(x, "sigmoid")
    np.testing.assert_allclose(sigmoid, [[0, 0.11920292, 0.5, 0.880797, 1]], rtol=1e-6)
    np.testing.assert_array_equal(probabilities(x, "none"), x)


def test_softmax_takes_half_precision_and_masked_classes() -> None:
    values = probabilities(np.array([[60000.0, -np.inf, 60000.0]], np.float16), "softmax")
    np.testing.assert_array_equal(values, [[0.5, 0, 0.5]])


@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_an_error_not_a_label(kind: str, bad: float) -> None:
    x = np.zeros((2, 3), np.float32)
    x[1, 2] = bad
    if kind == "sigmoid" and bad == np.inf:
        return  # the limit is a score: 1
    with pytest.raises(RuntimeFailed, match="NaN or infinite"):
        read([x], spec(3, kind))


def test_classify_names_the_best_first() -> None:
    found = read([np.array([[0.0, 3.0, 1.0], [5.0, 1.0, 2.0]])], spec(3, top=2, labels=("cat", "dog", "eel")))
    assert [(c.label, c.index, [p.label for p in c.top]) for c in found] == [
        ("dog", 1, ["dog", "eel"]),
        ("cat", 0, ["cat", "eel"]),
    ]
    assert found[0].score == found[0].top[0].score == pytest.approx(0.8437947)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.integers(1, 40))
def test_order_is_that_of_a_stable_sort(row: list[int], top: int) -> None:
    [found] = read([np.array([row], np.float32)], spec(len(row), top=top))
    assert [p.index for p in found.top] == sorted(range(len(row)), key=lambda k: -row[k])[:top]
    assert found.label == str(int(np.argmax(row)))


def test_saturated_scores_keep_the_order_of_the_logits() -> None:
    [found] = read([np.array([[200.0, 300.0, 900.0]])], spec(3))
    assert [p.index for p in found.top] == [2, 1, 0]


@pytest.mark.parametrize("shape", [(2, 4), (3,), (2, 3, 2)])
def test_a_wrong_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"shape \("):
        read([np.zeros(shape, np.float32)], spec(3))


def test_trailing_spatial_axes_of_one_are_accepted() -> None:
    assert len(read([np.zeros((2, 3, 1, 1), np.float32)], spec(3))) == 2
