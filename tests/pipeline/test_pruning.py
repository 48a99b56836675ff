"""The verb prune, from images to a folder that is a source; what cannot be pruned is refused before anything is cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgewright.cli.main import run_command
from edgewright.data import digits

NET = """\
import torch
from torch import nn

def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )
"""
SPEC = """\
name = "digits"
classes = 10
[input]
height = 32
width = 32
[preprocess]
resize = "exact"
resize_to = [32, 32]
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
    """One store for all tests here: the network is exported, and its layers are timed, once."""
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(folder / "store"))


def prune(folder: Path, *arguments: str) -> int:
    """The exit code of the verb on the network of `folder`."""
    source = ["prune", f"torch:{folder}/net.py:network", "--spec", f"{folder}/net.toml"]
    return run_command([*source, "--data", f"{folder}/digits", "-o", f"{folder}/slim", *arguments])


def test_a_model_loses_channels_by_the_table_and_is_a_source_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--runtime", "openvino", "--speedup", "1.5", "--epochs", "1", "--json")
    assert prune(folder, *arguments) == 0
    found = json.loads(capsys.readouterr().out)
    before, after = found["parameters"]
    assert after < before
    assert found["predicted_ms"] < found["before_ms"]
    assert all(after % 8 == 0 for _, after in found["widths"].values())
    assert any(after < before for before, after in found["widths"].values())
    assert found["history"]["epochs"]
    plan = json.loads((folder / "slim" / "plan.json").read_text())
    assert plan["source"].endswith("net.py:network")
    assert prune(folder, *arguments) == 0  # the same cut and the same training, from the store
    again = capsys.readouterr()
    told = json.loads(again.out)
    assert (told["widths"], told["history"]) == (found["widths"], found["history"])
    lines = [line for line in again.err.splitlines() if " prune " in line or " distill " in line]
    assert len(lines) == 2
    assert all("from the store" in line for line in lines)
    out = folder / "slim.onnx"
    # A plan that calls a factory must be trusted.
    assert run_command(["export", f"{folder}/slim", "-o", str(out)]) == 4
    assert run_command(["export", f"{folder}/slim", "--trust-checkpoint", "-o", str(out)]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Nothing was given"),
        (("--speedup", "2", "--ratio", "0.3"), 2, "speedup and ratio"),
        (("--speedup", "0.5"), 2, "more than 1"),
        (("--ratio", "1.0"), 2, "share of channels that go"),
        (("--ratio", "0.3", "--calibration", "no/such"), 3, "no/such"),
        (("--ratio", "0.3", "--importance", "luck"), 2, "no importance 'luck'"),
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

    recipe = Recipe(
        runtimes=("openvino",), schemes=("openvino",), methods=("minmax",), normalize=("host",), finalists=0,
        min_duration_s=0.1, min_count=20, prune=(1.5, 1000.0), prune_time_s=5.0,
    )  # fmt: skip
    found = edgewright.optimize(
        f"torch:{folder}/net.py:network", spec=folder / "net.toml", data=folder / "digits", out=folder / "out",
        budget="top1 >= -100", recipe=recipe,
    ).report  # fmt: skip
    rows = {row.id: row for row in found.measurements}
    assert {"openvino-f32", "openvino-f32-pruned1.5x", "openvino-int8-minmax-pruned1.5x"} <= set(rows)
    whole, slim = rows["openvino-f32"], rows["openvino-f32-pruned1.5x"]
    assert slim.status == whole.status == "ok"
    assert slim.size_bytes < whole.size_bytes
    assert slim.accuracy is not None and slim.accuracy.delta is not None, "paired with the reference"
    impossible = next(row for row in found.measurements if row.status == "failed")
    assert impossible.stage == "prune" and "its depth costs the rest" in (impossible.reason or "")
