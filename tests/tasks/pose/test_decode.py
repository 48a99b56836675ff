"""Heads with keypoints and models with one object become persons in pixels of the photo."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.points.crops import cut
from edgewright.tasks.pose import decode, fit
from edgewright.tasks.pose.draw import draw
from edgewright.tasks.pose.spec import Pose


def spec(side: int = 64, **fields: object) -> ModelSpec:
    task = Pose(**{"points": 2, "labels": ("person",), **fields})  # type: ignore[arg-type]
    preprocess = Preprocess(resize="letterbox", resize_to=(side, side), align="corner", interpolation="opencv")
    return ModelSpec(name="m", inputs=(Input(height=side, width=side, preprocess=preprocess),), task=task)


def test_a_decoded_head_gives_boxes_with_keypoints() -> None:
    rows = np.zeros((1, 84, 11), np.float32)
    rows[0, 3] = [30, 20, 20, 10, 0.9, 22, 18, 0.8, 38, 24, 0.1]
    about = spec(decoder="boxes", transposed=True)
    (found,) = decode.read([rows], about, [(128, 64)])
    assert len(found) == 1 and found[0].label == "person"
    np.testing.assert_allclose(found.boxes, [[40, 30, 80, 50]])
    np.testing.assert_allclose(found.keypoints, [[[44, 36, 0.8], [76, 48, 0.1]]], rtol=1e-6)
    (again,) = decode.read([rows[..., :5], rows[..., 5:]], about, [(128, 64)])
    np.testing.assert_array_equal(again.keypoints, found.keypoints)


@pytest.mark.parametrize(("coding", "x"), [((2.0, 0.0), (2 * 0.25 + 1) * 16), ((1.0, 0.5), (0.25 + 1 + 0.5) * 16)])
def test_a_raw_head_is_decoded_by_cell_and_stride(coding: tuple[float, float], x: float) -> None:
    about = spec(decoder="dfl", strides=(16,), bins=1, scores="sigmoid", point_scores="sigmoid", point_coding=coding)
    head, points = np.full((1, 5, 16), -9, np.float32), np.zeros((1, 6, 16), np.float32)
    head[0, :, 5] = [1, 1, 1, 1, 4]  # the cell in column 1, row 1
    points[0, :, 5] = [0.25, 0.5, 0, -1, 0.75, 9]
    (found,) = decode.read([head, points], about, [(64, 64)])
    assert found.keypoints[0, 0, 0] == pytest.approx(x)
    assert found.keypoints[0, :, 2] == pytest.approx([0.5, 0.99988], abs=1e-4)


def test_blazefaces_points_are_relative_to_anchors() -> None:
    about = spec(decoder="blazeface", strides=(16, 32), per_cell=(2, 6), values="xy", scores="sigmoid", iou=0.3)
    boxes, scores = np.zeros((1, 56, 8), np.float32), np.full((1, 56, 1), -9, np.float32)
    boxes[0, 3] = [1, 2, 10, 20, -3, -4, 5, 6]  # the second anchor in column 1 of row 0, whose center is (24, 8)
    scores[0, 3] = 5
    (found,) = decode.read([boxes, scores], about, [(64, 64)])
    np.testing.assert_allclose(found.boxes, [[20, 0, 30, 20]])
    np.testing.assert_allclose(found.keypoints[0, :, :2], [[21, 4], [29, 14]])
    assert found.keypoints[0, :, 2].tolist() == [1, 1]


def test_a_model_with_one_object_answers_with_it_if_its_score_is_high_enough() -> None:
    about = spec(decoder="points", values="yxs", units="relative")
    output = np.array([[[[0.25, 0.5, 0.9], [0.5, 0.25, 0.3]]]], np.float32)
    (found,) = decode.read([output], about, [(64, 64)])
    np.testing.assert_allclose(found.keypoints[0], [[32, 16, 0.9], [16, 32, 0.3]], rtol=1e-6)
    np.testing.assert_allclose(found.boxes, [[16, 16, 32, 32]])
    assert found.scores[0] == pytest.approx(0.6)
    (none,) = decode.read([output], about, [(64, 64)], 0.7)
    assert len(none) == 0 and none.rows(0).shape == (0, 13)
    assert decode.rows([output], about, [(64, 64)], ["a"], 4).shape == (1, 13)


def test_an_answer_has_every_form() -> None:
    output = np.array([[[[0.25, 0.5, 0.9], [0.5, 0.25, 0.8]]]], np.float32)
    (found,) = decode.read([output], spec(decoder="points", values="yxs", units="relative"), [(64, 64)])
    assert json.loads(json.dumps(found.to_json()))["poses"][0]["label"] == "person"
    assert found.to_coco(7)[0]["image_id"] == 7 and len(found.to_coco(7)[0]["keypoints"]) == 6
    assert found.to_ultralytics()[0]["keypoints"]["x"] == [32, 16]
    assert "2 of 2 points" in "".join(p if isinstance(p, str) else p[1] for line in found.lines() for p in line)
    key_points = found.to_supervision()
    assert key_points.xy.shape == (1, 2, 2)
    image = Image.new("RGB", (64, 64), (128, 128, 128))
    assert (np.asarray(draw(image, found)) != np.asarray(image)).any()


def test_the_answer_on_a_crop_moves_to_the_photo() -> None:
    photo = Image.new("RGB", (200, 100))
    photo.putpixel((120, 40), (255, 0, 0))
    crop = cut(photo, (110, 20, 130, 60), scale=1.5)
    assert crop.image.size == (60, 60) and (crop.left, crop.top) == (90, 10)
    assert crop.image.getpixel((30, 30)) == (255, 0, 0)
    assert cut(photo, (110, 20, 130, 60), scale=1.0, ratio=None).image.size == (20, 40)
    output = np.array([[[[0.5, 0.5, 0.9], [0.5, 0.5, 0.8]]]], np.float32)
    about = spec(decoder="points", values="yxs", units="relative")
    (found,) = decode.read([output], about, [crop.image.size])
    assert found.moved(crop.left, crop.top).keypoints[0, 0, :2].tolist() == [120, 40]


@pytest.mark.parametrize(
    ("fields", "output", "says"),
    [
        ({"units": "pixels"}, [[0.1, 0.9, 0.5, 0.4, 0.2, 0.5]], 'units = "relative"'),
        ({"units": "relative"}, [[10, 40, 0.5, 30, 20, 0.5]], 'units = "pixels"'),
        ({"units": "pixels"}, [[10, 40, -3, 30, 20, 7]], 'point_scores = "sigmoid"'),
    ],
)
def test_a_description_that_does_not_fit_is_refused_with_the_one_that_does(
    fields: dict[str, str], output: list[list[float]], says: str
) -> None:
    about = spec(decoder="points", **fields)
    with pytest.raises(InvalidInput) as error:
        fit.require([np.array(output, np.float32)], about, "m.onnx", 1)
    assert says in error.value.fix


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"names": ("a",)}, "1 names, but 2 points"),
        ({"edges": ((0, 2),)}, "an edge names point 2"),
        ({"sigmas": (0.1, 0.0)}, "sigmas must be positive"),
        ({"classes": 3, "labels": ()}, "gives objects of one class"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        spec(decoder="points", **fields)
