"""Calibration and evaluation never share an image."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.core.store import Store
from edgewright.data.sets import ImageSet
from edgewright.pipeline import images
from edgewright.pipeline.images import findings, gather, has_labels, label, read_evaluation
from edgewright.pipeline.jobs import distill
from edgewright.pipeline.stages.runner import StageRunner
from edgewright.tasks.classify.spec import Classify
from edgewright.tasks.detect.spec import Detect

RUNNER = StageRunner(store=Store(Path("nothing-is-stored")))
STRICT = StageRunner(store=RUNNER.store, strict=True)


def test_splits_are_found_by_name(tiny: Path) -> None:
    found = gather(tiny / "images", None, None, 300, 0)
    assert (found.evaluation.split, found.calibration.split) == ("val", "calib")
    assert has_labels(found.evaluation)
    assert not set(found.evaluation.digests) & set(found.calibration.digests)


def test_one_split_is_divided(tiny: Path) -> None:
    found = gather(tiny / "images" / "val", None, None, 24, 0)
    assert len(found.calibration.items) == 24
    assert len(found.evaluation.items) == 96
    assert not set(found.evaluation.digests) & set(found.calibration.digests)


def test_a_calibration_folder_of_its_own_is_cut_to_what_is_asked(tiny: Path) -> None:
    found = gather(tiny / "images" / "val", None, tiny / "images" / "calib", 30, 0)
    assert (len(found.calibration.items), len(found.evaluation.items)) == (30, 120)


def test_a_shared_image_is_an_error_that_names_both_files(tiny: Path) -> None:
    shutil.copy(tiny / "images/val/red/003.png", tiny / "images/calib/blue/other.png")
    with pytest.raises(InvalidInput, match=r"003\.png.*other\.png|other\.png.*003\.png"):
        gather(tiny / "images", None, None, 300, 0)


def test_an_unknown_split_is_named(tiny: Path) -> None:
    with pytest.raises(InvalidInput, match="nosuch"):
        gather(tiny / "images", "nosuch", None, 300, 0)


# --- images that cannot be used ---------------------------------------------------------------------------------------


def codes(images: ImageSet) -> dict[str, tuple[str, int]]:
    return {one.code: (one.level, one.count) for one in images.remarks}


@pytest.mark.parametrize("content", ["empty", "truncated", "text", "sixteen bits", "folder of pixels"])
def test_one_bad_image_is_left_out_and_counted_and_strict_stops(tiny: Path, content: str) -> None:
    bad = sorted((tiny / "images/val/red").iterdir())[:2]
    for path in bad:
        whole = path.read_bytes()
        pixels = Image.fromarray(np.full((9, 9), 40_000, np.uint16))
        if content == "sixteen bits":
            pixels.save(path)
        elif content == "folder of pixels":
            Image.new("L", (1, 900)).save(path)
        else:
            path.write_bytes({"empty": b"", "truncated": whole[:70], "text": b"no image at all"}[content])
    found = gather(tiny / "images", None, None, 300, 0)
    assert len(found.evaluation.items) == 118
    assert codes(found.evaluation)["unreadable-images"] == ("warning", 2)
    (remark,) = found.evaluation.remarks
    assert remark.names == tuple(path.name for path in bad)
    assert remark.text.startswith(f"2 images cannot be read: left out. {bad[0].name} ")
    with pytest.raises(InvalidInput, match=rf"2 images of 'images' cannot be read: {bad[0].name}, {bad[1].name}\."):
        gather(tiny / "images", None, None, 300, 0, STRICT)


def test_a_set_without_one_good_image_is_an_error(tiny: Path) -> None:
    for path in (tiny / "images/val").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(InvalidInput, match=r"120 images of 'images' \(all of them\) cannot be read"):
        gather(tiny / "images", None, None, 300, 0)


def test_cmyk_is_converted_and_counted(tiny: Path) -> None:
    path = sorted((tiny / "images/val/red").iterdir())[0]
    Image.open(path).convert("CMYK").save(path.with_suffix(".jpg"))
    path.unlink()
    found = gather(tiny / "images", None, None, 300, 0)
    assert codes(found.evaluation) == {"cmyk-images": ("note", 1)}
    assert len(found.evaluation.items) == 120
    gather(tiny / "images", None, None, 300, 0, STRICT)


def test_a_bad_calibration_image_is_replaced_where_there_are_more(tiny: Path) -> None:
    first = gather(tiny / "images", None, None, 10, 0).calibration.items
    Path(first[0].path).write_bytes(b"")
    found = gather(tiny / "images", None, None, 10, 0)
    assert len(found.calibration.items) == 10
    assert codes(found.calibration) == {"unreadable-images": ("warning", 1)}
    with pytest.raises(InvalidInput, match="cannot be read"):
        gather(tiny / "images", None, None, 10, 0, STRICT)


# --- which split ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["valid", "Validation", "VAL", "dev", "val2017", "Test", "evaluation"])
def test_the_evaluation_split_is_found_by_any_name(tiny: Path, name: str) -> None:
    (tiny / "images/val").rename(tiny / "images" / name)
    (tiny / "images/calib").rename(tiny / "images/Training")
    found = gather(tiny / "images", None, None, 300, 0)
    assert (found.evaluation.split, found.calibration.split) == (name, "Training")


def test_training_images_are_never_measured_unasked(tiny: Path) -> None:
    (tiny / "images/val").rename(tiny / "images/train")
    with pytest.raises(InvalidInput, match=r"has the splits calib, train; none is for evaluation") as caught:
        gather(tiny / "images", None, None, 300, 0)
    assert "on training images only if you name them" in caught.value.why
    shutil.rmtree(tiny / "images/calib")
    with pytest.raises(InvalidInput, match=r"has the splits train; none is for evaluation"):
        gather(tiny / "images", None, None, 300, 0)
    assert gather(tiny / "images", "train", None, 30, 0).evaluation.items


def test_two_splits_of_one_meaning_are_asked_about(tiny: Path) -> None:
    shutil.copytree(tiny / "images/val", tiny / "images/valid")
    with pytest.raises(InvalidInput, match="several are for evaluation: val, valid"):
        gather(tiny / "images", None, None, 300, 0)
    shutil.rmtree(tiny / "images/valid")
    shutil.copytree(tiny / "images/calib", tiny / "images/calibration")
    with pytest.raises(InvalidInput, match="several splits for calib: calib, calibration"):
        gather(tiny / "images", None, None, 300, 0)


# --- photos that lie on their side ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("exif", "text"), [("apply", "They were turned"), ("ignore", "They were not turned")])
def test_an_orientation_is_a_finding_that_says_what_was_done(tiny: Path, exif: Any, text: str) -> None:
    tag = Image.Exif()
    for k, path in enumerate(sorted((tiny / "images/val").rglob("*.png"))[:5]):
        tag[0x0112] = k + 2
        Image.open(path).save(path, exif=tag)
    found = gather(tiny / "images", None, None, 300, 0)
    spec = ModelSpec(
        name="m",
        inputs=(Input(height=8, width=8, preprocess=Preprocess(exif=exif)),),
        task=Classify(classes=3, labels=("blue", "green", "red")),
    )
    (finding,) = findings(label(found.evaluation, spec))
    assert (finding.level, finding.code, finding.count) == ("note", "exif-orientation", 5)
    assert text in finding.text
    assert len(finding.names) == 3


def test_progress_is_reported_while_images_are_read(tiny: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    runner = StageRunner(
        store=RUNNER.store, watch=lambda stage, what, done, total, text: seen.append((what, done, total))
    )
    gather(tiny / "images", None, None, 30, 0, runner)
    assert ("images of val", 120, 120) in seen
    assert any(what.startswith("30 of ") for what, _, _ in seen)


def test_of_very_many_images_a_part_is_learned_from(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MOST_TRAINING_IMAGES", 20)
    evaluation, training = distill.gather(tiny / "images", None, None, 0)
    assert (len(evaluation.items), len(training.items)) == (120, 20)
    assert {item.label for item in training.items} == {0, 1, 2}


def detector(exif: Any = None) -> ModelSpec:
    how = Preprocess(resize="exact", resize_to=(8, 8), exif=exif)
    return ModelSpec(
        name="d",
        inputs=(Input(height=8, width=8, preprocess=how),),
        task=Detect(decoder="boxes", classes=1, labels=("thing",)),
    )


def coco(folder: Path, split: str, count: int, images: bool = True, exif: int = 1) -> Path:
    """A COCO download: annotations of a split, and its images where these were downloaded too."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / f"{split}2017").mkdir()
    tag = Image.Exif()
    tag[0x0112] = exif
    for k in range(count if images else 0):
        pixels = np.random.default_rng(k).integers(0, 256, (30, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{split}2017" / f"{split}{k}.png", exif=tag)
    content = {
        "images": [{"id": k, "file_name": f"{split}{k}.png", "width": 30, "height": 30} for k in range(count)],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [{"id": k, "image_id": k, "category_id": 1, "bbox": [1, 2, 9, 9]} for k in range(count)],
    }
    (folder / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))
    return folder


def test_a_split_whose_images_were_not_downloaded_is_left_out(tmp_path: Path) -> None:
    coco(coco(tmp_path, "val", 12), "train", 3, images=False)
    found = gather(tmp_path, None, None, 3, 0)
    assert (len(found.evaluation.items), len(found.calibration.items)) == (9, 3)
    assert codes(found.evaluation)["splits-left-out"] == ("warning", 1)
    evaluation, training = distill.gather(tmp_path, None, None, 0)
    assert codes(evaluation)["splits-left-out"] == ("warning", 1)
    assert len(training.items) + len(evaluation.items) == 12
    with pytest.raises(InvalidInput, match="splits-left-out"):
        gather(tmp_path, None, None, 3, 0, STRICT)
    named = coco(tmp_path / "other", "train", 3, images=False)
    with pytest.raises(InvalidInput, match=r"train0\.png"):  # what the user named is not replaced
        gather(tmp_path, None, named, 3, 0)


def test_boxes_turned_back_are_a_warning_that_strict_stops_at(tmp_path: Path) -> None:
    found = gather(coco(tmp_path, "val", 12, exif=6), None, None, 3, 0)
    assert codes(label(found.evaluation, detector("ignore")))["exif-orientation"] == ("warning", 9)
    with pytest.raises(InvalidInput, match="exif-orientation"):
        label(found.evaluation, detector("ignore"), STRICT)
    assert codes(label(found.evaluation, detector("apply"), STRICT))["exif-orientation"] == ("note", 9)


def test_a_set_of_boxes_in_a_folder_too_many_is_named(tmp_path: Path) -> None:
    coco(tmp_path / "outer" / "set", "val", 12)
    with pytest.raises(InvalidInput, match=r"set holds COCO annotations \(annotations/instances_\*\.json\)"):
        label(read_evaluation(tmp_path / "outer", None), detector())


def test_a_warning_is_shown_before_the_work(tiny: Path) -> None:
    seen: list[str] = []
    sorted((tiny / "images/val/red").iterdir())[0].write_bytes(b"")
    runner = StageRunner(store=RUNNER.store, watch=lambda stage, what, done, total, text: seen.append(text))
    gather(tiny / "images", None, None, 300, 0, runner)
    assert any(text.startswith("unreadable-images: 1 image cannot be read: left out.") for text in seen)
