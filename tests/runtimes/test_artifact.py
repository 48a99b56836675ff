"""Building an artifact proves that it runs and fits its spec, in a child process as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgewright.core import child
from edgewright.core.errors import InvalidInput, RuntimeFailed, Unavailable, UsageError
from edgewright.core.spec import ModelSpec, convert
from edgewright.runtimes import artifact, registry
from edgewright.runtimes.options import Options


def test_builds_in_a_child_from_plain_data(model: Path, spec: ModelSpec, tmp_path: Path) -> None:
    built = child.call(
        "edgewright.runtimes.artifact:build",
        log=tmp_path / "log",
        model=str(model),
        spec=msgspec.to_builtins(spec),
        options={"runtime": "onnxruntime", "threads": 1},
        folder=str(tmp_path / "artifact"),
    )
    read = artifact.read(tmp_path / "artifact")
    assert convert(built, artifact.Artifact) == read
    assert read.spec == spec
    assert read.options == Options(runtime="onnxruntime", threads=1)
    assert read.versions["onnxruntime"] and read.versions["edgewright"]
    assert read.described["threads"] == 1


def test_building_for_another_device_does_not_load(
    model: Path, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.module("openvino"), "load", lambda *_: pytest.fail("loaded"))
    built = artifact.build(model, spec, Options(runtime="openvino", precision="f16"), tmp_path / "a", run=False)
    assert built["described"] == {}


def test_a_precision_that_the_cpu_lacks_is_not_built_silently(model: Path, spec: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        artifact.build(model, spec, Options(runtime="onnxruntime", precision="bf16"), tmp_path / "a")


def test_outputs_that_do_not_fit_the_spec_are_refused(model: Path, spec: ModelSpec, tmp_path: Path) -> None:
    wrong = spec.with_task(classes=4, labels=())
    with pytest.raises(InvalidInput, match=r"scores of shape \(1, 3\)") as caught:
        artifact.build(model, wrong, Options(runtime="onnxruntime"), tmp_path / "a")
    assert "4 classes" in caught.value.why
    assert not (tmp_path / "a" / artifact.FILE).exists()


def test_a_model_that_answers_nan_is_refused(model: Path, spec: ModelSpec, tmp_path: Path) -> None:
    broken = onnx.load(model)
    nan = numpy_helper.from_array(np.full((3, 3), np.nan, np.float32), "weights")
    broken.graph.initializer[0].CopyFrom(nan)
    onnx.save(broken, tmp_path / "nan.onnx")
    with pytest.raises(RuntimeFailed, match="NaN"):
        artifact.build(tmp_path / "nan.onnx", spec, Options(runtime="onnxruntime"), tmp_path / "a")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"runtime": "onnxruntim"}, "runtime"),
        ({"runtime": "openvino", "precision": "fp16"}, "precision"),
        ({"runtime": "openvino", "threads": -1}, "threads"),
        ({"runtime": "openvino", "thread": 1}, "thread"),
    ],
)
def test_wrong_options_name_the_field(
    model: Path, spec: ModelSpec, tmp_path: Path, options: dict[str, object], field: str
) -> None:
    with pytest.raises((InvalidInput, UsageError), match=field):
        artifact.build(model, spec, options, tmp_path / "a")


def test_a_newer_artifact_is_a_clear_error(build: Callable[..., Path]) -> None:
    folder = build()
    file = folder / artifact.FILE
    file.write_bytes(file.read_bytes().replace(b'"schema_version": 2', b'"schema_version": 99', 1))
    with pytest.raises(InvalidInput, match="schema version 99"):
        artifact.read(folder)


@pytest.mark.parametrize(
    ("table", "field", "value"),
    [
        ("input", "height", -1), ("input", "width", 10**9), ("input", "channels", 0), ("input", "batch", -1),
        ("preprocess", "resize_to", [0, 0]), ("preprocess", "crop", [-1, 5]), ("preprocess", "std", [0.0, 0.0, 0.0]),
        ("preprocess", "mean", [1.0]), ("preprocess", "divide", 0.0), ("postprocess", "top", 0),
        ("", "labels", ["one"]), ("", "classes", 0), ("", "task", "detect"),
        ("", "detect", {"decoder": "dfl", "strides": [0]}),
    ],
)  # fmt: skip
def test_a_description_that_no_image_can_be_prepared_by_is_refused(
    build: Callable[..., Path], table: str, field: str, value: object
) -> None:
    """It comes with a bundle, so the device looks at it before an array is made by it."""
    folder = build()
    about = json.loads((folder / artifact.FILE).read_text())
    (about["spec"].setdefault(table, {}) if table else about["spec"])[field] = value
    (folder / artifact.FILE).write_text(json.dumps(about))
    with pytest.raises(InvalidInput, match=r"is not valid|contradicts itself"):
        artifact.read(folder)
