"""Trained networks: the runtimes agree with each other, and malformed files end in a clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgewright
from edgewright.core import child
from edgewright.core.description import structured
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.runtimes import artifact, bundle
from edgewright.tasks.classify.spec import Classify
from edgewright.vision.preprocess import batch

SQUEEZENET = ModelSpec(
    name="squeezenet1_1",
    inputs=(
        Input(
            height=224,
            width=224,
            preprocess=Preprocess(
                resize="exact",
                resize_to=(224, 224),
                interpolation="bicubic",
                mean=(0.485, 0.456, 0.406),
                std=(0.229, 0.224, 0.225),
            ),
        ),
    ),
    task=Classify(classes=1000),
)


@pytest.mark.zoo
def test_the_runtimes_agree_on_real_images(zoo: Path, tmp_path: Path) -> None:
    model = zoo / "weights/squeezenet1_1_caffe_imagenet.onnx"
    images = sorted((zoo / "imagenet").rglob("*.webp"))[:8]
    logits = []
    for runtime in ("onnxruntime", "openvino"):
        artifact.build(model, SQUEEZENET, {"runtime": runtime}, tmp_path / runtime)
        bundle.write(tmp_path / runtime, tmp_path / f"{runtime}.edge", name=runtime, provenance={})
        with edgewright.open(tmp_path / f"{runtime}.edge") as session:
            rows = [session.run(batch([image], SQUEEZENET))[0].ravel() for image in images]
            assert [session(image).index for image in images] == [int(row.argmax()) for row in rows]
            logits.append(np.stack(rows))
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-3 * np.abs(logits[0]).max())
    assert (logits[0].argmax(1) == logits[1].argmax(1)).all()


@pytest.mark.zoo
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_malformed_files_end_in_a_clear_error(zoo: Path, runtime: str, tmp_path: Path) -> None:
    """On each of them OpenVINO hangs or takes gigabytes: the check that comes first must refuse them all."""
    spec = structured({"name": "m", "input": {"height": 32, "width": 32}, "classes": 10})
    with child.Child(tmp_path / "log", child.Limits(wall_s=60, memory_bytes=8 << 30)) as one:
        for file in sorted((zoo / "malformed").glob("*.onnx")):
            with pytest.raises(InvalidInput, match=file.name):
                one.call(
                    "edgewright.runtimes.artifact:build",
                    model=str(file), spec=spec, options={"runtime": runtime}, folder=str(tmp_path / file.stem),
                )  # fmt: skip
