"""Segmentation models of the libraries, exported without their last resize, give the classes of the libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.export import exporter, overrides
from edgewright.export.sources import torchvision, ultralytics
from edgewright.tasks.segment.decode import read
from edgewright.tasks.segment.spec import Segment
from edgewright.vision import preprocess

SIZE = (64, 96)


def photo() -> np.ndarray:
    """A photo of the input's size."""
    from sklearn.datasets import load_sample_image

    return np.ascontiguousarray(load_sample_image("china.jpg")[100 : 100 + SIZE[0], 100 : 100 + SIZE[1]])


def balance(model: Any, x: torch.Tensor) -> None:
    """Change random weights so that several classes occur: all have the same mean."""
    last = [part for part in model.classifier.modules() if isinstance(part, torch.nn.Conv2d)][-1]
    with torch.no_grad():
        assert last.bias is not None
        last.bias -= model(x)["out"].mean((0, 2, 3))


def ours(module: Any, spec: ModelSpec, image: np.ndarray) -> np.ndarray:
    """The classes of the exported module."""
    with torch.no_grad():
        found = module(torch.from_numpy(preprocess.batch([image], spec)))
    (answer,) = read([found.numpy()], spec, [(image.shape[1], image.shape[0])])
    return answer.classes


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50"])
def test_torchvision_models_give_the_classes_of_their_own_forward(name: str) -> None:
    trained = torchvision.trainable(name, {"pretrained": False, "size": f"{SIZE[0]}x{SIZE[1]}"})
    balance(trained.module, torch.randn(1, 3, *SIZE))
    loaded = trained.load()
    spec = overrides.build({**loaded.spec, "source": name}, name)
    assert spec.classes == 21 and spec.labels[:2] == ("__background__", "aeroplane")
    image = photo()
    found = ours(loaded.model, spec, image)
    with torch.no_grad():
        wanted = trained.module(torch.from_numpy(preprocess.batch([image], spec)))["out"][0].numpy()
    assert wanted.shape == (21, *SIZE)
    chosen = np.take_along_axis(wanted, found[None].astype(np.int64), axis=0)[0]
    assert (wanted.max(axis=0) - chosen).max() < 1e-5
    assert len(np.unique(found)) > 1


def test_the_input_size_of_a_torchvision_model_is_checked() -> None:
    with pytest.raises(InvalidInput, match="61x96"):
        torchvision.trainable("fcn_resnet50", {"pretrained": False, "size": "61x96"})
    with pytest.raises(InvalidInput, match="segmentation model 'fcn_resnet5'"):
        torchvision.trainable("fcn_resnet5", {"pretrained": False})


@pytest.fixture(scope="module")
def yolo() -> Any:
    """A semantic model of YOLO26 with random weights that give several classes."""
    pytest.importorskip("ultralytics")
    trained = ultralytics.trainable("yolo26n-sem.yaml", {"nc": 5, "imgsz": list(SIZE)})
    last = trained.module.model[-1].classifier[-1]
    with torch.no_grad():
        last.weight *= 30
        last.bias -= trained.module(torch.rand(1, 3, *SIZE)).mean((0, 2, 3))
    return trained


def test_the_semantic_head_of_ultralytics_gives_the_maps_of_its_predictor(yolo: Any) -> None:
    loaded = yolo.load()
    spec = overrides.build({**loaded.spec, "source": "yolo"}, "yolo")
    assert (spec.task.kind, spec.classes, spec.preprocess.resize) == ("segment", 5, "letterbox")
    image = photo()
    found = ours(loaded.model, spec, image)
    x = torch.from_numpy(preprocess.batch([image], spec))
    with torch.no_grad():
        logits = loaded.model(x)
        wanted = F.interpolate(logits, SIZE, mode="bilinear")[0].numpy()
    assert logits.shape == (1, 5, SIZE[0] // 8, SIZE[1] // 8)
    chosen = np.take_along_axis(wanted, found[None].astype(np.int64), axis=0)[0]
    assert (wanted.max(axis=0) - chosen).max() < 1e-4
    assert len(np.unique(found)) > 1
    assert [tuple(part.shape) for part in yolo.answers(yolo.module, x)] == [tuple(logits.shape)]


@pytest.mark.parametrize("chosen", [False, True])
def test_an_onnx_file_of_ultralytics_needs_no_description(chosen: bool, tmp_path: Path) -> None:
    import onnx

    class Maps(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            maps = F.avg_pool2d(x, 8).repeat(1, 2, 1, 1)[:, :5]
            return maps.argmax(1).to(torch.uint8) if chosen else maps

    torch.onnx.export(Maps(), (torch.rand(1, 3, *SIZE),), tmp_path / "sem.onnx", dynamo=False, output_names=["map"])
    model = onnx.load(tmp_path / "sem.onnx")
    names = str(dict(enumerate("abcde")))
    said = {"author": "Ultralytics", "task": "semantic", "imgsz": str(list(SIZE)), "names": names}
    for key, value in said.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, tmp_path / "sem.onnx")
    spec = exporter.export(str(tmp_path / "sem.onnx"), tmp_path / "out")
    assert spec.task == Segment(scores="classes" if chosen else "softmax", classes=5, labels=tuple("abcde"))
    assert spec.preprocess.resize == "letterbox"
