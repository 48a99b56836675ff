"""Segmentation models of the libraries, exported without their last resize, give the classes of the libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.export import overrides
from edgewright.export.sources import torchvision
from edgewright.tasks.segment.decode import read
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
