"""Wherever an image is opened for a model whose training turned photos, a lying photo is its upright copy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgewright.bench import gallery
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.quantize.distillation import supervision
from edgewright.quantize.distillation.augment import Views
from edgewright.tasks.classify.spec import Classify
from edgewright.tasks.detect.answer import Detections
from edgewright.tasks.detect.draw import draw
from edgewright.tasks.detect.spec import Detect
from edgewright.vision import feeds, preprocess
from edgewright.vision.draw import save

SHOWN = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
SPEC = ModelSpec(
    name="m",
    inputs=(
        Input(
            height=16, width=16, preprocess=Preprocess(resize="letterbox", resize_to=(16, 16), interpolation="opencv")
        ),
    ),
    task=Detect(decoder="boxes", classes=2, labels=("ant", "bee")),
)


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """The upright photo, and as a phone stores it that is held on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(SHOWN).save(tmp_path / "upright.png")
    Image.fromarray(SHOWN).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    return [str(tmp_path / "upright.png"), str(tmp_path / "lying.png")]


def test_inputs_of_inference_and_calibration(photos: list[str]) -> None:
    upright, lying = preprocess.batch(photos, SPEC)
    np.testing.assert_array_equal(upright, lying)
    upright, lying = (feeds.one(Path(path), SPEC)[0] for path in photos)
    np.testing.assert_array_equal(upright, lying)


def test_views_of_a_training(photos: list[str]) -> None:
    views = Views(photos, SPEC)
    upright, lying = views.evaluation([0, 1])
    assert torch.equal(upright, lying)
    classes = ModelSpec(
        name="c",
        inputs=(
            Input(
                height=16,
                width=16,
                preprocess=Preprocess(resize="exact", resize_to=(16, 16), crop=(16, 16), exif="apply"),
            ),
        ),
        task=Classify(classes=2),
    )
    views = Views(photos, classes)
    upright, lying = (views.training([k], 0).pixels for k in (0, 1))
    assert torch.equal(upright, lying)


def test_boxes_of_a_training(photos: list[str]) -> None:
    upright, lying = (supervision._placed(path, [(1, 3.0, 4.0, 20.0, 12.0)], SPEC) for path in photos)
    assert torch.equal(upright, lying)


def test_what_is_drawn(photos: list[str], tmp_path: Path) -> None:
    rows = np.array([[0, 3, 4, 20, 12, 0.9, 1], [1, 3, 4, 20, 12, 0.9, 1]], np.float32)
    one, other = gallery.worst(rows, rows[:0], photos, SPEC)
    assert one.chosen == other.chosen
    found = Detections(rows[:1, 1:5], rows[:1, 5], rows[:1, 6].astype(np.int64), SPEC.labels)
    saved = save(draw, [Path(path) for path in photos], [found, found], tmp_path / "drawn", turn=True)
    upright, lying = (np.asarray(Image.open(path)) for path in saved.values())
    np.testing.assert_array_equal(upright, lying)
