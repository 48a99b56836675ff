"""Bundles measured beside each other: one that fails is a row, and the others go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgewright import api
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.pipeline.recipe import Recipe
from edgewright.runtimes import artifact, bundle
from edgewright.tasks.classify.spec import Classify


def edge(folder: Path, name: str, limit: float) -> Path:
    """A bundle that names the brightest colour; its answers are not finite for values over `limit`."""
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["means"]),
            helper.make_node("Flatten", ["means"], ["flat"]),
            helper.make_node("Sub", ["limit", "flat"], ["rest"]),
            helper.make_node("Sqrt", ["rest"], ["root"]),
            helper.make_node("Div", ["flat", "root"], ["logits"]),
        ],
        name,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.full(3, limit, np.float32), "limit")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), folder / f"{name}.onnx")
    spec = ModelSpec(
        name=name,
        inputs=(Input(height=16, width=16, preprocess=Preprocess(resize="exact", resize_to=(16, 16))),),
        task=Classify(classes=3, labels=("red", "green", "blue")),
    )
    artifact.build(folder / f"{name}.onnx", spec, {"runtime": "onnxruntime"}, folder / name)
    bundle.write(folder / name, folder / f"{name}.edge", name=name, provenance={})
    return folder / f"{name}.edge"


def test_a_bundle_that_fails_is_a_row(tmp_path: Path) -> None:
    for label, colour in (("red", (200, 20, 30)), ("green", (20, 200, 30)), ("blue", (20, 30, 200))):
        (tmp_path / "images" / label).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (20, 20), (*colour[:2], colour[2] + index)).save(tmp_path / f"images/{label}/{index}.png")
    edges = [edge(tmp_path, "good", 2.0), edge(tmp_path, "broken", 0.1), edge(tmp_path, "other", 9.0)]
    recipe = Recipe(min_duration_s=0.1, min_count=20)
    report = api.bench(edges, data=tmp_path / "images", out=tmp_path / "out", recipe=recipe).report
    good, broken, other = (report.measurement(name) for name in ("good", "broken", "other"))
    assert (good.status, broken.status, other.status) == ("ok", "failed", "ok")
    assert broken.stage == "evaluate" and "NaN" in (broken.reason or "")
    assert other.latency and other.accuracy and other.accuracy.score == 100.0
    assert report.choice and report.choice.id in ("good", "other")


def test_a_first_bundle_at_chance_stops_the_choice(tmp_path: Path) -> None:
    for label, colour in (("green", (200, 20, 30)), ("blue", (20, 200, 30)), ("red", (20, 30, 200))):
        (tmp_path / "images" / label).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (20, 20), (*colour[:2], colour[2] + index)).save(tmp_path / f"images/{label}/{index}.png")
    edges = [edge(tmp_path, "one", 2.0), edge(tmp_path, "other", 9.0)]
    recipe = Recipe(min_duration_s=0.1, min_count=20)
    outcome = api.bench(edges, data=tmp_path / "images", out=tmp_path / "out", recipe=recipe)
    assert outcome.report.choice and outcome.report.choice.id is None
    assert [(found.level, found.code) for found in outcome.report.findings] == [("error", "reference-at-chance")]
    assert outcome.missed and outcome.missed.exit_code == 1
    assert "0 of 9 images right" in outcome.missed.why
