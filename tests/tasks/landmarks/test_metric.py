"""The normalized mean error, its curve and failures, and changes of single points."""

from __future__ import annotations

import numpy as np
import pytest

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec
from edgewright.data.boxes import Box
from edgewright.data.sets import ImageSet, Item
from edgewright.tasks import scores
from edgewright.tasks.landmarks import decode, metric, truth
from edgewright.tasks.landmarks.spec import Landmarks


def spec(**fields: object) -> ModelSpec:
    task = Landmarks(**{"points": 3, **fields})  # type: ignore[arg-type]
    return ModelSpec(name="m", inputs=(Input(height=100, width=100),), task=task)


PLACES = np.array([[10, 10], [50, 10], [30, 40]], np.float32)


def items(count: int = 2, points: int = 3) -> tuple[Item, ...]:
    labeled = tuple((float(x), float(y), 2) for x, y in PLACES[:points])
    return tuple(Item(f"/{k}.png", None, (Box(0, 10, 10, 50, 40, 1200, keypoints=labeled),)) for k in range(count))


def rows(*moves: float) -> np.ndarray:
    """One row an image: all points moved to the right."""
    return np.stack([
        np.r_[1, np.column_stack([PLACES + np.array([move, 0]), np.ones(3)]).reshape(-1)] for move in moves
    ]).astype(np.float32)  # fmt: skip


@pytest.mark.parametrize(("normalize", "size"), [((0, 1), 40.0), ("box", 1200**0.5), ("diagonal", 50.0)])
def test_the_error_is_relative_to_the_size_that_the_spec_names(normalize: object, size: float) -> None:
    found = metric.score(rows(2, 4), items(), spec(normalize=normalize))
    assert found.score == pytest.approx(100 * 3 / size)
    assert found.contributions is not None
    np.testing.assert_allclose(scores.unpack(found.contributions), [200 / size, 400 / size], rtol=1e-5)


def test_failures_and_the_area_under_the_curve() -> None:
    found = metric.score(rows(0, 1.6, 8), items(3), spec(normalize=(0, 1)))
    values = {name: one.value for name, one in found.scores.items()}
    assert values["failures"] == pytest.approx(100 / 3) and values["failures_10"] == pytest.approx(100 / 3)
    assert values["auc"] == pytest.approx(100 * (1 + 0.5 + 0) / 3)


def test_a_larger_error_is_worse() -> None:
    many = items(40)
    delta = metric.compare(rows(*[4.0] * 40), rows(*[2.0] * 40), many, spec(normalize=(0, 1))).delta
    assert delta is not None and delta.value == pytest.approx(5) and delta.verdict == "worse"


@pytest.mark.parametrize("change", ["dropped", "swapped"])
def test_an_audit_finds_a_changed_point(change: str) -> None:
    reference, other = rows(0, 0), rows(0, 0)
    if change == "dropped":
        other[:, 1:3] = 0
    else:
        other[:, 1:4], other[:, 4:7] = reference[:, 4:7], reference[:, 1:4]
    (drift,) = metric.drifts(other, reference, spec())
    assert drift.code == "points" and drift.value > drift.limits[1]
    assert metric.drifts(reference, reference, spec())[0].value == 0


def test_an_image_needs_one_object_with_the_models_points() -> None:
    several = Item("/a.png", None, items(1)[0].boxes * 2)  # type: ignore[operator]
    for wrong, says in ((several, "has 2 objects"), (items(1, 2)[0], "has 2 keypoints, but 'm' gives 3")):
        with pytest.raises(InvalidInput, match=says):
            truth.match(ImageSet(name="s", split="", items=(wrong,), classes=()), spec())


def test_an_answer_is_in_pixels_of_the_photo_and_empty_below_the_score() -> None:
    about = spec(values="xyz", object_score="sigmoid")
    about = about.with_input(
        preprocess=type(about.preprocess)(resize="letterbox", resize_to=(100, 100), align="corner")
    )
    flat = np.array([[10, 20, 5, 0, 0, 0, 50, 50, 10]], np.float32)
    (one,) = decode.read([flat, np.array([[3.0]], np.float32)], about, [(200, 100)])
    np.testing.assert_allclose(one.points[0], [20, 40, 10])
    assert one.score == pytest.approx(0.953, abs=1e-3)
    assert len(one.to_coco(3)) == 1 and one.to_coco(3)[0]["keypoints"][:3] == [20, 40, 1]
    (none,) = decode.read([flat, np.array([[-3.0]], np.float32)], about, [(200, 100)])
    assert len(none) == 0 and none.to_coco(0) == [] and none.to_json()["points"] == []
