"""Depth maps: their place on the photo, their scores, their drifts, and what stays in float."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.data.sets import Item
from edgewright.tasks.depth import decode, draw, fit, metric, protect, report
from edgewright.tasks.depth.spec import Depth
from edgewright.tasks.scores import unpack
from edgewright.vision.enlarge import Method, resized

SIDE = 32


def spec(resize: Any = "exact", **depth: Any) -> ModelSpec:
    preprocess = Preprocess(resize=resize, resize_to=(SIDE, SIDE))
    section = Depth(**{"unit": "m", **depth})
    return ModelSpec(name="d", inputs=(Input(height=SIDE, width=SIDE, preprocess=preprocess),), task=section)


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """Photos of 40 x 24 pixels with true depths; the last one has too few of them."""
    random, found = np.random.default_rng(0), []
    for k in range(5):
        depth = random.uniform(0.5, 90, (24, 40)).astype(np.float32)
        depth[random.random(depth.shape) < (0.2 if k < 4 else 0.995)] = 0
        np.save(tmp_path / f"{k}.npy", depth)
        found.append(Item(str(tmp_path / f"{k}.png"), None, pair=str(tmp_path / f"{k}.npy")))
    return found


def rows(maps: list[np.ndarray], s: ModelSpec) -> np.ndarray:
    return np.concatenate([decode.rows([one[None, None]], s, [(40, 24)], ["a"], 0) for one in maps])


def noisy(items: list[Item], factor: float = 1.0) -> list[np.ndarray]:
    """Maps of 24 x 40 values, as near as possible to the truth."""
    random = np.random.default_rng(1)
    return [
        (np.load(str(item.pair)) * random.uniform(0.7, 1.4, (24, 40)) * factor + 0.1).astype(np.float32)
        for item in items
    ]


@pytest.mark.parametrize("method", ["bilinear", "bicubic", "corners"])
def test_maps_are_enlarged_as_by_torch(method: Method) -> None:
    values = np.random.default_rng(0).normal(size=(9, 13)).astype(np.float32)
    mode, corners = ("bicubic", False) if method == "bicubic" else ("bilinear", method == "corners")
    wanted = F.interpolate(torch.from_numpy(values)[None, None], size=(50, 31), mode=mode, align_corners=corners)
    assert np.allclose(resized(values, 50, 31, method), wanted[0, 0].numpy(), atol=1e-5)


@pytest.mark.parametrize("align", ["none", "median"])
def test_scores_are_those_of_ultralytics(items: list[Item], align: str) -> None:
    from ultralytics.utils.metrics import DepthMetrics

    large = spec(align=align).with_input(height=24, width=40, preprocess=Preprocess(resize="none"))
    maps, theirs = noisy(items, 1.2), DepthMetrics(max_depth=80.0, align=align)
    for one, item in zip(maps, items):
        theirs.update_stats(torch.from_numpy(one)[None], torch.from_numpy(np.load(str(item.pair)))[None])
    theirs.process()
    ours = metric.score(rows(maps, large), items, large).scores
    wanted = theirs.results_dict
    assert ours["delta1"].value == pytest.approx(100 * wanted["metrics/delta1"], abs=1e-4)
    assert ours["abs_rel"].value == pytest.approx(100 * wanted["metrics/abs_rel"], rel=1e-4)
    assert ours["rmse"].value == pytest.approx(wanted["metrics/rmse"], rel=1e-4)
    assert ours["silog"].value == pytest.approx(wanted["metrics/silog"], rel=1e-4)


def test_a_relative_disparity_is_fitted_in_disparity_first(items: list[Item]) -> None:
    s = spec(unit="relative", values="disparity").with_input(height=24, width=40, preprocess=Preprocess(resize="none"))
    exact = [3 * (1 / np.maximum(np.load(str(item.pair)), 0.5)) + 7 for item in items]
    assert metric.score(rows(exact, s), items, s).score == pytest.approx(100)


def test_the_difference_is_paired_and_too_few_pixels_are_skipped(items: list[Item]) -> None:
    s = spec().with_input(height=24, width=40, preprocess=Preprocess(resize="none"))
    ours, theirs = rows(noisy(items, 1.4), s), rows(noisy(items), s)
    found = metric.compare(ours, theirs, items, s)
    delta = found.scores["delta1"].delta
    assert delta is not None and delta.low <= delta.value <= delta.high < 0
    assert len(unpack(found.contributions or "")) == 4


def test_a_scaled_and_a_shifted_map_are_drifts() -> None:
    s = spec(values="log")
    y, x = np.mgrid[:16, :16]
    smooth = np.sin(x / 3) + np.cos(y / 4).astype(np.float32)
    scaled, shifted = smooth + np.log(1.2), np.sin((x - 2) / 3) + np.cos(y / 4)
    reference = rows([smooth.astype(np.float32)], s)
    same, factor, moved = (
        {one.code: one for one in metric.drifts(rows([found.astype(np.float32)], s), reference, s)}
        for found in (smooth, scaled, shifted)
    )
    assert all(drift.value <= drift.limits[0] for drift in same.values())
    assert factor["scale"].value == pytest.approx(0.2, abs=1e-3) and factor["scale"].value > factor["scale"].limits[1]
    assert moved["offset"].value == pytest.approx(4, abs=0.8)  # two pixels of a map of half the size


@pytest.mark.parametrize("resize", ["exact", "letterbox"])
def test_a_map_is_where_the_photo_is(resize: str) -> None:
    s = spec(resize)
    across = np.tile(np.arange(16, dtype=np.float32) + 1, (16, 1))
    (found,) = decode.read([across[None, None]], s, [(64, 32)])
    assert found.depth.shape == (32, 64) and found.unit == "m"
    assert found.depth[0, 0] == pytest.approx(1, abs=0.3) and found.depth[-1, -1] == pytest.approx(16, abs=0.3)
    content = found.files()
    assert np.array_equal(np.load(io.BytesIO(content[".npy"])), found.depth)
    millimeters = np.asarray(Image.open(io.BytesIO(content[".png"])))
    assert millimeters.dtype == np.uint16 and np.abs(millimeters / 1000 - found.depth).max() < 6e-4


def test_pixels_outside_a_crop_have_no_depth() -> None:
    preprocess = Preprocess(resize="shorter", resize_to=(SIDE, SIDE), crop=(SIDE, SIDE))
    s = spec().with_input(preprocess=preprocess)
    (found,) = decode.read([np.ones((1, 16, 16), np.float32)], s, [(96, 32)])
    assert np.isnan(found.depth[:, :31]).all() and (found.depth[:, 33:63] == 1).all()
    assert found.summary() == (1, 1, 1) and draw.draw(Image.new("RGB", (96, 32)), found).size == (96, 32)


def test_a_meter_model_with_disparities_gives_depth_and_a_relative_one_gives_disparity() -> None:
    for unit, wanted in (("m", 0.5), ("relative", 2.0)):
        (found,) = decode.read([np.full((1, 1, 8, 8), 2, np.float32)], spec(values="disparity", unit=unit), [(20, 10)])
        assert (found.depth == wanted).all() and found.inverse == (unit == "relative")


def test_outputs_that_are_no_depth_are_refused() -> None:
    with pytest.raises(InvalidInput, match="one output"):
        decode.read([np.ones((1, 2, 8, 8), np.float32)], spec(), [(8, 8)])
    with pytest.raises(InvalidInput, match='values = "disparity"'):
        fit.require([np.full((1, 1, 8, 8), -1, np.float32)], spec(values="disparity"), "m", 1)
    with pytest.raises(RuntimeFailed, match=r"a\.png"):
        decode.rows([np.full((1, 1, 8, 8), np.nan, np.float32)], spec(), [(8, 8)], ["a.png"], 0)
    with pytest.raises(InvalidInput, match="no score"):
        decode.threshold(spec(), 0.5)


def test_rows_from_elsewhere_are_checked() -> None:
    s, good = spec(), rows([np.ones((8, 8), np.float32)] * 2, spec())
    assert decode.check_rows(good, s, 2) is None
    for bad in (good[:1], good[:, :-1], np.where(good == 8, 7, good), good * np.nan):
        assert decode.check_rows(bad, s, 2)


def test_the_end_of_the_graph_stays_in_float() -> None:
    node, info = helper.make_node, helper.make_tensor_value_info
    weights = [numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), name) for name in ("a", "b")]
    nodes = [
        node("Conv", ["x", "a"], ["y"], "first"),
        node("Conv", ["y", "b"], ["z"], "last"),
        node("Exp", ["z"], ["d"], "exp"),
    ]
    shape = [1, 1, 4, 4]
    graph = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, shape)], [info("d", TensorProto.FLOAT, shape)], weights
    )
    model: onnx.ModelProto = helper.make_model(graph)
    assert protect.nodes(model) == ["last", "exp"] and protect.score_layers(model, spec()) == []


def test_the_gallery_shows_maps_that_differ() -> None:
    s = spec()
    one = np.arange(64, dtype=np.float32).reshape(8, 8) + 1
    reference, found = rows([one, one], s), rows([one, one * 1.5], s)
    gaps = report.disagreement(found, reference, 2, s)
    assert gaps[0] == 0 and gaps[1] > 0.1
    assert report.picture(Image.new("RGB", (20, 12)), metric.chosen(found, [1]), 0.5, s).size == (20, 12)
    assert "%" in report.caption(reference[1:], found[1:], s)


def test_depth_of_ultralytics_is_that_of_its_predictor() -> None:
    from ultralytics import YOLO

    from edgewright.export import overrides
    from edgewright.export.sources import trainable
    from edgewright.export.sources.parse import parse
    from edgewright.vision.preprocess import batch

    source = parse("ultralytics:yolo26n-depth.yaml?imgsz=64")
    loaded = trainable(source, None, False).load()
    s = overrides.build(loaded.spec, source.text)
    photo = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    with torch.no_grad():
        raw = loaded.model(torch.from_numpy(batch([photo], s)))
    (ours,) = decode.read([raw.numpy()], s, [(70, 50)])
    torch.manual_seed(0)
    (theirs,) = YOLO("yolo26n-depth.yaml").predict(photo[..., ::-1].copy(), imgsz=64, verbose=False)
    assert theirs.depth is not None and np.abs(ours.depth - theirs.depth.data.numpy()).max() < 1e-5
