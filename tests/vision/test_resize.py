"""The numpy resize gives OpenCV's pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.vision import resize
from edgewright.vision.resize import bilinear, numpy_bilinear

cv2 = pytest.importorskip("cv2")


def noise(width: int, height: int, *tail: int) -> np.ndarray:
    return np.random.default_rng(width * 977 + height).integers(0, 256, (height, width, *tail), dtype=np.uint8)


def assert_same(pixels: np.ndarray, width: int, height: int) -> None:
    theirs = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    theirs = theirs.reshape(height, width, *pixels.shape[2:])
    np.testing.assert_array_equal(numpy_bilinear(pixels, width, height), theirs)


@settings(max_examples=300, deadline=None)
@given(
    old=st.tuples(st.integers(1, 300), st.integers(1, 300)), new=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    tail=st.sampled_from([(3,), (), (1,)]),
)  # fmt: skip
def test_equals_opencv_at_any_size(old: tuple[int, int], new: tuple[int, int], tail: tuple[int, ...]) -> None:
    assert_same(noise(*old, *tail), *new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((1280, 720), (640, 360)), ((1280, 720), (416, 234)), ((1281, 719), (640, 359)), ((1920, 1080), (640, 360)),
        ((640, 427), (320, 214)), ((500, 375), (640, 480)), ((320, 240), (640, 480)), ((640, 480), (640, 240)),
        ((2, 200), (6, 640)), ((1, 1), (7, 5)), ((810, 1080), (480, 640)),
    ],
)  # fmt: skip
def test_equals_opencv_on_the_sizes_of_cameras_and_models(old: tuple[int, int], new: tuple[int, int]) -> None:
    assert_same(noise(*old, 3), *new)


def test_without_opencv_the_pixels_stay_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(301, 203, 3)
    with_opencv = bilinear(pixels, 130, 90)
    monkeypatch.setattr(resize, "_opencv", lambda: None)
    np.testing.assert_array_equal(bilinear(pixels, 130, 90), with_opencv)


def test_the_same_size_keeps_the_pixels() -> None:
    pixels = noise(9, 7, 3)
    assert bilinear(pixels, 9, 7) is pixels
