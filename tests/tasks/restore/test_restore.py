"""Restored images: their pixels, their scores, their drifts, and inputs that are computed from photos."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import Input, ModelSpec, Preprocess, inconsistency
from edgewright.data.sets import ImageSet, Item
from edgewright.tasks.restore import decode, fit, metric, protect, quality, report, truth
from edgewright.tasks.restore.spec import Restore
from edgewright.tasks.scores import unpack


def spec(**restore: Any) -> ModelSpec:
    inputs = (Input(height=16, width=16, preprocess=Preprocess(resize="tiles")),)
    return ModelSpec(name="r", inputs=inputs, task=Restore(**{"scale": 2, "overlap": 4, **restore}))


def waves(height: int, width: int, shift: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    gray = 128 + 60 * np.sin((x - shift) / 4) + 50 * np.cos(y / 5)
    return np.rint(gray).astype(np.uint8)[..., None].repeat(3, 2)


def rows(*images: np.ndarray) -> np.ndarray:
    return np.concatenate([decode.packed(one) for one in images])


def test_outputs_become_pixels_of_the_described_range_and_order() -> None:
    values = np.zeros((1, 3, 32, 32), np.float32)
    values[0, 0], values[0, 1], values[0, 2] = -0.5, 0.5, 2
    for color, wanted in (("RGB", [0, 128, 255]), ("BGR", [255, 128, 0])):
        (found,) = decode.read([values], spec(color=color), [(16, 16)])
        assert found.pixels[3, 4].tolist() == wanted and found.size == (32, 32)
    (found,) = decode.read([values * 510 - 255], spec(black=-255.0, white=255.0), [(16, 16)])
    assert found.pixels[0, 0].tolist() == [0, 128, 255]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(found.files()[".png"]))), found.pixels)
    (gray,) = decode.read([values[:, 1:2]], spec(color="L"), [(16, 16)])
    assert gray.pixels.shape == (32, 32, 3) and (gray.pixels == 128).all()


def test_rows_keep_images_of_any_size_and_are_checked() -> None:
    images = [waves(40, 70), waves(5, 3), waves(64, 64)]
    packed = rows(*images)
    assert packed.shape[1] == decode.WIDTH
    assert all(np.array_equal(a, b) for a, b in zip(decode.unpacked(packed), images, strict=True))
    assert np.array_equal(next(decode.unpacked(metric.chosen(packed, [2]))), images[2])
    assert decode.check_rows(packed, spec(), 3) is None
    broken = packed.copy()
    broken[0, :8] = 255
    assert decode.check_rows(packed, spec(), 2) and decode.check_rows(broken, spec(), 3)


def test_psnr_and_ssim_are_those_of_a_plain_loop() -> None:
    random = np.random.default_rng(0)
    a = quality.luminance(waves(20, 24))
    b = a + random.normal(0, 5, a.shape)
    error = sum((a[y, x] - b[y, x]) ** 2 for y in range(20) for x in range(24)) / (20 * 24)
    assert quality.psnr(b, a) == pytest.approx(10 * np.log10(255**2 / error), abs=1e-9)
    kernel = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(kernel, kernel) / kernel.sum() ** 2
    found = []
    for y in range(10):
        for x in range(14):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            both = (window * (p - mp) * (q - mq)).sum()
            c1, c2 = 2.55**2, 7.65**2
            found.append((2 * mp * mq + c1) * (2 * both + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    assert quality.ssim(b, a) == pytest.approx(np.mean(found), abs=1e-9)
    assert quality.psnr(a, a) == quality.SAME and quality.ssim(a, a) == pytest.approx(1)
    red = quality.luminance(np.array([[[255, 0, 0]]], np.uint8))
    assert red[0, 0] == pytest.approx(81.481)


def test_inputs_are_computed_from_photos_and_scored_against_them(tmp_path: Path) -> None:
    for k in range(3):
        Image.fromarray(waves(41, 35, k)).save(tmp_path / f"{k}.png")
    items = tuple(Item(str(tmp_path / f"{k}.png"), None) for k in range(3))
    found = truth.derived(ImageSet(name="s", split="", items=items, classes=()), spec())
    small = [Image.open(path) for path in found.paths]
    assert [image.size for image in small] == [(17, 20)] * 3 and [item.pair for item in found.items] == [
        i.path for i in items
    ]
    whole = Image.fromarray(waves(41, 35)).crop((0, 0, 34, 40))
    assert np.array_equal(np.asarray(small[0]), np.asarray(whole.resize((17, 20), Image.Resampling.BICUBIC)))
    large = [np.asarray(image.resize((34, 40), Image.Resampling.BICUBIC)) for image in small]
    accuracy = metric.compare(rows(*large), rows(*large), found.items, spec())
    ours = quality.psnr(*(quality.luminance(one[2:-2, 2:-2]) for one in (large[0], waves(41, 35)[:40, :34])))
    assert unpack(accuracy.contributions or "")[0] == pytest.approx(ours, abs=1e-4)
    delta = accuracy.scores["psnr"].delta
    assert delta is not None and delta.value == 0 and accuracy.agreement == 100


def test_noise_is_seeded_by_the_image() -> None:
    photo = Image.fromarray(waves(32, 32))
    section = Restore(degrade="noise", sigma=10.0)
    one, same, other = (np.asarray(truth.degraded(photo, section, name)) for name in ("a", "a", "b"))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert 8 < (one.astype(float) - np.asarray(photo)).std() < 12


def test_a_darker_and_a_shifted_image_are_drifts() -> None:
    reference = waves(64, 64)
    darker, moved = (reference * 0.9).astype(np.uint8), waves(64, 64, 1)
    same, dark, aside = (
        {one.code: one for one in metric.drifts(rows(found), rows(reference), spec())}
        for found in (reference, darker, moved)
    )
    assert all(drift.value <= drift.limits[0] for drift in same.values())
    assert dark["scale"].value > dark["scale"].limits[1]
    assert aside["offset"].value == pytest.approx(1, abs=0.1) and aside["offset"].value > aside["offset"].limits[1]


def test_outputs_that_are_no_image_are_refused() -> None:
    with pytest.raises(InvalidInput, match="3 channels"):
        decode.read([np.zeros((1, 2, 32, 32), np.float32)], spec(), [(16, 16)])
    with pytest.raises(InvalidInput, match="scale is 2"):
        fit.require([np.zeros((1, 3, 16, 16), np.float32)], spec(), "m", 1)
    with pytest.raises(InvalidInput, match="white = 1"):
        fit.require([np.full((1, 3, 32, 32), 200, np.float32)], spec(), "m", 1)
    with pytest.raises(RuntimeFailed, match="NaN"):
        decode.rows([np.full((1, 3, 32, 32), np.nan, np.float32)], spec(), [(16, 16)], ["a"], 0)
    assert "tiles" in inconsistency(spec(overlap=16))


def test_the_first_and_the_last_layers_stay_in_float() -> None:
    node, info = helper.make_node, helper.make_tensor_value_info
    weights = [numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), name) for name in "abc"]
    nodes = [
        node("Conv", ["x", "a"], ["p"], "first"), node("Conv", ["p", "b"], ["q"], "middle"),
        node("Conv", ["q", "c"], ["r"], "last"), node("Add", ["r", "p"], ["y"], "sum"),
    ]  # fmt: skip
    shape = [1, 1, 4, 4]
    graph = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, shape)], [info("y", TensorProto.FLOAT, shape)], weights
    )
    model: onnx.ModelProto = helper.make_model(graph)
    assert sorted(protect.nodes(model)) == ["first", "last", "sum"]


def test_the_gallery_shows_the_part_that_differs_most() -> None:
    one = np.tile(waves(64, 64), (4, 4, 1))
    other = one.copy()
    other[130:150, 200:220] = 0
    gaps = report.disagreement(rows(other, one), rows(one, one), 2, spec())
    assert gaps[0] > 0 and gaps[1] == 0
    first, second = report.pictures(rows(one), rows(other), 520, spec())
    assert first.size == second.size == (5 * report.PART, 5 * report.PART)
    assert (np.asarray(first) != np.asarray(second)).sum() == 3 * 25 * (other != one)[..., 0].sum()
    assert "gray levels" in report.caption(rows(one), rows(other), spec())


def test_the_loss_of_training_is_zero_for_equal_images() -> None:
    from edgewright.tasks.restore import training

    image = torch.rand(2, 3, 8, 8)
    assert float(training.distillation([image], [image], spec(), 1.0)) == 0
    assert float(training.distillation([image], [image + 0.01], spec(), 1.0)) == pytest.approx(1, rel=1e-3)
