"""Images read before the model is known get the labels of its task afterwards, and a digest of their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.data import pairs
from edgewright.pipeline import images as image_sets
from edgewright.pipeline.jobs import distill
from edgewright.tasks.classify.spec import Classify
from edgewright.tasks.detect.spec import Detect
from edgewright.tasks.landmarks.spec import Landmarks
from edgewright.tasks.restore.spec import Restore
from edgewright.tasks.segment.spec import Segment

SIZE = (12, 8)


def spec(task: object) -> ModelSpec:
    inputs = (Input(height=8, width=8, preprocess=Preprocess(resize="exact", resize_to=(8, 8))),)
    return ModelSpec(name="m", inputs=inputs, task=task)  # type: ignore[arg-type]


SEGMENT = spec(Segment(classes=3))


def photo(path: Path, size: tuple[int, int] = SIZE, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([seed, *path.name.encode()]).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)


def mask(path: Path, value: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((SIZE[1], SIZE[0]), value, np.uint8)).save(path)


def test_masks_are_read_when_the_model_is_known(tmp_path: Path) -> None:
    for k in range(8):
        photo(tmp_path / f"val/images/{k}.png")
        mask(tmp_path / f"val/masks/{k}.png")
    found = image_sets.gather(tmp_path, None, None, 4, 0)
    assert found.evaluation.unread and image_sets.has_labels(found.evaluation)
    assert len(found.evaluation.items) == 6 and image_sets.truth(found.evaluation) is None
    labeled = image_sets.label(found.evaluation, SEGMENT)
    assert labeled.paths == found.evaluation.paths and (pairs.class_map(labeled.items[0]) == 1).all()
    before = image_sets.truth(labeled)
    mask(tmp_path / f"val/masks/{Path(labeled.paths[0]).stem}.png", 2)
    again = image_sets.label(image_sets.gather(tmp_path, None, None, 4, 0).evaluation, SEGMENT)
    assert before and image_sets.truth(again) not in (None, before), "the digest is of the files' content"
    with pytest.raises(InvalidInput, match="but the model needs classes or boxes"):
        image_sets.label(found.evaluation, spec(Detect(decoder="boxes", classes=1)))


def test_vocs_images_without_a_mask_are_left_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        photo(tmp_path / f"JPEGImages/{name}.jpg")
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / f"Annotations/{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
            "<xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>"
        )
    mask(tmp_path / "SegmentationClass/b.png")
    for kind, names in (("Main", "a\nb\n"), ("Segmentation", "b\n")):
        (tmp_path / "ImageSets" / kind).mkdir(parents=True)
        (tmp_path / "ImageSets" / kind / "val.txt").write_text(names)
    evaluation = image_sets.read_evaluation(tmp_path, None)
    assert len(evaluation.items) == 2 and evaluation.items[0].boxes
    known = spec(Segment(classes=21))
    found = image_sets.label(evaluation, known)
    assert [Path(path).name for path in found.paths] == ["b.jpg"]
    assert "images-left-out" in [one.code for one in found.remarks]


def test_folders_of_low_and_high_images_are_classes_or_pairs(tmp_path: Path) -> None:
    for k in range(4):
        photo(tmp_path / f"val/low/{k}.png", seed=1)
        photo(tmp_path / f"val/high/{k}.png", (24, 16), seed=2)
    evaluation = image_sets.read_evaluation(tmp_path, None)
    assert len(evaluation.items) == 8
    classes = image_sets.label(evaluation, spec(Classify(classes=2)))
    assert {item.label for item in classes.items} == {0, 1}
    restored = image_sets.label(evaluation, spec(Restore(scale=2)))
    assert [Path(path).parent.name for path in restored.paths] == ["low"] * 4 and restored.items[0].pair
    with pytest.raises(InvalidInput, match=r"has 2 times the size .*the scale of 'm' is 4"):
        image_sets.label(evaluation, spec(Restore(scale=4)))


def test_objects_are_cut_out_for_a_model_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    photo(tmp_path / "data/a.png", (40, 30))
    (tmp_path / "data/list_2pt_landmarks.txt").write_text("10 10 20 12 a.png\n5 5 9 9 a.png\n")
    evaluation = image_sets.read_evaluation(tmp_path / "data", None)
    assert len(evaluation.items) == 1
    with pytest.raises(InvalidInput, match="has 2 objects with keypoints"):
        image_sets.label(evaluation, spec(Landmarks(points=2)))
    found = image_sets.label(evaluation, spec(Landmarks(points=2, crop=2.0)))
    assert len(found.items) == 2 and found.items[0].path.startswith(str(tmp_path / "cache"))
    (box,) = found.items[0].boxes or ()
    assert box.keypoints == ((5, 9, 2), (15, 11, 2)), "a square of 20 pixels around the box"


def test_a_student_learns_masks_from_its_teacher_only(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.png")
    mask(tmp_path / "masks/a.png")
    training = image_sets.read_evaluation(tmp_path, None)
    with pytest.raises(InvalidInput, match="The task segment has no training on labels"):
        distill._labelled(training, SEGMENT, True)
    (item,) = distill._labelled(training, SEGMENT, None).items
    assert item.boxes is item.label is None
