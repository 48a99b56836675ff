"""The commands as a user runs them, in processes of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgewright.cli.main import run_command

RECIPE = (
    'runtimes = ["onnxruntime"]\nmethods = ["minmax"]\nnormalize = ["host"]\nmin_duration_s = 0.1\nmin_count = 30\n'
)


def edgewright(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgewright", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=600)


@pytest.fixture
def recipe(tiny: Path) -> Path:
    (tiny / "recipe.toml").write_text(RECIPE)
    return tiny / "recipe.toml"


def optimize(tiny: Path, recipe: Path, *more: object) -> subprocess.CompletedProcess[str]:
    return edgewright(
        "optimize", "torch:tiny:build", "--spec", tiny / "tiny.toml", "--data", tiny / "images", "--recipe", recipe,
        "-o", tiny / "out", *more,
    )  # fmt: skip


def test_step_by_step_ends_in_a_gate(tiny: Path) -> None:
    run = edgewright(
        "export", "torch:tiny:build", "--spec", tiny / "tiny.toml", "--data", tiny / "images", "-o", "m.onnx", cwd=tiny
    )
    assert run.returncode == 0, run.stderr
    asked = ("quantize", "m.onnx", "--scheme", "ort-x86", "--method", "qat", "-o", "m8.onnx", "--calibration")
    (tiny / "unsorted").mkdir()
    for path in (tiny / "images/calib").glob("*/*"):
        (tiny / "unsorted" / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
    run = edgewright(*asked, "unsorted", cwd=tiny)
    assert run.returncode == 3 and "needs a class for each image" in run.stderr and "use `distil`" in run.stderr
    run = edgewright(*asked, "images/calib", cwd=tiny)
    assert run.returncode == 0, run.stderr
    run = edgewright("audit", "m8.onnx", "--data", "images", "--reference", "m.onnx", "--json", cwd=tiny)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert "findings" not in told, told
    assert {"census", "runtime-parity", "batch-rows", "batch-size", "confidence", "calibration-domain"} <= {
        check["code"] for check in told["passed"]
    }
    run = edgewright("audit", "m8.onnx", "--data", "images", "--calibration", "images/val", cwd=tiny)
    assert run.returncode == 3 and "calibration-leak" in run.stdout and ".png is " in run.stderr
    for model, bundle, precision in (("m.onnx", "float.edge", "f32"), ("m8.onnx", "int8.edge", "int8")):
        run = edgewright("compile", model, "--runtime", "onnxruntime", "-o", bundle, cwd=tiny)
        assert run.returncode == 0, run.stderr
        assert f"onnxruntime, {precision}" in run.stdout, "what runs, not what the rest was asked to be"
    run = edgewright("bench", "float.edge", "int8.edge", "--data", "images", "-o", "bench", "--fps", 100, cwd=tiny)
    assert run.returncode == 0, run.stderr
    rows = json.loads((tiny / "bench/report.json").read_bytes())["measurements"]
    assert [row["camera"]["rate_hz"] for row in rows] == [100, 100]
    assert [row["precision"] for row in rows] == ["f32", "int8"]
    assert "at 100 frames/s" in run.stdout
    assert "int8" in run.stdout
    rows = [line for line in run.stdout.splitlines() if str(tiny) not in line]  # a path can be longer
    assert max(map(len, rows)) <= 100
    assert "\x1b" not in run.stdout + run.stderr, "colour only on a terminal"
    assert edgewright("gate", "bench", "--budget", "top1 >= -100", cwd=tiny).returncode == 0
    assert edgewright("gate", "bench", "--budget", "p50 <= 0.000001ms", cwd=tiny).returncode == 1
    assert edgewright("bundle", "verify", "int8.edge", cwd=tiny).returncode == 0
    answers = edgewright("run", "int8.edge", "images/val/red/000.png", "images/val/blue/001.png", "--json", cwd=tiny)
    assert [a["top"][0]["label"] for a in json.loads(answers.stdout)] == ["red", "blue"]


def test_optimize_prints_json_alone_on_stdout(tiny: Path, recipe: Path) -> None:
    run = optimize(tiny, recipe, "--json")
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["choice"]["id"]
    again = optimize(tiny, recipe, "--json")
    stages = json.loads(again.stdout)["stages"]
    assert all(stage["reused"] for stage in stages)
    measured = json.loads(again.stdout)["measurements"]
    if all(m["latency"].get("valid", True) for m in report["measurements"]):  # figures taken under load are not kept
        assert measured == report["measurements"]
    assert [(m["id"], m["accuracy"]) for m in measured] == [(m["id"], m["accuracy"]) for m in report["measurements"]]


def test_a_budget_that_nothing_meets_names_the_nearest(tiny: Path, recipe: Path) -> None:
    run = optimize(tiny, recipe, "--budget", "top1 >= -1.0, p95 <= 0.000001ms")
    assert run.returncode == 1
    assert "The closest is" in run.stderr
    assert (tiny / "out" / "report.json").exists(), "the evidence is written all the same"
    assert not list((tiny / "out").glob("*.edge"))


def test_a_reference_at_chance_ends_with_1_and_ships_nothing(tiny: Path, recipe: Path) -> None:
    for split in ("calib", "val"):
        folder = tiny / "images" / split
        for old, new in (("red", "moved"), ("green", "red"), ("blue", "green"), ("moved", "blue")):
            (folder / old).rename(folder / new)
    run = optimize(tiny, recipe, "--budget", "top1 >= -1.0")
    assert run.returncode == 1, run.stderr
    assert "error: reference-at-chance: The reference gets 0 of 120 images right" in " ".join(run.stdout.split())
    assert "Nothing is chosen: reference-at-chance." in run.stderr
    assert not list((tiny / "out").glob("*.edge"))
    assert edgewright("gate", "out", cwd=tiny).returncode == 1
    run = optimize(tiny, recipe, "--budget", "agreement >= 90%")
    assert run.returncode == 0, run.stderr
    assert "warning: reference-at-chance" in " ".join(run.stdout.split()), "labels are not what this budget asks for"
    assert edgewright("gate", "out", cwd=tiny).returncode == 0
    assert edgewright("gate", "out", "--budget", "top1 >= -1.0", cwd=tiny).returncode == 1


def test_another_target_is_built_and_not_measured(tiny: Path, recipe: Path) -> None:
    recipe.write_text(RECIPE.replace('"minmax"', '"minmax"'))
    run = optimize(tiny, recipe, "--target", "raspberry-pi-5", "--json")
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["target"]["measured"] is False
    assert {m["status"] for m in report["measurements"]} == {"built"}
    assert all("latency" not in m for m in report["measurements"])
    assert list((tiny / "out" / "built").glob("*.edge"))


def test_a_jetson_is_built_for_checked_and_emulated_anywhere(tiny: Path, recipe: Path) -> None:
    recipe.write_text('runtimes = ["tensorrt"]\nmethods = ["minmax"]\n')
    run = optimize(tiny, recipe, "--target", "jetson-orin-nano", "--json")
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    rows = {m["id"]: m for m in report["measurements"]}
    assert set(rows) == {"tensorrt-f32", "tensorrt-f16", "tensorrt-int8-f16-minmax"}
    for row in rows.values():
        assert row["status"] == "built" and "latency" not in row
        assert {"emulated"} <= {finding["code"] for finding in row["findings"]}
        assert row["accuracy"]["agreement"] > 90
        assert row["described"]["predicted"]["layers"]
    assert rows["tensorrt-f16"]["described"]["half"]["sqnr_db"] > 40
    assert "id" not in report["choice"]
    bundle = next((tiny / "out" / "built").glob("*int8*.edge"))
    assert json.loads((bundle / "manifest.json").read_bytes())["artifacts"]["main"]["options"]["runtime"] == "tensorrt"
    found = edgewright("run", bundle, tiny / "images/val/red/000.png", cwd=tiny)
    assert found.returncode == 5 and "edgewright compile" in found.stderr, "its plan is built on the device"
    table = edgewright("report", "out", cwd=tiny).stdout
    assert "emulated" in table and max(map(len, table.splitlines())) <= 100


def test_a_file_is_checked_for_a_jetson_on_any_machine(tiny: Path) -> None:
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        return edgewright(*words, cwd=tiny)

    assert run("export", "torch:tiny:build", "--spec", tiny / "tiny.toml", "-o", "m.onnx").returncode == 0
    for scheme in ("tensorrt", "ort-x86"):
        words = ("--calibration", "images/calib", "--scheme", scheme, "--method", "minmax", "-o", f"{scheme}.onnx")
        assert run("quantize", "m.onnx", *words).returncode == 0
    target = ("--target", "jetson-orin-nano")
    done = run("compile", "tensorrt.onnx", *target, "--images", "images/calib", "-o", "m.edge", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["manifest"]["artifacts"]["main"]["options"]["precision"] == "f16"
    assert found["check"].get("violations", []) == []
    if importlib.util.find_spec("tensorrt_rtx"):
        assert found["check"]["ahead_of_time"]["built"]
    done = run("compile", "m.onnx", *target, "--precision", "f32", "--max-batch", 4, "-o", "many.edge", "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)["manifest"]
    assert manifest["artifacts"]["main"]["spec"]["inputs"][0]["batch"] is None
    assert manifest["artifacts"]["main"]["options"]["builder"]["max_batch"] == 4
    for words, code, says in (
        (("m.edge", "--precision", "f32"), 2, "is a bundle"),
        (("ort-x86.onnx", *target, "--precision", "f32"), 3, "rule 'signed'"),
        (("tensorrt.onnx", *target), 2, "--images"),
        (("m.onnx", "--target", "x86-vnni", "--runtime", "tensorrt"), 2, "has no tensorrt"),
        (("m.edge",), 5, "GPU"),
        (("nothing.edge",), 3, "There is no file"),
    ):
        failed = run("compile", *words, "-o", "other.edge")
        assert failed.returncode == code, (words, failed.stderr)
        assert says in failed.stderr and len([x for x in failed.stderr.splitlines() if x[:7].strip()[-1:] == ":"]) >= 3
        assert not (tiny / "other.edge").exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["optimize"], 2, "SOURCE"),
        (["nonsense"], 2, "nonsense"),
        (["optimize", "timm:resnet18", "--data", "x", "-o", "y", "--target", "raspbery-pi-5"], 2, "raspberry-pi-5"),
        (["optimize", "timm:resnet18", "--data", "x", "-o", "y", "--budget", "tpo1 >= 1"], 2, "top1"),
        (["run", "nothing.edge", "a.jpg"], 3, "nothing.edge does not exist"),
        (["report", "nothing"], 3, "nothing"),
        (["bench", "a.edge", "--data", "x", "-o", "y", "--fps", "0"], 2, "at `$.fps`"),
        (["export", "model.onnx", "-o", "m.onnx"], 3, "model.onnx"),
    ],
)
def test_what_cannot_be_done_is_said_in_three_lines(
    words: list[str],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(words) == code
    error = capfd.readouterr().err
    assert says in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) <= 3
    assert os.listdir(tmp_path) == [], "nothing may be written"


def test_a_bug_of_ours_shows_its_traceback(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    from edgewright.targets import catalogue

    monkeypatch.setattr(catalogue, "names", lambda: 1 / 0)
    assert run_command(["targets"]) == 70
    assert "ZeroDivisionError" in capfd.readouterr().err


@pytest.mark.parametrize(
    "verb",
    [
        "demo",
        "optimize",
        "export",
        "quantize",
        "compile",
        "bench",
        "report",
        "gate",
        "run",
        "doctor",
        "targets",
        "bundle",
        "cache",
    ],
)
def test_every_verb_has_help(verb: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command([verb, "--help"]) == 0
    assert "Usage" in capfd.readouterr().out


def test_an_unknown_instruction_set_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["optimize", "m.onnx", "--data", str(tmp_path), "-o", str(tmp_path / "o"), "--isa", "mmx"]) == 2
    assert "Unknown instruction set 'mmx'" in capsys.readouterr().err
