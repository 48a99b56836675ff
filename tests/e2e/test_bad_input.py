"""What a user may get wrong: each a clear error with its exit code, and nothing written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewright.cli.main import run_command

RECIPE = 'runtimes = ["onnxruntime"]\nmethods = ["minmax"]\nnormalize = ["host"]\nmin_duration_s = 0.1\n'


class Code:
    """A pickle that would run a command."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch /tmp/edgewright-was-here",)


def checkpoint(path: Path) -> Path:
    import torch
    from tests_tiny import build  # type: ignore[import-not-found]

    torch.save(build().state_dict(), path)
    return path


def truncated(tiny: Path) -> list[str]:
    path = checkpoint(tiny / "net.pt")
    path.write_bytes(path.read_bytes()[:-300])
    return ["--checkpoint", str(path)]


def pickled(tiny: Path) -> list[str]:
    import torch

    torch.save({"state_dict": Code()}, tiny / "net.pt")
    return ["--checkpoint", str(tiny / "net.pt")]


def other_shape(tiny: Path) -> list[str]:
    import torch

    torch.save({"0.weight": torch.zeros(1)}, tiny / "net.pt")
    return ["--checkpoint", str(tiny / "net.pt")]


def an_image(name: str, write: Callable[[Path], None]) -> Callable[[Path], list[str]]:
    def spoil(tiny: Path) -> list[str]:
        for path in sorted((tiny / "images" / "calib" / "red").iterdir()):
            path.unlink()
        for index in range(3):
            write(tiny / "images" / "calib" / "red" / f"{index}-{name}")
        return ["--strict"]

    return spoil


def sixteen_bits(path: Path) -> None:
    Image.fromarray((np.random.default_rng(0).random((20, 20)) * 65535).astype(np.uint16)).save(path)


def corrupt(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 99)


def empty_data(tiny: Path) -> list[str]:
    shutil.rmtree(tiny / "images")
    (tiny / "images").mkdir()
    return []


def unlabelled_data(tiny: Path) -> list[str]:
    shutil.move(tiny / "images" / "val" / "red", tiny / "flat")
    shutil.move(tiny / "images" / "calib", tiny / "calib")
    shutil.rmtree(tiny / "images")
    shutil.move(tiny / "flat", tiny / "images")
    return ["--calibration", str(tiny / "calib")]


def other_labels(tiny: Path) -> list[str]:
    for split in ("calib", "val"):
        (tiny / "images" / split / "red").rename(tiny / "images" / split / "purple")
    return []


def shared_image(tiny: Path) -> list[str]:
    shutil.copy(tiny / "images/val/red/000.png", tiny / "images/calib/red/copy.png")
    return []


def few_images(tiny: Path) -> list[str]:
    for path in (tiny / "images" / "calib").rglob("*.png"):
        if path.stem != "000":
            path.unlink()
    return []


def infinite_input(tiny: Path) -> list[str]:
    spec = tiny / "tiny.toml"
    spec.write_text(spec.read_text().replace("std = [0.5, 0.5, 0.5]", "std = [0.5, 0.0, 0.5]"))
    return []


CASES: dict[str, tuple[Callable[[Path], list[str]], int, str]] = {
    "missing checkpoint": (lambda tiny: ["--checkpoint", str(tiny / "none.pt")], 3, "none.pt"),
    "truncated checkpoint": (truncated, 3, "net.pt"),
    "pickle with code": (pickled, 4, "--trust-checkpoint"),
    "weights of another model": (other_shape, 3, "0.bias"),
    "empty data": (empty_data, 3, "No images"),
    "unlabelled data": (unlabelled_data, 3, "labels"),
    "other labels": (other_labels, 3, "purple"),
    "an image in both splits": (shared_image, 3, "copy.png"),
    "too few calibration images": (few_images, 3, "3"),
    "division by zero": (infinite_input, 3, "std"),
    "corrupt image": (an_image("bad.png", corrupt), 3, r"bad\.png.*cannot be decoded"),
    "1x1 image": (an_image("dot.png", lambda p: Image.new("RGB", (1, 1)).save(p)), 3, r"dot\.png.*is 1x1 pixels"),
    "16-bit image": (an_image("deep.png", sixteen_bits), 3, r"deep\.png.*16 bits per channel"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_named_and_nothing_is_written(
    case: str, tiny: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(tiny / "code" / "tiny.py", tiny / "code" / "tests_tiny.py")
    (tiny / "recipe.toml").write_text(RECIPE)
    spoil, code, says = CASES[case]
    more = spoil(tiny)
    capfd.readouterr()
    found = run_command(
        ["optimize", "torch:tiny:build", "--spec", str(tiny / "tiny.toml"), "--data", str(tiny / "images"), "--recipe",
         str(tiny / "recipe.toml"), "-o", str(tiny / "out"), *more]
    )  # fmt: skip
    error = capfd.readouterr().err
    assert found == code, error
    assert re.search(says, error, re.DOTALL), error
    assert "Traceback" not in error
    assert not (tiny / "out").exists()
    assert not Path("/tmp/edgewright-was-here").exists()


def test_a_corrupt_image_is_left_out_and_counted(
    tiny: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    corrupt(tiny / "images" / "val" / "red" / "bad.png")
    palette = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)).quantize(8)
    palette.save(tiny / "images" / "val" / "red" / "clear.png", transparency=bytes(8))  # Pillow warns of it
    (tiny / "recipe.toml").write_text(RECIPE + 'precisions = ["f32"]\n')
    found = run_command(
        ["optimize", "torch:tiny:build", "--spec", str(tiny / "tiny.toml"), "--data", str(tiny / "images"), "--recipe",
         str(tiny / "recipe.toml"), "-o", str(tiny / "out")]
    )  # fmt: skip
    out, error = capfd.readouterr()
    assert found == 0, error
    assert "unreadable-images" in out + error
    assert "bad.png" in out + error
    findings = json.loads((tiny / "out" / "report.json").read_text())["findings"]
    (left_out,) = [one for one in findings if one["code"] == "unreadable-images"]
    assert left_out["count"] == 1
    assert "UserWarning" not in error, "the user's console shows our findings, not Pillow's"
    assert not [one for one in recwarn if "PIL" in one.filename and issubclass(one.category, UserWarning)]


@pytest.mark.parametrize("content", [b"", b"not an onnx file", b"\x08\x07", os.urandom(4096)])
def test_what_is_no_onnx_is_refused(content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    assert run_command(["compile", str(tmp_path / "model.onnx"), "-o", str(tmp_path / "m.edge")]) == 3
    assert "model.onnx" in capfd.readouterr().err
    assert os.listdir(tmp_path) == ["model.onnx"]


@pytest.fixture
def small_disk(tmp_path: Path):  # type: ignore[no-untyped-def]
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here: it needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_said_and_leaves_nothing_half_written(
    tiny: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tiny / "recipe.toml").write_text(RECIPE)
    words = [
        "optimize",
        "torch:tiny:build?width=4096",
        "--spec",
        str(tiny / "tiny.toml"),
        "--data",
        str(tiny / "images"),
    ]
    words += ["--recipe", str(tiny / "recipe.toml"), "-o", str(small_disk / "out")]
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(small_disk / "store"))
    assert run_command(words) == 8
    assert "space" in capfd.readouterr().err
    left = [p for p in small_disk.rglob("*") if p.is_file() and p.suffix not in (".lock", ".log")]
    assert left == []
