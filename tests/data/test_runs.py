"""Run lengths mean the same pixels as in pycocotools, in both spellings, and turn with their image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgewright.data import runs

MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@given(MASKS)
def test_a_mask_survives_its_run_lengths_and_their_text(mask: np.ndarray) -> None:
    rle = runs.of_bits(mask)
    assert (runs.bits(rle) == mask).all() and runs.area(rle) == mask.sum()
    assert sum(rle.counts) == mask.size and all(rle.counts[1:])
    assert runs.decompressed(runs.compressed(rle.counts)) == rle.counts
    y, x = np.nonzero(mask)
    around = (x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1) if len(x) else None
    assert runs.around(rle) == around


@given(MASKS)
def test_run_lengths_are_those_of_the_library(mask: np.ndarray) -> None:
    library = pytest.importorskip("pycocotools.mask")
    theirs = library.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = theirs["counts"]
    text = text.decode() if isinstance(text, bytes) else text
    assert runs.compressed(runs.of_bits(mask).counts) == text and runs.decompressed(text) == runs.of_bits(mask).counts


@given(st.lists(st.integers(0, 1 << 40), max_size=8))
def test_long_counts_survive_their_text(counts: list[int]) -> None:
    assert runs.decompressed(runs.compressed(counts)) == tuple(counts)


@given(st.text(max_size=12))
def test_any_text_is_counts_or_a_named_error(text: str) -> None:
    try:
        found = runs.decompressed(text)
    except ValueError as error:
        assert str(error)
    else:
        assert all(count >= 0 for count in found)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_turns_as_its_image(orientation: int) -> None:
    from PIL import Image

    from edgewright.core import image_files

    mask = np.arange(12).reshape(3, 4) % 5 == 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(mask.astype(np.uint8))
    image.info["exif"] = exif.tobytes()
    assert (runs.bits(runs.turned(runs.of_bits(mask), orientation)) == np.asarray(image_files.upright(image))).all()
