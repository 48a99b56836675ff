"""Polygons become the pixels of pycocotools, and pixels become outlines that enclose exactly them."""

from __future__ import annotations

import numpy as np
import pytest

from edgewright.vision import masks


@pytest.mark.parametrize("whole", [False, True])
def test_the_pixels_of_a_polygon_are_those_of_pycocotools(whole: bool) -> None:
    from pycocotools import mask

    random = np.random.default_rng(0)
    for _ in range(300):
        height, width = (int(side) for side in random.integers(5, 60, 2))
        points = random.uniform(-10, 70, (int(random.integers(3, 12)), 2))
        polygon = (np.round(points) if whole else points).ravel().tolist()
        wanted = mask.decode(mask.frPyObjects([polygon], height, width))[..., 0]
        np.testing.assert_array_equal(masks.polygon_bits([polygon], height, width), wanted.astype(bool))


def test_an_outline_encloses_the_pixels_of_each_connected_part() -> None:
    from scipy import ndimage

    random = np.random.default_rng(0)
    for _ in range(100):
        mask = random.random(random.integers(1, 20, 2)) > 0.5
        parts, count = ndimage.label(mask)
        filled = [ndimage.binary_fill_holes(parts == k + 1, np.ones((3, 3))).sum() for k in range(count)]
        areas = []
        for outline in masks.polygons(mask, top=3, left=5):
            x, y = (outline - [5, 3]).T
            areas.append(float(x @ np.roll(y, -1) - np.roll(x, -1) @ y) / 2)
        assert sorted(areas) == sorted(filled) and areas == sorted(areas, reverse=True)
    assert masks.polygons(np.zeros((4, 4), bool)) == []


def test_an_outline_has_only_corners_and_becomes_the_same_mask_again() -> None:
    mask = np.zeros((12, 15), bool)
    mask[3:9, 4:11] = True
    (outline,) = masks.polygons(mask)
    assert sorted(map(tuple, outline.tolist())) == [(4, 3), (4, 9), (11, 3), (11, 9)]
    np.testing.assert_array_equal(masks.polygon_bits([outline.ravel()], 12, 15), mask)
