"""What a session adds to the runtime's own call, on a resnet18 at batch 1.

The library's own call on the same model ("raw"), `Session.run`, and two shares of an inference: the session's own work
with pre- and postprocessing and the runtime replaced by constants, and what `Session.run` adds to the raw call. Their
sum must stay under 2 %.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edgewright
from edgewright.core.spec import Input, ModelSpec
from edgewright.runtimes import artifact, session
from edgewright.tasks.classify.answer import Classification, Prediction
from edgewright.tasks.classify.spec import Classify

SPEC = ModelSpec(name="resnet18", inputs=(Input(height=224, width=224),), task=Classify(classes=1000))
X = np.random.default_rng(0).random((1, 3, 224, 224), np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    timm, torch = pytest.importorskip("timm"), pytest.importorskip("torch")
    path = tmp_path_factory.mktemp("resnet18") / "model.onnx"
    net = timm.create_model("resnet18").eval()
    torch.onnx.export(net, (torch.from_numpy(X),), path, input_names=["images"], output_names=["logits"],
                      dynamo=True, external_data=False, opset_version=20, verbose=False)  # fmt: skip
    return path


@pytest.fixture(params=["onnxruntime", "openvino"], scope="module")
def opened(request: pytest.FixtureRequest, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    artifact.build(model, SPEC, {"runtime": request.param}, folder)
    with edgewright.open(folder) as opened:
        opened.run(X)
        yield opened


def raw_call(opened: edgewright.Session) -> Callable[[], Any]:
    """The library's plain call, as its documentation shows it."""
    handle = opened._handle
    if opened.options.runtime == "onnxruntime":
        return lambda: handle.session.run(None, {"images": X})
    return lambda: handle.request.infer({0: X}, share_inputs=True, share_outputs=True)


def test_raw(benchmark: Any, opened: edgewright.Session) -> None:
    benchmark.group = f"resnet18, {opened.options.runtime}"
    benchmark.pedantic(raw_call(opened), rounds=30, warmup_rounds=3)


def test_session_run(benchmark: Any, opened: edgewright.Session) -> None:
    benchmark.group = f"resnet18, {opened.options.runtime}"
    benchmark.pedantic(opened.run, (X,), rounds=30, warmup_rounds=3)


def test_own_work(benchmark: Any, opened: edgewright.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that a call does beside preprocessing, the runtime and postprocessing."""
    benchmark.group = f"resnet18, {opened.options.runtime}"
    inference = statistics.median(timed(raw_call(opened)) for _ in range(30))
    answers, logits = [Classification((Prediction(0, "0", 1.0),))], [np.zeros((1, 1000), np.float32)]
    monkeypatch.setattr(session, "batch", lambda *_: X)
    monkeypatch.setattr(session, "classify", lambda *_: answers)
    monkeypatch.setattr(opened._runtime, "run", lambda *_: logits)
    benchmark.pedantic(opened, (Image.new("RGB", (256, 256)),), rounds=2000, warmup_rounds=50)
    own = statistics.median(benchmark.stats.stats.data)
    report(benchmark, f"{opened.options.runtime}: a session's own work", own, inference)


def test_run_over_raw(benchmark: Any, tmp_path: Path, opened: edgewright.Session) -> None:
    """`Session.run` less the library's own call, pair by pair, on a model small enough to see the difference."""
    benchmark.group = f"resnet18, {opened.options.runtime}"
    inference = statistics.median(timed(raw_call(opened)) for _ in range(30))
    spec = SPEC.with_task(classes=3)
    artifact.build(write_means(tmp_path / "means.onnx"), spec, opened.options, tmp_path / "means")
    pairs: list[float] = []
    with edgewright.open(tmp_path / "means") as small:
        raw = raw_call(small)
        benchmark.pedantic(lambda: pairs.append(timed(lambda: small.run(X)) - timed(raw)), rounds=2000)
    report(benchmark, f"{opened.options.runtime}: run over the raw call", statistics.median(pairs), inference)


def write_means(path: Path) -> Path:
    onnx = pytest.importorskip("onnx")
    graph = onnx.parser.parse_graph(
        "means (float[1,3,224,224] images) => (float[1,3] logits) { m = GlobalAveragePool(images) logits = Flatten(m) }"
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)]), path)
    return path


def report(benchmark: Any, what: str, seconds: float, inference: float) -> None:
    text = f"{1e6 * seconds:.1f} us = {100 * seconds / inference:.3f} % of an inference of {1e3 * inference:.1f} ms"
    benchmark.extra_info[what] = text
    print(f"\n{what}: {text}")


def timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
