"""The images that a detector and its reference answer differently come first, with both answers drawn."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from boxes_sample import spec
from PIL import Image

from edgewright.bench import gallery
from edgewright.tasks.detect import report

REFERENCE = np.array([[0, 5, 5, 25, 25, 0.9, 0], [1, 5, 5, 25, 25, 0.8, 1], [2, 5, 5, 25, 25, 0.7, 0]], np.float32)


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    for name in "abc":
        Image.new("RGB", (40, 30), "white").save(tmp_path / f"{name}.png")
    return [str(tmp_path / f"{name}.png") for name in "abc"]


def test_disagreement_counts_lone_boxes_and_moved_scores() -> None:
    found = REFERENCE.copy()
    found[0, 5] = 0.6  # moved by 0.3
    found[1, 6] = 0  # another class: one box alone on each side
    assert report.disagreement(found, REFERENCE, 3, spec(2)) == pytest.approx([0.3, 1.6, 0.0])


def test_the_worst_come_first_and_equal_answers_are_left_out(paths: list[str]) -> None:
    found = REFERENCE[[0, 2]].copy()
    found[1, 5] = 0.6
    pairs = gallery.worst(found, REFERENCE, paths, spec(2))
    assert [pair.name for pair in pairs] == ["b.png", "c.png"]
    assert pairs[0].text == "1 boxes by the reference, 0 by the chosen one"
    left, right = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(p)))) for p in (pairs[0].reference, pairs[0].chosen)
    )
    assert (left < 200).any() and not (right < 200).any(), "only the reference has a box there"


def test_two_detectors_that_agree_give_no_pictures(paths: list[str]) -> None:
    assert gallery.worst(REFERENCE, REFERENCE, paths, spec(2)) == []
