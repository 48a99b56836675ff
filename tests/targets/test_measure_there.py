"""Bundles measured on a device over a real sshd: the figures of a local run, whatever happens to the connection."""

from __future__ import annotations

import functools
import json
import sys
import sysconfig
from pathlib import Path

import numpy as np
import onnx
import pytest
from loopback import Sshd, Wire
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgewright import api
from edgewright.bench import accuracy
from edgewright.bench.latency import Rules, Setup, measure_interleaved
from edgewright.cli.main import run_command
from edgewright.core.errors import InvalidInput, Unavailable
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.core.store import Entry, Store
from edgewright.pipeline import hosts, timing
from edgewright.pipeline.jobs import bench
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.stages.compile import finish
from edgewright.pipeline.stages.runner import StageRunner, quiet
from edgewright.runtimes import artifact, bundle, registry, session
from edgewright.targets.remote import Device
from edgewright.tasks.classify.spec import Classify

QUICK = Recipe(min_duration_s=0.1, min_count=20)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads the latencies of these tests."""
    for module in (bench, timing):
        monkeypatch.setattr(module, "Rules", functools.partial(Rules, warm_up_s=0.3, rounds=3, launches=1))


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven noisy images of two colours and a bundle a runtime that tells them apart."""
    folder = tmp_path_factory.mktemp("job")
    random = np.random.default_rng(0)
    for number in range(14):
        name = ("red", "green")[number % 2]
        pixels = random.integers(0, 150, (20, 24, 3), np.uint8)
        pixels[..., number % 2] += 60
        (folder / "images" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "images" / name / f"an image {number}.png")
    weights = random.normal(size=(8, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "weights"], ["seen"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["seen"], ["kept"]),
            helper.make_node("GlobalAveragePool", ["kept"], ["means"]),
            helper.make_node("Flatten", ["means"], ["flat"]),
            helper.make_node("MatMul", ["flat", "head"], ["logits"]),
        ],
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(random.normal(size=(8, 2)).astype(np.float32), "head"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "m.onnx")
    spec = ModelSpec(
        name="colours",
        inputs=(Input(height=16, width=16, preprocess=Preprocess(resize="exact", resize_to=(16, 16))),),
        task=Classify(classes=2, labels=("red", "green")),
    )
    for runtime in ("onnxruntime", "openvino"):
        artifact.build(folder / "m.onnx", spec, {"runtime": runtime}, folder / runtime)
        bundle.write(folder / runtime, folder / f"{runtime}.edge", name="colours", provenance={})
    return folder


def edges(job: Path) -> list[Path]:
    return [job / "onnxruntime.edge", job / "openvino.edge"]


def test_the_command_measures_there_and_leaves_nothing(
    sshd: Sshd, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(api, "Recipe", lambda: QUICK)
    words = ["bench", *edges(job), "--data", job / "images", "-o", tmp_path / "out", "--budget", "top1 >= -100"]
    there = ["--on", f"ssh://{sshd.address}", "--python", sys.executable, "--clean"]
    assert run_command([*map(str, words), *there]) == 0
    assert f"connect    {sshd.address}" in capsys.readouterr().err.replace("ssh://", "")
    report = json.loads((tmp_path / "out/report.json").read_bytes())
    assert report["target"]["name"] == "device" and report["target"]["measured"]
    assert report["environment"]["libraries"]["onnxruntime"]
    for row in report["measurements"]:
        assert row["status"] == "ok" and row["latency"]["p50_ms"] > 0
        assert row["accuracy"]["scores"]["top1"]["value"] >= 0
        assert row["peak_memory_bytes"] > 20_000_000 and row["cold_start_ms"] > 0
    assert not (sshd.folder / ".cache/edgewright-remote").exists(), "the default folder is below the user's home"


@pytest.mark.parametrize("option", ["--clean", "--python=python3.12", "--device-folder=/x"])
def test_how_to_work_on_a_device_without_a_device(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", "a.edge", "--data", "images", "-o", "out", option]) == 2
    assert "Add --on" in capsys.readouterr().err


def test_ten_cuts_leave_the_answers_bit_for_bit_those_of_a_local_run(
    device: Device, wire: Wire, job: Path, tmp_path: Path
) -> None:
    images = sorted(map(str, (job / "images").rglob("*.png")))
    artifacts = {edge.stem: edge for edge in edges(job)}
    rules = Rules(min_duration_s=0.5, min_count=64, max_duration_s=2.0, rounds=3, launches=1, warm_up_s=0.3)
    watched: list[str] = []
    cutter = wire.cut_at_random(10, seed=1, within_s=(0.2, 0.7))
    there = replace(device, address=f"127.0.0.1:{wire.port}")
    with hosts.at(there, QUICK, lambda stage, *_: watched.append(stage)) as host:
        for name, edge in artifacts.items():
            local, remote = tmp_path / "here" / name, tmp_path / "there" / name
            accuracy.evaluate(edge, images, local)
            accuracy.evaluate(edge, images, remote, answer=host.answer)
            assert (local / accuracy.OUTPUTS).read_bytes() == (remote / accuracy.OUTPUTS).read_bytes()
        found = measure_interleaved(
            artifacts, images[:2], tmp_path / "latency", Setup(rules=rules, measure=host.observe), reference="openvino"
        )
        while wire.cuts < 10:
            assert host.answer is not None
            host.answer(edges(job)[0], images, tmp_path / "more", None)
    cutter.join()
    assert all(timing.latency and timing.latency.samples >= 64 and timing.reason is None for timing in found.values())
    assert found["onnxruntime"].speedup and watched


def test_a_device_without_the_runtime(device: Device, bare: Path, job: Path, tmp_path: Path) -> None:
    lacking = replace(device, python=str(bare / "bin/python"))
    with pytest.raises(Unavailable, match=r"onnxruntime does not work on ") as error:
        api.bench(edges(job)[:1], data=job / "images", out=tmp_path / "out", recipe=QUICK, on=lacking)
    assert "not installed" in error.value.why and str(bare) in error.value.fix


def test_a_target_that_is_not_the_device(device: Device, job: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not the target 'raspberry-pi-5'") as error:
        api.optimize(str(job / "m.onnx"), data=job / "images", target="raspberry-pi-5", out=tmp_path / "out", on=device)
    assert "Raspberry Pi 5" in error.value.why and error.value.exit_code == 3


def test_optimize_chooses_by_what_the_device_measured(device: Device, job: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(
        'name = "colours"\nclasses = 2\nlabels = ["red", "green"]\n[input]\nheight = 16\nwidth = 16\n'
        '[preprocess]\nresize = "exact"\nresize_to = [16, 16]\n'
    )
    recipe = Recipe(precisions=("f32",), normalize=("host",), min_duration_s=0.1, min_count=30)
    outcome = api.optimize(
        str(job / "m.onnx"), data=job / "images", spec=spec, recipe=recipe, out=tmp_path / "out",
        budget="top1 >= -100", on=device,
    )  # fmt: skip
    report = outcome.report
    assert outcome.best and bundle.verify(outcome.best.path)
    assert report.target.name == "device" and report.target.measured
    plain = report.measurement("onnxruntime-f32")
    assert report.reference and report.reference.latency == plain.latency
    assert report.reference.accuracy and report.reference.peak_memory_bytes is None
    assert report.reference.why and f"onnxruntime-f32 on {device.address}" in report.reference.why
    assert plain.speedup and plain.speedup.value == 1.0 and plain.described["threads"] >= 1
    assert report.measurement("openvino-f32").status == "ok"


PLAN = """
import shutil
from pathlib import Path

def finish(folder, out, progress):
    shutil.copytree(folder, out, dirs_exist_ok=True)
    Path(out, "plan").write_text(Path(folder).parent.name)
    progress(1, 1, "planned")
"""


def test_what_only_the_device_can_build_is_built_there_and_comes_back(
    device: Device, bare: Path, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stands in for TensorRT: ONNX Runtime, and a function among the device's packages that adds a file.
    (site,) = bare.glob("lib/python3*/site-packages")
    (site / "planner.py").write_text(PLAN)
    for path in Path(sysconfig.get_path("purelib")).glob("onnxruntime*"):
        (site / path.name).symlink_to(path)
    monkeypatch.setattr(registry.module("onnxruntime"), "finish", None, raising=False)
    monkeypatch.setattr(hosts, "FINISH", "planner:finish")
    steps: list[tuple[object, ...]] = []
    runner = StageRunner(store=Store(tmp_path / "store"), watch=lambda *step: steps.append(step))
    with hosts.at(replace(device, python=str(bare / "bin/python")), QUICK, quiet) as host:
        assert [host.finishes(artifact.read(edge).options) for edge in edges(job)] == [True, False]
        assert host.finish is not None
        unfinished = Entry(edges(job)[0], "key", False, 0.0)
        made = finish(runner, unfinished, "onnxruntime-f32", host)
    assert (made.path / "plan").read_text() == "artifacts"
    assert session.open(made.path).spec.name == "colours"
    assert any("planned" in step for step in steps)
