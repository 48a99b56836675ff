"""Answers of segmentation: shares, runs, other formats, drawing, and errors."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.tasks.segment import decode, draw, runs
from edgewright.tasks.segment.answer import ClassMap
from edgewright.tasks.segment.spec import Segment

SPEC = ModelSpec(
    name="m",
    inputs=(Input(height=8, width=8, preprocess=Preprocess(resize="exact", resize_to=(8, 8))),),
    task=Segment(classes=3, labels=("background", "road", "car")),
)


def answer() -> ClassMap:
    """Half road, a quarter car."""
    classes = np.zeros((4, 8), np.uint8)
    classes[:2], classes[2:, :4] = 1, 2
    return ClassMap(lambda: classes, (8, 4), SPEC.labels)


def test_an_answer_has_the_share_of_each_class_and_its_runs() -> None:
    found = answer()
    assert [(one.label, one.share) for one in found.shares] == [("road", 0.5), ("background", 0.25), ("car", 0.25)]
    said = found.to_json()
    assert (said["width"], said["height"]) == (8, 4)
    assert said["runs"] == [1, 16, 2, 4, 0, 4, 2, 4, 0, 4]
    assert found.lines()[0] == (("bold", "3"), " classes")
    assert found.mask(2).sum() == 8


def test_the_map_is_computed_once_and_only_when_it_is_read() -> None:
    calls = []
    found = ClassMap(lambda: calls.append(1) or np.zeros((2, 2), np.uint8), (2, 2))  # type: ignore[func-returns-value]
    assert not calls
    found.finish()
    assert found.shares[0].share == 1 and len(calls) == 1


def test_other_formats_have_each_class() -> None:
    found = answer()
    assert found.to_ultralytics()[1] == {"name": "road", "class": 1, "pixel_ratio": 0.5}
    mask = pytest.importorskip("pycocotools.mask")
    (car,) = [row for row in found.to_coco(7) if row["category_id"] == 2]
    assert car["image_id"] == 7 and (mask.decode(car["segmentation"]) == found.mask(2)).all()
    detections = found.to_supervision()
    assert detections.xyxy[list(detections.class_id).index(2)].tolist() == [0, 2, 4, 4]


def test_runs_give_the_maps_back() -> None:
    random = np.random.default_rng(0)
    every = [random.integers(0, 3, (random.integers(2, 9), 7)).astype(np.uint8) for _ in range(4)]
    rows = np.concatenate([runs.encode(one, number) for number, one in enumerate(every)])
    assert all((a == b).all() for a, b in zip(runs.each(rows, 4), every, strict=True))
    assert runs.problem(rows, 3, 4) is None
    assert decode.check_rows(rows, SPEC, 4) is None


def test_a_long_run_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "LONGEST", 8)
    found = np.zeros((5, 5), np.uint8)
    found[4, 4] = 1
    rows = runs.encode(found, 0)
    assert rows[1:, 2].tolist() == [8, 8, 8, 1] and (runs.decode(rows) == found).all()


@pytest.mark.parametrize(
    "place, value", [((0, 1), 0), ((1, 1), 3), ((1, 2), 0.5), ((1, 2), np.nan), ((1, 0), 1), ((0, 2), 5)]
)
def test_rows_of_a_device_are_checked(place: tuple[int, int], value: float) -> None:
    rows = runs.encode(answer().classes, 0)
    rows[place] = value
    assert decode.check_rows(rows, SPEC, 1) is not None


def test_outputs_of_another_shape_are_refused() -> None:
    for shape in ((1, 4, 8, 8), (1, 3, 8), (2, 3, 8, 8), (1, 8, 8, 3)):
        with pytest.raises(InvalidInput, match="maps of shape"):
            decode.read([np.zeros(shape, np.float32)], SPEC, [(8, 8)])
    with pytest.raises(RuntimeFailed, match="NaN"):
        decode.read([np.full((1, 3, 8, 8), np.nan, np.float32)], SPEC, [(8, 8)])
    with pytest.raises(InvalidInput, match="score"):
        decode.threshold(SPEC, 0.5)


def test_further_outputs_do_not_matter() -> None:
    first, other = np.zeros((1, 3, 8, 8), np.float32), np.full((1, 7), np.nan, np.float32)
    first[0, 2] = 1
    (found,) = decode.read([first, other], SPEC, [(9, 5)])
    assert (found.classes == 2).all()


def test_a_class_has_one_color_and_the_background_none() -> None:
    image = Image.new("RGB", (80, 40), (10, 20, 30))
    classes = np.zeros((40, 80), np.uint8)
    classes[:, 60:] = 2
    drawn = np.asarray(draw.draw(image, ClassMap(lambda: classes, image.size, SPEC.labels)))
    assert drawn.shape == (40, 80, 3)
    assert (drawn[35, 20] == (10, 20, 30)).all()
    assert (drawn[35, 70] != (10, 20, 30)).any() and (drawn[35, 66] == drawn[30, 74]).all()
