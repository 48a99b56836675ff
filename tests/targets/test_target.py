"""Targets are data: every built-in one is sound, a user's own is checked, and only like is measured for like."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgewright.core.errors import InvalidInput, UsageError
from edgewright.targets import detect
from edgewright.targets.target import Target, describe, load, matches, names

BUILT_IN = [name for name in names() if name != "this-machine"]
MINE = """
name = "my-board"
title = "My board"
arch = "aarch64"
isa = ["neon"]
memory_bytes = 1_073_741_824
cores = 4

[[runtimes]]
name = "onnxruntime"
schemes = ["ort-arm"]
"""


def test_the_known_targets() -> None:
    assert names() == ("this-machine", "arm64-generic", "raspberry-pi-5", "x86-amx", "x86-avx2", "x86-vnni")


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_target_asks_for_what_suits_its_instructions(name: str) -> None:
    target = load(name)
    assert target.name == name
    assert target.runtimes == detect.runtimes_for(target.arch, target.isa)


@pytest.mark.parametrize(("typo", "meant"), [("x86-vni", "x86-vnni"), ("RaspberryPi5", "raspberry-pi-5"), ("zx", "")])
def test_an_unknown_target_is_refused_with_a_suggestion(typo: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"Unknown target '{typo}'") as caught:
        load(typo)
    assert caught.value.exit_code == 2
    assert ("Did you mean" in caught.value.fix) == bool(meant)
    assert meant in caught.value.fix
    assert "raspberry-pi-5" in caught.value.why


def test_a_target_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    target = load(str(tmp_path / "mine.toml"))
    assert (target.name, target.cores, target.runtimes[0].schemes) == ("my-board", 4, ("ort-arm",))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('arch = "aarch64"', 'arch = "riscv"', r"\$.arch"),
        ('title = "My board"', "", "title"),
        ("cores = 4", 'cores = "four"', r"\$.cores"),
        ("cores = 4", "cores = 0", r"\$.cores"),
        ("cores = 4", "coers = 4", "coers"),
        ('["neon"]', '["neno"]', r"\$.isa"),
        ('"ort-arm"', '"ort-x68"', "schemes"),
        ('name = "onnxruntime"', 'name = "tflite"', "runtimes"),
        ('name = "my-board"', 'name = "../board"', r"\$.name"),
        ('title = "My board"', "title = ", "line 3"),
        ('title = "My board"', 'title = "My board"\nschema_version = 99', "schema version 99"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    (tmp_path / "mine.toml").write_text(MINE.replace(old, new))
    with pytest.raises(InvalidInput, match=named) as caught:
        load(str(tmp_path / "mine.toml"))
    assert "mine.toml" in caught.value.what


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content:
        (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"Cannot read the target file .*x\.toml"):
        load(str(tmp_path / "x.toml"))


def test_described_in_words() -> None:
    text = describe(load("raspberry-pi-5"))
    for fact in ("Cortex-A76", "dotprod", "cores          4", "openvino: f32, f16; no INT8", "ort-arm"):
        assert fact in text


def machine(*isa: str, arch: str = "x86_64", model: str = "", cores: int = 4) -> Target:
    return msgspec.convert(
        {
            "name": "this-machine", "title": "m", "arch": arch, "isa": isa, "model": model, "cores": cores,
            "runtimes": [{"name": "onnxruntime"}],
        },
        Target,
    )  # fmt: skip


ZEN3 = machine("avx2")
SKYLAKE_X = machine("avx2", "avx512f")
N100 = machine("avx2", "avx_vnni", "vnni")
ICE_LAKE = machine("avx2", "avx512f", "avx512_vnni", "vnni")
SPR = machine("avx2", "avx512f", "avx512_vnni", "vnni", "avx512_bf16", "amx_int8", "amx_bf16", "avx_vnni")
PI5 = machine("neon", "fp16", "dotprod", arch="aarch64", model="Raspberry Pi 5 Model B Rev 1.0")
GRAVITON3 = machine("neon", "fp16", "dotprod", "i8mm", "bf16", arch="aarch64")


@pytest.mark.parametrize(
    ("name", "fit"),
    [
        ("x86-avx2", [ZEN3]),
        ("x86-vnni", [N100, ICE_LAKE]),
        ("x86-amx", [SPR]),
        ("arm64-generic", [PI5]),
        ("raspberry-pi-5", [PI5]),
    ],
)
def test_measured_only_where_the_figures_hold(name: str, fit: list[Target]) -> None:
    """A machine that can more is no stand-in: VNNI does not saturate, AMX is faster."""
    machines = [ZEN3, SKYLAKE_X, N100, ICE_LAKE, SPR, PI5, GRAVITON3]
    assert [m for m in machines if matches(load(name), m)] == fit


def test_another_number_of_cores_is_another_device() -> None:
    assert not matches(load("raspberry-pi-5"), msgspec.structs.replace(PI5, cores=2))


def test_this_machine_matches_itself() -> None:
    assert matches(load("this-machine"), detect.this_machine())
