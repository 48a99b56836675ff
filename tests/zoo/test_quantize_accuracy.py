"""INT8 against float on real weights and labelled images, paired image by image.

A scheme for VNNI is judged by float emulation of its Q/DQ pairs, which is exact on every processor; the schemes for
any x86 by the real INT8 kernels.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.graph import metadata
from edgewright.quantize.quantize import quantize
from edgewright.vision.preprocess import batch

pytestmark = pytest.mark.zoo

CASES = {
    "075": {"top1": 80.5, "agreement": 93.0},
    "025": {"top1": 53.5, "agreement": 83.0},
    "squeezenet": {"top1": 55.0, "agreement": 95.0},
}
SCHEMES = [("ort-x86-vnni", "round"), ("ort-x86", "round-mixed"), ("openvino", "round-mixed")]


@pytest.fixture(scope="module")
def images(zoo: Path) -> dict[str, list[tuple[str, int]]]:
    found: dict[str, list[tuple[str, int]]] = {"calib": [], "eval": []}
    with (zoo / "imagenet" / "labels.csv").open() as file:
        for row in csv.DictReader(file):
            path = next(
                p for p in (zoo / "imagenet" / row["file"], zoo / "imagenet/images" / row["file"]) if p.exists()
            )
            found[row["split"]].append((str(path), int(row["label0"])))
    return found


@pytest.fixture(scope="module", params=CASES)
def case(request, zoo: Path, images, tmp_path_factory):
    """(name, path of the float ONNX with its spec, evaluation inputs, float logits)."""
    path = tmp_path_factory.mktemp("zoo") / "model.onnx"
    spec = export(request.param, zoo, path)
    inputs = [batch([image], spec) for image, _ in images["eval"]]
    return request.param, path, inputs, ort_logits(path, inputs, optimize=True)


@pytest.mark.parametrize(("scheme", "method"), SCHEMES)
def test_int8_keeps_top1_and_agrees_with_float(scheme, method, case, images, tmp_path):
    name, path, inputs, exact = case
    quantize(str(path), scheme, method, [image for image, _ in images["calib"]], str(tmp_path))
    if scheme == "openvino":
        logits = openvino_logits(tmp_path / "model.onnx", inputs)
    else:
        logits = ort_logits(tmp_path / "model.onnx", inputs, optimize=scheme == "ort-x86")
    labels = np.array([label for _, label in images["eval"]])
    top1 = 100 * (logits.argmax(1) == labels).mean()
    agreement = 100 * (logits.argmax(1) == exact.argmax(1)).mean()
    assert top1 >= CASES[name]["top1"], f"top-1 {top1:.2f}, agreement {agreement:.2f}"
    assert agreement >= CASES[name]["agreement"], f"top-1 {top1:.2f}, agreement {agreement:.2f}"


def export(name: str, zoo: Path, path: Path) -> ModelSpec:
    import timm.models.efficientnet
    import torch
    import torchvision

    mean, std = (0.5,) * 3, (0.5,) * 3
    if name == "squeezenet":
        module = torchvision.models.squeezenet1_1()
        file, mean, std = "squeezenet1_1_caffe_imagenet_torchvision.pt", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    else:
        module = timm.models.efficientnet._gen_mobilenet_v1(
            "mobilenetv1_100", {"075": 0.75, "025": 0.25}[name], pad_type="same", bn_eps=1e-3
        )
        file = f"mobilenetv1_{name}_keras_imagenet_timm.pt"
    module.load_state_dict(torch.load(zoo / "weights" / file, weights_only=True))
    program = torch.onnx.export(
        module.eval(), (torch.zeros(1, 3, 224, 224),), input_names=["images"], output_names=["logits"],
        opset_version=20, dynamo=True, verbose=False,
    )  # fmt: skip
    buffer = io.BytesIO()
    program.save(buffer)
    model = onnx.load_from_string(buffer.getvalue())
    spec = ModelSpec(
        name=name, input=Input(height=224, width=224), classes=1000,
        preprocess=Preprocess(resize="exact", resize_to=(224, 224), interpolation="bicubic", mean=mean, std=std),
    )  # fmt: skip
    metadata.set_spec(model, spec)
    onnx.save(model, path)
    return spec


def ort_logits(path: Path, inputs: list[np.ndarray], optimize: bool) -> np.ndarray:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # ONNX Runtime would quantize the layers that are kept in float by itself, weights per tensor.
    session = ort.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=["WeightBiasQuantization"]
    )
    return np.concatenate([session.run(None, {"images": x})[0] for x in inputs])


def openvino_logits(path: Path, inputs: list[np.ndarray]) -> np.ndarray:
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([np.array(compiled(x)[0]) for x in inputs])
