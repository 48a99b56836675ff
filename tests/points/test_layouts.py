"""Outputs with the points of one object become points in input pixels."""

from __future__ import annotations

import numpy as np
import pytest

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import Input, ModelSpec
from edgewright.points import layouts, skeletons
from edgewright.tasks.landmarks.spec import Landmarks


def spec(**fields: object) -> ModelSpec:
    task = Landmarks(**{"points": 2, **fields})  # type: ignore[arg-type]
    return ModelSpec(name="m", inputs=(Input(height=64, width=128),), task=task)


def found(outputs: list[np.ndarray], about: ModelSpec) -> layouts.Found:
    d = about.task
    assert isinstance(d, Landmarks)
    arrays = layouts.checked(d.decoder, outputs, d, about, len(outputs[0]))
    return layouts.decode(d.decoder, [array[0] for array in arrays], d, about)


def test_movenets_points_are_y_x_and_score_relative_to_the_input() -> None:
    output = np.array([[[[0.5, 0.25, 0.9], [1.0, 0.0, 0.1]]]], np.float32)
    one = found([output], spec(values="yxs", units="relative"))
    np.testing.assert_allclose(one.points, [[32, 32], [0, 64]])
    np.testing.assert_allclose(one.scores, [0.9, 0.1], rtol=1e-6)
    assert one.score is None


def test_blazeposes_points_are_pixels_with_logits_and_a_score_of_the_object() -> None:
    output = np.array([[1, 2, 3, 0, 9, 4, 5, 6, -50, 9]], np.float32)
    about = spec(values="xyzs-", point_scores="sigmoid", object_score="none")
    one = found([output, np.array([[0.75]], np.float32)], about)
    np.testing.assert_allclose(one.points, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_allclose(one.scores, [0.5, 0], atol=1e-6)
    assert one.score == 0.75


def heat(x: float, y: float) -> np.ndarray:
    """A Gaussian on a map of 16x32 cells."""
    rows, columns = np.mgrid[:16, :32]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8).astype(np.float32)


@pytest.mark.parametrize(
    ("refine", "where", "within"),
    [("none", (10, 6), 1e-6), ("quarter", (10.25, 6.25), 1e-6), ("dark", (10.3, 6.4), 1e-3)],
)
@pytest.mark.parametrize("last", [False, True])
def test_the_largest_value_of_a_map_is_refined(
    refine: str, where: tuple[float, float], within: float, last: bool
) -> None:
    maps = np.stack([heat(10.3, 6.4), heat(3, 4)])[None]
    one = found([maps.transpose(0, 2, 3, 1) if last else maps], spec(decoder="heatmaps", refine=refine))
    np.testing.assert_allclose(one.points[0], np.array(where) * 4, atol=4 * within)
    assert one.scores[1] == 1


def test_corners_of_map_and_input_are_aligned_with_udp() -> None:
    maps = np.stack([heat(31, 15), heat(0, 0)])[None]
    one = found([maps], spec(decoder="heatmaps", refine="none", udp=True))
    np.testing.assert_allclose(one.points, [[127, 63], [0, 0]])


def test_vectors_of_columns_and_rows_give_a_point() -> None:
    x, y = np.zeros((1, 2, 256), np.float32), np.zeros((1, 2, 128), np.float32)
    x[0, 0, 100], y[0, 0, 30], x[0, 1, 7], y[0, 1, 9] = 0.8, 0.6, 0.2, 0.4
    one = found([x, y], spec(decoder="simcc"))
    np.testing.assert_allclose(one.points, [[50, 15], [3.5, 4.5]])
    np.testing.assert_allclose(one.scores, [0.6, 0.2])


def test_other_shapes_and_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"\(1, 5\)"):
        found([np.zeros((1, 5), np.float32)], spec())
    with pytest.raises(InvalidInput, match="the object's score"):
        found([np.zeros((1, 4), np.float32)], spec(object_score="none"))
    with pytest.raises(RuntimeFailed, match="NaN"):
        found([np.full((1, 4), np.nan, np.float32)], spec())


@pytest.mark.parametrize("values", ["x", "xyy", "xyzz", "xya"])
def test_an_order_of_values_without_x_and_y_is_refused(values: str) -> None:
    with pytest.raises(ValueError, match="needs x and y once"):
        Landmarks(points=2, values=values)


def test_17_points_are_cocos_person_and_others_have_equal_sigmas() -> None:
    known = skeletons.of(17)
    assert known.names[0] == "nose" and len(known.edges) == 19
    assert skeletons.sigmas(17)[0] == pytest.approx(0.026)
    assert skeletons.sigmas(5).tolist() == [0.2] * 5
    assert skeletons.sigmas(2, (0.1, 0.3)).tolist() == [0.1, 0.3]
    assert skeletons.of(39).names[-1] == "point_38"
