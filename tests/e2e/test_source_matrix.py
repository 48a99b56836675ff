"""Every source, for each task that it has: export with parity, INT8, ONNX Runtime, OpenVINO, TensorRT's own parser and
builder. The models are small and their weights seeded. One row a task is quick; the others are slow.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from edgewright.core import child
from edgewright.core.errors import RuntimeFailed
from edgewright.export import exporter
from edgewright.quantize.quantize import QuantizeRequest, quantize
from edgewright.runtimes import artifact
from edgewright.runtimes.contents import Contents
from edgewright.runtimes.openvino import load as load_openvino
from edgewright.runtimes.openvino import run as run_openvino
from edgewright.runtimes.options import Options
from edgewright.vision import preprocess

TESTS = Path(__file__).parent.parent
IMAGES = 32


class Row(NamedTuple):
    """A model: the task that its source gives, the source ({folder}: a folder of the test), and the name of a model of
    `transformers_models` or "tflite" that is written there."""

    task: str
    source: str
    made: str = ""


ROWS = {
    "tflite": Row("classify", "{folder}/net.tflite", "tflite"),
    "timm": Row("classify", "timm:resnet10t?pretrained=false&num_classes=5&img_size=64"),
    "torchvision": Row("classify", "torchvision:shufflenet_v2_x0_5?pretrained=false&num_classes=5"),
    "torchvision-ssdlite": Row("detect", "torchvision:ssdlite320_mobilenet_v3_large?pretrained=false"),
    "torchvision-lraspp": Row(
        "segment", "torchvision:lraspp_mobilenet_v3_large?pretrained=false&num_classes=5&size=64x96"
    ),
    **{
        f"transformers-{made}": Row(task, "transformers:{folder}/" + made, made)
        for task, models in {
            "classify": ("vit", "resnet", "convnext", "mobilenet_v2", "swin"),
            "detect": ("yolos", "detr", "rt_detr", "rt_detr_v2"),
            "segment": ("segformer", "mobilevit"),
            "depth": ("dpt", "depth_anything", "glpn"),
        }.items()
        for made in models
    },
    **{
        f"ultralytics-{name}": Row(task, f"ultralytics:{name}.yaml?imgsz=96")
        for name, task in (
            ("yolo11n", "detect"), ("yolo26n", "detect"), ("yolo11n-seg", "instances"), ("yolo26n-seg", "instances"),
            ("yolo11n-pose", "pose"), ("yolo26n-pose", "pose"), ("yolo11n-obb", "obb"), ("yolo26n-obb", "obb"),
            ("yolo26n-sem", "segment"), ("yolo26n-depth", "depth"),
        )
    },
}  # fmt: skip
QUICK = ("tflite", "transformers-yolos", "transformers-segformer", "transformers-dpt")
"""One a task. Instances, poses and rotated boxes have larger models, and tests of their own in the quick suite."""


def load(path: str) -> ModuleType:
    """A module of the tests, by its path."""
    spec = importlib.util.spec_from_file_location(f"matrix_{Path(path).stem}", TESTS / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def source_of(row: Row, folder: Path) -> str:
    if row.made == "tflite":
        tflite = load("export/tflite_file.py")
        (folder / "net.tflite").write_bytes(tflite.tflite(metadata=tflite.metadata(0, 255)))
        (folder / "net.toml").write_text('labels = ["a", "b", "c", "d", "e"]\n')
    elif row.made:
        pytest.importorskip("transformers")
        load("export/transformers_models.py").save(row.made, folder)
    elif row.source.startswith("ultralytics"):
        pytest.importorskip("ultralytics")
    return row.source.format(folder=folder)


def photos(folder: Path) -> list[str]:
    random = np.random.default_rng(0)
    paths = [folder / f"{number:02}.png" for number in range(IMAGES)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8)).resize((160, 120)).save(path)
    return [str(path) for path in paths]


def same(one: Sequence[np.ndarray], other: Sequence[np.ndarray], ordered: bool) -> bool:
    """Whether two runs of a float model gave the same outputs. Models that select queries may order them otherwise."""
    for a, b in zip(one, other, strict=True):
        first, second = (np.ravel(x) if ordered else np.sort(np.ravel(x)) for x in (a, b))
        if np.abs(first - second).max() > 1e-2 * max(float(np.abs(first).max()), 1e-3):
            return False
    return True


UNEQUAL = pytest.mark.xfail(
    strict=True,
    raises=RuntimeFailed,
    reason="parity 0.009 instead of 0.001 with these random weights; the cause is not analyzed",
)
"""RT-DETR selects queries by score, and near ties of random scores are likely."""


def rows(quick: Sequence[str]) -> pytest.MarkDecorator:
    marks = {n: [pytest.mark.slow] * (n not in quick) + [UNEQUAL] * ("rt_detr" in n) for n in ROWS}
    return pytest.mark.parametrize("name", [pytest.param(n, marks=marks[n]) for n in ROWS])


@rows(QUICK)
def test_a_source_is_exported_quantized_and_run(name: str, tmp_path: Path) -> None:
    row, images = ROWS[name], photos(tmp_path)
    out = tmp_path / "float"
    spec = exporter.export(source_of(row, tmp_path), out, exporter.ExportRequest(images=images[:2]))  # with its parity
    assert spec.task.kind == row.task
    x = preprocess.batch(images[:1], spec)
    found = []
    for runtime, scheme in (("onnxruntime", "ort-x86-vnni"), ("openvino", "openvino")):
        quantized = tmp_path / scheme
        quantized.mkdir()
        quantize(QuantizeRequest(model=str(out / exporter.MODEL), images=images), scheme, "minmax", str(quantized))
        options = Options(runtime=runtime, precision="f32")
        for model, place in ((out, "a"), (quantized, "b")):
            artifact.build(model / exporter.MODEL, spec, options, tmp_path / runtime / place)
        found.append(run(runtime, tmp_path / runtime / "a", options, x))
    assert same(*found, ordered="rt_detr" not in name), [[float(np.abs(one).max()) for one in run] for run in found]


@pytest.mark.skipif(not importlib.util.find_spec("tensorrt_rtx"), reason="needs tensorrt-rtx-cu13")
@rows(("tflite",))
def test_tensorrt_parses_and_builds_a_source(name: str, tmp_path: Path) -> None:
    """NVIDIA's parser and builder accept the float model and its INT8."""
    images, out = photos(tmp_path), tmp_path / "float"
    exporter.export(source_of(ROWS[name], tmp_path), out)
    quantized = tmp_path / "tensorrt"
    quantized.mkdir()
    request = QuantizeRequest(model=str(out / exporter.MODEL), images=images)
    quantize(request, "tensorrt", "minmax", str(quantized))
    for folder in (out, quantized):
        found = child.call(
            "edgewright.runtimes.tensorrt.check:ahead_of_time", log=folder / "log", compute_capability="8.7",
            model=str(folder / exporter.MODEL), options=Options(runtime="tensorrt", precision="f32"),
        )  # fmt: skip
        assert found["parsed"] and found["built"], (folder.name, found)


def run(runtime: str, folder: Path, options: Options, x: np.ndarray) -> list[np.ndarray]:
    if runtime == "openvino":
        return run_openvino(load_openvino(Contents(folder), options), x)
    from edgewright.runtimes import onnxruntime

    return onnxruntime.run(onnxruntime.load(Contents(folder), options), x)
