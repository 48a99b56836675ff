"""What we emit for TensorRT, NVIDIA's own parser reads and its builder builds: ten architectures, each precision.

The builder is that of TensorRT for RTX, ahead of time, on a machine without a GPU; weights are random, images noise.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from edgewright.core import child
from edgewright.export import exporter
from edgewright.graph import census
from edgewright.quantize import fp16
from edgewright.quantize.qdq import tensorrt_rules
from edgewright.quantize.quantize import QuantizeRequest, quantize
from edgewright.runtimes.options import Options

SOURCES = {
    "resnet18": "timm:resnet18?pretrained=false",
    "resnet50": "timm:resnet50?pretrained=false",
    "mobilenetv3": "timm:mobilenetv3_large_100?pretrained=false",
    "efficientnet_b0": "timm:efficientnet_b0?pretrained=false",
    "convnext_atto": "timm:convnext_atto?pretrained=false",
    "vit_tiny": "timm:vit_tiny_patch16_224?pretrained=false&img_size=64",
    "swin_tiny": "timm:swin_tiny_patch4_window7_224?pretrained=false&img_size=112",
    "yolo11n": "ultralytics:yolo11n.yaml?imgsz=96",
    "yolo26n": "ultralytics:yolo26n.yaml?imgsz=96",
    "rtdetr": "ultralytics:rtdetr-l.yaml?imgsz=128",
}
SIZE = {"swin_tiny": 112}
EXACT = 'resize = "exact"\nresize_to = [{0}, {0}]\ncrop = [{0}, {0}]\n'
LONG = ("rtdetr", "swin_tiny", "resnet50")
"""Not tried with both INT8 and FP16: proving FP16 anew on their INT8 form takes longest."""
SLOW = ("rtdetr", "swin_tiny", "resnet50", "efficientnet_b0", "yolo11n")
"""Two minutes the first two, 20 s the others, whose operators the rest has too."""

pytestmark = [
    pytest.mark.skipif(not importlib.util.find_spec("tensorrt_rtx"), reason="needs tensorrt-rtx-cu13"),
    pytest.mark.xdist_group("tensorrt_matrix"),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = [folder / f"{number:02}.png" for number in range(32)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((96, 96)).save(path)
    return [str(path) for path in paths]


def check(model: Path, precision: str) -> dict:
    return child.call(
        "edgewright.runtimes.tensorrt.check:ahead_of_time", log=model.with_suffix(".log"), model=str(model),
        options=Options(runtime="tensorrt", precision=precision), compute_capability="8.7",
    )  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in SOURCES])
def test_the_real_parser_and_builder_accept_every_precision(name: str, images: list[str], tmp_path: Path):
    source = SOURCES[name]
    if source.startswith("ultralytics"):
        pytest.importorskip("ultralytics")
    spec = None
    if source.startswith("timm"):
        spec = tmp_path / "spec.toml"
        side = SIZE.get(name, 64)
        spec.write_text(f"[input]\nheight = {side}\nwidth = {side}\n[preprocess]\n{EXACT.format(side)}")
    exporter.export(source, str(tmp_path), exporter.ExportRequest(spec_file=spec and str(spec)))
    for folder in ("f16", "int8", "int8-f16"):
        (tmp_path / folder).mkdir()
    file = "model.onnx"
    fp16.convert(str(tmp_path / file), images, str(tmp_path / "f16"))
    quantize(QuantizeRequest(model=str(tmp_path / file), images=images), "tensorrt", "minmax", str(tmp_path / "int8"))
    assert tensorrt_rules.check(onnx.load(tmp_path / "int8" / file)) == []
    folders = ["", "f16", "int8"]
    if name not in LONG:
        folders.append("int8-f16")
        fp16.convert(str(tmp_path / "int8" / file), images, str(tmp_path / "int8-f16"))
        mixed = onnx.load(tmp_path / "int8-f16" / file)
        assert tensorrt_rules.check(mixed) == []
        layers = census.layers(mixed)
        assert layers["int8"] >= 5 and "f32" not in layers, layers
    sizes = {}
    for folder in folders:
        found = check(tmp_path / folder / file, "f16" if "f16" in folder else "f32")
        assert found["built"], (folder, found)
        sizes[folder] = found["plan_bytes"]
    assert sizes["f16"] < 0.7 * sizes[""], "weights are stored in FP16"
