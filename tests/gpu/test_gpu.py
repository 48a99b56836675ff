"""`make gpu` up to the first CUDA call: what it says without a GPU, and its parts with the CPU in the GPU's place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import gpu_models
import gpu_parts
import measure
import pytest
from gpu_models import Model, Setting
from gpu_parts import Part, Table

TINY = Model("tiny", "timm:test_resnet?pretrained=false&num_classes=3")


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    made = Setting(device="cpu", work=tmp_path_factory.mktemp("gpu"), models=(TINY,), seconds=0.01, images=16)
    prepared = gpu_parts.prepare(made)
    assert prepared.rows[0][:2] == ["tiny", "timm:test_resnet?pretrained=false&num_classes=3"], prepared.rows
    return made


def test_without_cuda_it_says_so_ends_with_5_and_writes_nothing(tmp_path: Path) -> None:
    command = [sys.executable, measure.__file__, str(tmp_path / "docs" / "gpu.md")]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert run.returncode == 5, run.stderr
    assert "There is no CUDA device: nothing was measured." in run.stderr and len(run.stderr.splitlines()) == 3
    assert list(tmp_path.iterdir()) == []


def test_the_reference_is_compared_image_by_image(setting: Setting) -> None:
    rows = gpu_parts.accuracy(setting).rows
    assert [row[1] for row in rows] == list(gpu_parts.MODES), rows
    exact, half = rows[0], rows[2]
    assert exact[5] == "0" and float(exact[7]) > 100, "float32 on the same processor is the same"
    assert 20 < float(half[7]) < 100, "FP16 is near, and not the same"


def test_latency_is_measured_for_every_precision_and_batch(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_parts, "BATCHES", (1,))
    monkeypatch.setattr(gpu_parts, "WARM", 0)
    monkeypatch.setattr(gpu_parts, "LEAST", 1)
    rows = gpu_parts.latency(setting).rows
    assert [row[1:3] for row in rows] == [[str(n), mode] for n in gpu_parts.BATCHES for mode in gpu_parts.MODES]
    medians = [float(row[3].partition(" / ")[0]) for row in rows]
    assert all(one > 0 for one in medians) and all(row[4] == "" for row in rows), "no CUDA graph on a CPU"


def test_providers_answer_as_the_reference_and_absent_ones_say_so(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gpu_parts.PROVIDERS, "cpu", (*gpu_parts.PROVIDERS["cpu"], ("FP16", "NoProvider", {})))
    there, absent = gpu_parts.providers(setting).rows
    assert there[1] == "CPU" and there[5] == "100.0" and float(there[6]) > 80
    assert absent[3].startswith("not run: onnxruntime") and "has no NoProvider here" in absent[3]


def test_a_plan_is_made_ready_and_says_that_it_needs_a_gpu(setting: Setting) -> None:
    pytest.importorskip("tensorrt_rtx", reason="the extra edgewright[tensorrt-rtx] is not installed")
    table = gpu_parts.tensorrt_rtx(setting)
    if "GPU" in table.rows[0][2]:
        assert [row[1] for row in table.rows] == ["f32", "f16"]
        assert "There is no NVIDIA GPU that CUDA can use." in table.rows[0][2], table.rows
        assert (setting.work / "tensorrt_rtx" / "tiny" / "f16" / "model.onnx").is_file()


def test_an_epoch_in_float32_and_in_bf16(setting: Setting) -> None:
    rows = gpu_parts.training(setting).rows
    assert [row[:2] for row in rows] == [["tiny", "f32"], ["tiny", "bf16"]], rows
    assert all(float(row[4]) >= 0 and float(row[7]) > 0 for row in rows)


def test_a_part_that_fails_crashes_or_hangs_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import json, os, sys, time\n"
        "given = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n"
        "name = given['--part']\n"
        "if name == 'crash': print('Segmentation fault'); os.abort()\n"
        "if name == 'hang': time.sleep(60)\n"
        "table = {'note': 'n', 'head': ['a'], 'rows': [['1|2']]}\n"
        "open(given['--result'], 'w').write(json.dumps({'table': table if name == 'good' else None, 'failed': 'no'}))\n"
    )
    limits = {"crash": 60.0, "hang": 2.0, "bad": 60.0, "good": 60.0}
    parts = {name: Part(name.title(), gpu_parts.prepare, limit) for name, limit in limits.items()}
    monkeypatch.setattr(measure, "PARTS", parts)
    monkeypatch.setattr(measure, "__file__", str(script))
    outcomes = measure.run_all(tmp_path)
    assert "Segmentation fault" in outcomes["crash"].failed and "-6" in outcomes["crash"].failed
    assert "longer than 2 s" in outcomes["hang"].failed and outcomes["bad"].failed == "no"
    page = measure.page([("GPU", "H|200")], outcomes, None)
    assert "| GPU | H\\|200 |" in page and "| 1\\|2 |" in page and "## Hang\n\nNot run: It took longer" in page


def test_rows_are_not_begun_after_the_parts_time(setting: Setting) -> None:
    late = Setting(work=setting.work, until=0.0)
    table = gpu_parts.filled(late, "n", ["a", "b", "c"], [(["x"], lambda: [["x", "1", "2"]])])
    assert table == Table(
        note="n", head=["a", "b", "c"], rows=[["x", "not run: TimeoutError: the part's time was up", ""]]
    )


@pytest.mark.zoo
def test_models_have_their_weights_and_images(zoo: Path, tmp_path: Path) -> None:
    made = Setting(zoo=zoo, work=tmp_path)
    for model in gpu_models.CLASSIFIERS:
        assert (zoo / "weights" / str(model.checkpoint)).is_file()
        found = gpu_models.items(made, model)
        assert 400 <= len(found) <= gpu_models.MOST_IMAGES and len({item.label for item in found}) >= 10
