"""Calibration and evaluation never share an image."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgewright.core.errors import InvalidInput
from edgewright.pipeline.images import gather, labelled


def test_splits_are_found_by_name(tiny: Path) -> None:
    found = gather(tiny / "images", None, None, 300, 0)
    assert (found.evaluation.split, found.calibration.split) == ("val", "calib")
    assert labelled(found.evaluation)
    assert not set(found.evaluation_digests) & set(found.calibration_digests)


def test_one_split_is_divided(tiny: Path) -> None:
    found = gather(tiny / "images" / "val", None, None, 24, 0)
    assert len(found.calibration.items) == 24
    assert len(found.evaluation.items) == 96
    assert not set(found.evaluation_digests) & set(found.calibration_digests)


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
