"""Class maps at the size of a photo equal those of torch, which scales every map first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.tasks.segment import decode, maps
from edgewright.tasks.segment.spec import Segment


def spec(classes: int, side: int = 64, resize: str = "exact", **section: Any) -> ModelSpec:
    """A model with a square input of `side`."""
    how = Preprocess(resize=resize, resize_to=(side, side), interpolation="opencv")
    image = Input(height=side, width=side, preprocess=how)
    return ModelSpec(name="m", inputs=(image,), task=Segment(classes=classes, **section))


def smooth(classes: int, side: int, seed: int = 0) -> np.ndarray:
    """Maps with regions of a few cells, and some noise."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, classes, 5, 5, generator=random) * 4
    fine = F.interpolate(coarse, (side, side), mode="bicubic")
    return np.asarray((fine + 0.2 * torch.randn(fine.shape, generator=random)).numpy(), np.float32)


def scaled(array: np.ndarray, size: tuple[int, int], aligned: bool = False) -> np.ndarray:
    """The maps as torch scales them to (width, height) `size`."""
    found = F.interpolate(torch.from_numpy(array), size[::-1], mode="bilinear", align_corners=aligned)
    return np.asarray(found[0].numpy())


def same(found: np.ndarray, values: np.ndarray) -> bool:
    """Whether `found` is the class with the highest of `values`, or within rounding of it."""
    chosen = np.take_along_axis(values, found[None].astype(np.int64), axis=0)[0]
    return bool((values.max(axis=0) - chosen < 1e-4).all())


@pytest.mark.parametrize("size", [(64, 64), (200, 150), (37, 90), (16, 16)])
@pytest.mark.parametrize("classes", [2, 5, 21])
@pytest.mark.parametrize("noise", [False, True])
def test_scaling_and_choosing_equal_torch(size: tuple[int, int], classes: int, noise: bool) -> None:
    array = smooth(classes, 16)
    if noise:
        array = np.random.default_rng(1).normal(size=array.shape).astype(np.float32)
    found = decode.classes(array[0], spec(classes), size)
    assert found.shape == size[::-1] and found.dtype == np.uint8
    assert same(found, scaled(array, size))


def test_aligned_corners_equal_torch_up_to_the_last_half_pixel() -> None:
    array = smooth(5, 17)
    found = decode.classes(
        array[0],
        spec(
            5,
            65,
            resize="exact",
        ),
        (65, 65),
    )
    assert same(found, scaled(array, (65, 65)))
    aligned = spec(5, 65, scores="softmax").with_task(resize="corners")
    assert same(decode.classes(array[0], aligned, (65, 65)), scaled(array, (65, 65), aligned=True))


def test_channels_last_gives_the_same_classes() -> None:
    array = smooth(7, 16)
    about = spec(7)
    last = np.ascontiguousarray(array.transpose(0, 2, 3, 1))
    (first,) = decode.read([array], about, [(90, 70)])
    (second,) = decode.read([last], about.with_task(layout="NHWC"), [(90, 70)])
    assert (first.classes == second.classes).all()


def test_equal_maps_give_the_first_class() -> None:
    assert (decode.classes(np.zeros((4, 8, 8), np.float32), spec(4), (30, 20)) == 0).all()


def test_more_than_256_classes_have_16_bits() -> None:
    array = np.zeros((300, 8, 8), np.float32)
    array[299, :, 4:] = 1
    found = decode.classes(array, spec(300), (8, 8))
    assert found.dtype == np.uint16 and set(np.unique(found)) == {0, 299}


def test_margins_of_a_letterbox_are_cut_off() -> None:
    array = np.zeros((1, 3, 64, 64), np.float32)
    array[0, 1, 16:48] = 5  # the photo, 2:1
    array[0, 2, :16] = array[0, 2, 48:] = 5  # the margins
    (found,) = decode.read([array], spec(3, resize="letterbox"), [(128, 64)])
    assert found.classes.shape == (64, 128) and (found.classes == 1).all()


@pytest.mark.parametrize("rule", ["none", "sigmoid"])
def test_one_map_is_the_foreground_above_the_threshold(rule: str) -> None:
    array = smooth(1, 16)
    values = array if rule == "sigmoid" else 1 / (1 + np.exp(-array))
    about = spec(2, scores=rule, threshold=0.7)
    found = decode.classes(values[0], about, (100, 80))
    level = float(np.log(0.7 / 0.3)) if rule == "sigmoid" else 0.7
    wanted = scaled(values.astype(np.float32), (100, 80))[0]
    assert ((found == 1) == (wanted > level))[np.abs(wanted - level) > 1e-5].all()


def test_rescaled_maps_use_their_own_range() -> None:
    array = smooth(1, 16)
    about = spec(2, scores="none", rescale=True)
    shifted = decode.classes(array[0] * 0.01 + 3, about, (16, 16))
    assert (shifted == decode.classes(array[0], about, (16, 16))).all()
    middle = (array.max() + array.min()) / 2
    assert (shifted == (array[0, 0] > middle)).mean() > 0.99


def test_classes_of_an_argmax_are_scaled_without_mixing() -> None:
    array = np.array([[[0, 3], [1, 2]]], np.int64)
    (found,) = decode.read([array], spec(4, scores="classes"), [(40, 20)])
    assert [found.classes[y, x] for y, x in ((0, 0), (0, 39), (19, 0), (19, 39))] == [0, 3, 1, 2]
    assert set(np.unique(found.classes)) == {0, 1, 2, 3}


def test_the_choice_of_the_highest_map_equals_argmax() -> None:
    array = np.random.default_rng(0).integers(0, 4, (9, 50, 70)).astype(np.float32)
    assert (maps.highest(array) == array.argmax(axis=0)).all()
    last = np.ascontiguousarray(array.transpose(1, 2, 0)).transpose(2, 0, 1)
    assert (maps.highest(last) == array.argmax(axis=0)).all()
