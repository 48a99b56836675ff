"""Tiles cover every photo exactly once, and their results are those of the photo in one piece."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from edgewright.vision import tiles

SIDE = (12, 16)


def _blurred(pixels: np.ndarray) -> np.ndarray:
    """A network that sees one pixel around each, with zeros outside, and doubles the size."""
    wide = np.pad(pixels.astype(np.float32), ((1, 1), (1, 1), (0, 0)))
    mean = sum(wide[y : y + len(pixels), x : x + pixels.shape[1]] for y in range(3) for x in range(3)) / 9
    return np.asarray(mean).repeat(2, 0).repeat(2, 1)


@pytest.mark.parametrize("size", [(16, 12), (17, 13), (50, 31), (9, 40), (5, 7), (200, 12)])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_joined_tiles_are_the_result_of_the_photo(size: tuple[int, int], layout: str) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    places = tiles.tiles(size, SIDE, 4)
    parts = [_blurred(np.asarray(tiles.cut(photo, tile, SIDE))) for tile in places]
    if layout == "NCHW":
        parts = [part.transpose(2, 0, 1) for part in parts]
    found = tiles.joined(parts, places, size, SIDE, layout)[0]
    found = found.transpose(1, 2, 0) if layout == "NCHW" else found
    wanted = _blurred(photo)
    assert found.shape == wanted.shape
    whole = slice(None, -2 if size[0] < SIDE[1] or size[1] < SIDE[0] else None)  # a small photo is extended, not padded
    assert np.allclose(found[whole, whole], wanted[whole, whole], atol=1e-4)


def test_an_image_and_an_array_give_the_same_tiles() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 10, 3), np.uint8)
    for tile in tiles.tiles((10, 20), SIDE, 2):
        assert (np.asarray(tiles.cut(Image.fromarray(pixels), tile, SIDE)) == tiles.cut(pixels, tile, SIDE)).all()


def test_neighbors_share_at_least_the_overlap() -> None:
    lefts = sorted({tile.left for tile in tiles.tiles((100, 12), SIDE, 5)})
    assert lefts[0] == 0 and lefts[-1] == 84 and all(b - a <= 11 for a, b in pairwise(lefts))
