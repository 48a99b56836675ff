"""The verb prune, from images to a folder that is a source; what cannot be pruned is refused before anything is cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgewright.cli.main import run_command
from edgewright.data import digits
from edgewright.pipeline import pruning
from edgewright.targets.detect import this_machine

NET = """\
import torch
from torch import nn

def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(128, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10),
    )
"""
SPEC = """\
name = "digits"
classes = 10
[input]
height = 64
width = 64
[preprocess]
resize = "exact"
resize_to = [64, 64]
mean = [0.3, 0.3, 0.3]
std = [0.4, 0.4, 0.4]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits, a network for them, and its description."""
    folder = tmp_path_factory.mktemp("prune")
    digits.write(folder / "digits")
    (folder / "net.py").write_text(NET)
    (folder / "net.toml").write_text(SPEC)
    return folder


@pytest.fixture(autouse=True)
def _own_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One store for all tests here: the network is exported, and its layers are timed, once; what is measured to choose
    by, too."""
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(folder / "store"))
    monkeypatch.setattr(pruning, "ANCHOR_RUNS", 1)


def prune(folder: Path, *arguments: str) -> int:
    """The exit code of the verb on the network of `folder`."""
    source = ["prune", f"torch:{folder}/net.py:network", "--spec", f"{folder}/net.toml"]
    return run_command([*source, "--data", f"{folder}/digits", "-o", f"{folder}/slim", *arguments])


def test_a_model_loses_channels_by_the_table_and_is_a_source_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--runtime", "openvino", "--speedup", "1.15", "--epochs", "1", "--json")
    assert prune(folder, *arguments) == 0
    found = json.loads(capsys.readouterr().out)
    before, after = found["parameters"]
    assert after < before
    assert found["predicted_ms"] < found["before_ms"]
    assert all(after % 8 == 0 for _, after in found["widths"].values())
    assert any(after < before for before, after in found["widths"].values())
    assert found["rounds"][0]["history"]["epochs"]
    plan = json.loads((folder / "slim" / "plan.json").read_text())
    assert plan["source"].endswith("net.py:network")
    assert prune(folder, *arguments) == 0  # the same cut and the same training, from the store
    again = capsys.readouterr()
    told = json.loads(again.out)
    assert (told["widths"], told["rounds"]) == (found["widths"], found["rounds"])
    lines = [line for line in again.err.splitlines() if " prune " in line or " distill " in line]
    assert len(lines) >= 3, "the half that anchors the table, cuts by it and the training"
    assert all("from the store" in line for line in lines)
    out = folder / "slim.onnx"
    # A plan that calls a factory must be trusted.
    assert run_command(["export", f"{folder}/slim", "-o", str(out)]) == 4
    assert run_command(["export", f"{folder}/slim", "--trust-checkpoint", "-o", str(out)]) == 0


@pytest.mark.slow
def test_each_round_goes_out_from_what_the_one_before_it_reached(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--runtime", "openvino", "--ratio", "0.5", "--rounds", "2", "--epochs", "2", "--json")
    assert prune(folder, *arguments) == 0
    found = json.loads(capsys.readouterr().out)
    first, second = found["rounds"]
    assert found["parameters"][0] > first["parameters"] > second["parameters"] == found["parameters"][1]
    assert [len(one["history"]["epochs"]) for one in (first, second)] == [1, 1], "the passes are shared out"
    assert found["widths"]["0"] == [64, 32]
    assert found["widths"]["3"] == [128, 64]


def test_zeros_for_a_device_that_is_not_here(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--sparsity", "2:4", "--epochs", "0", "--json")
    assert prune(folder, *arguments, "--runtime", "openvino") == 5
    assert "no kernels for 2:4 zeros" in capsys.readouterr().err
    assert prune(folder, *arguments, "--target", "jetson-xavier-nx") == 5
    assert "Ampere and later" in capsys.readouterr().err
    assert prune(folder, *arguments, "--target", "jetson-orin-nano-8gb") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["artifact"].startswith("tensorrt-int8")
    assert found["sparse"] == ["3", "7"]
    assert found["accuracy"]["agreement"] > 0
    assert "not measured" in found["unmeasured"]
    assert "after_ms" not in found


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Nothing was given"),
        (("--speedup", "2", "--ratio", "0.3"), 2, "speedup and ratio"),
        (("--speedup", "0.5"), 2, "more than 1"),
        (("--ratio", "1.0"), 2, "share of channels that go"),
        (("--ratio", "0.3", "--calibration", "no/such"), 3, "no/such"),
        (("--ratio", "0.3", "--importance", "luck"), 2, "no importance 'luck'"),
        (("--sparsity", "1:2"), 2, "no sparsity '1:2'"),
        (("--blocks", "2", "--rounds", "3"), 2, "1 to 2"),
        (("--speedup", "2", "--target", "jetson-orin-nano-8gb"), 5, "Layers are timed where the model will run"),
        (("--ratio", "0.3", "--target", "raspberry-pi-5"), 5, "only TensorRT's answers are emulated"),
        (("--latency", "1000", "--runtime", "openvino"), 3, "ms as it is"),
    ],
)
def test_what_cannot_be_done_is_said(
    folder: Path, arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prune(folder, *arguments) == code
    assert message in capsys.readouterr().err


def test_an_onnx_file_is_refused_before_anything_is_measured(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = ["prune", "net.onnx", "--data", f"{folder}/digits", "--speedup", "2", "-o", f"{folder}/x"]
    assert run_command(source) == 3
    assert "is an ONNX file" in capsys.readouterr().err


def test_a_data_set_of_one_split_is_not_enough(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = folder / "only"
    only.mkdir()
    for number in range(10):
        (only / str(number)).symlink_to(next((folder / "digits").glob(f"*/{number}")))
    source = ["prune", f"torch:{folder}/net.py:network", "--spec", f"{folder}/net.toml", "--ratio", "0.3"]
    assert run_command([*source, "--data", str(only), "-o", str(folder / "x")]) == 3
    assert "no images to learn from" in capsys.readouterr().err


@pytest.mark.slow
def test_the_main_job_compares_a_pruned_model_with_the_whole_one(folder: Path) -> None:
    import edgewright
    from edgewright.pipeline.recipe import Recipe

    scheme = next(one for one in this_machine().runtimes if one.name == "openvino").schemes[0]
    int8 = scheme.replace("openvino", "openvino-int8") + "-minmax"
    recipe = Recipe(
        runtimes=("openvino",), schemes=(scheme,), methods=("minmax",), normalize=("host",), finalists=0,
        min_duration_s=0.1, min_count=20, prune=(1.5, 1000.0), distill=(f"torch:{folder}/net.py:network",),
        train_time_s=5.0,
    )  # fmt: skip
    found = edgewright.optimize(
        f"torch:{folder}/net.py:network", spec=folder / "net.toml", data=folder / "digits", out=folder / "out",
        budget="top1 >= -100", recipe=recipe,
    ).report  # fmt: skip
    rows = {row.id: row for row in found.measurements}
    assert {"openvino-f32", "openvino-f32-pruned1.5x", f"{int8}-pruned1.5x"} <= set(rows)
    assert rows[f"{int8}-student-net.py-network"].status == "ok"
    slim8 = rows[f"{int8}-pruned1.5x"]
    assert any(f.code == "predicted-latency" and "measured" in f.text for f in slim8.findings)
    whole, slim = rows["openvino-f32"], rows["openvino-f32-pruned1.5x"]
    assert slim.status == whole.status == "ok"
    assert slim.size_bytes < whole.size_bytes
    assert slim.accuracy is not None and slim.accuracy.delta is not None, "paired with the reference"
    impossible = next(row for row in found.measurements if row.status == "failed")
    assert impossible.stage == "prune" and "its depth costs the rest" in (impossible.reason or "")


def test_what_was_chosen_is_measured_and_chosen_again_from_both_sides() -> None:
    def reached(share: float) -> pruning.Reached:
        return pruning.Reached(whole_ms=2.0, share=share, widths={"0": (64, round(64 * share))})

    def anchors(*shares: float) -> list[float]:
        found = pruning.anchored([reached(share) for share in shares], 2.0)
        assert found.whole_ms == 2.0
        return [one.ms / 2.0 for one in found.narrower]

    assert anchors(0.7) == [0.7], "and the unpruned one"
    assert anchors(0.7, 0.6) == [0.6], "too slow both: the last"
    assert anchors(0.7, 0.4) == [0.7, 0.4]
    assert anchors(0.4, 0.7) == [0.7, 0.4], "the slower one first"
    assert anchors(0.8, 0.3, 0.6, 0.45) == [0.6, 0.45], "the nearest on each side"
