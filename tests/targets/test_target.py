"""Targets are data: every built-in one is sound, a user's own is checked, and only like is measured for like."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgewright.cli.main import run_command
from edgewright.core.errors import InvalidInput, UsageError
from edgewright.targets import detect, devices, nvidia
from edgewright.targets.catalogue import load, names
from edgewright.targets.describe import describe
from edgewright.targets.target import Gpu, Target, TargetRuntime, fastest_mode, matches, memory_for_model

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
    assert names() == (
        "this-machine", "arm64-generic", "h200", "jetson-agx-orin-32gb", "jetson-agx-orin-64gb", "jetson-agx-thor",
        "jetson-agx-xavier", "jetson-orin-nano-4gb", "jetson-orin-nano-8gb", "jetson-orin-nx-16gb",
        "jetson-orin-nx-8gb", "jetson-xavier-nx", "raspberry-pi-5", "rtx-ada", "rtx-ampere", "rtx-blackwell", "x86-amx",
        "x86-avx2", "x86-vnni",
    )  # fmt: skip


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_target_asks_for_what_suits_its_instructions(name: str) -> None:
    target = load(name)
    assert target.name == name
    suitable = detect.runtimes_for(target.arch, target.isa, target.gpu)
    # Of an x86 host with a GPU the description does not say which CPU it has.
    assert target.runtimes == (suitable[:1] if target.gpu and target.arch == "x86_64" else suitable)


@pytest.mark.parametrize("target", [load(name) for name in BUILT_IN if load(name).gpu], ids=lambda t: t.name)
def test_a_gpu_has_what_its_compute_capability_has(target: Target) -> None:
    assert target.gpu
    assert target.gpu.precisions == nvidia.precisions(target.gpu.compute_capability)
    fastest = fastest_mode(tuple(mode.name for mode in target.power_modes))
    clocks = {mode.name: mode.gpu_mhz for mode in target.power_modes if mode.gpu_mhz}
    if target.gpu.max_mhz and fastest in clocks:
        assert clocks[fastest] == target.gpu.max_mhz == max(clocks.values())


def test_an_alias_is_another_name_of_one_target() -> None:
    assert load("jetson-orin-nano") == load("jetson-orin-nano-8gb")
    aliases = [alias for target in devices.every() for alias in target.aliases]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(names())
    with pytest.raises(UsageError) as caught:
        load("jetson-orin-nanoo")
    assert "jetson-orin-nano" in caught.value.fix


@pytest.mark.parametrize("name", BUILT_IN)
def test_shown_within_100_columns(name: str) -> None:
    assert max(map(len, describe(load(name)).splitlines())) <= 100


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("jetson-orin-nano", ("FP8, FP4: this GPU has no units", "DLA: this device has none",
                              "about 6.0 GiB", "MAXN_SUPER",
                              "jetson_clocks", "INT8 by Q/DQ", "JetPack 6.2.x (L4T 36.4): CUDA 12.6, TensorRT 10.3.0")),
        ("jetson-orin-nx", ("2 cores", "to free the GPU", "FP8, FP4")),
        ("jetson-agx-thor", ("fp8, fp4", "DLA: this device has none", "1575 MHz")),
        ("jetson-xavier-nx", ("BF16, FP8, FP4", "has Python 3.8", "MODE_20W_6CORE")),
        ("h200", ("141 GB of GPU memory", "tensorrt", "FP4: this GPU has no units for it")),
    ],
)  # fmt: skip
def test_what_a_device_means_for_a_model(name: str, facts: tuple[str, ...]) -> None:
    text = " ".join(describe(load(name)).split())
    for fact in facts:
        assert fact in text


def test_the_first_jetson_nano_has_no_int8() -> None:
    """Its chip (sm_53) has none; it is no built-in target, a user's description of it says so all the same."""
    gpu = Gpu(name="Maxwell", compute_capability="5.3", precisions=nvidia.precisions("5.3"), shared_memory=True)
    nano = msgspec.structs.replace(load("jetson-xavier-nx"), gpu=gpu, runtimes=detect.runtimes_for("aarch64", (), gpu))
    assert nano.runtimes[0] == TargetRuntime(name="tensorrt", precisions=("f32", "f16"))
    text = " ".join(describe(nano).split())
    assert "never INT8, BF16, FP8, FP4" in text
    assert "use FP16" in text


def test_the_list_fits_100_columns(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["targets"]) == 0
    out = capfd.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert all(name in out for name in names())


def test_memory_for_a_model() -> None:
    assert memory_for_model(load("jetson-orin-nano-8gb")) == 6 << 30
    assert memory_for_model(load("jetson-orin-nano-4gb")) == 2 << 30
    assert memory_for_model(load("h200")) == 141_000_000_000
    assert memory_for_model(load("rtx-ada")) is None, "the class has no fixed figure"


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("x86-vni", "'x86-vnni'"),
        ("RaspberryPi5", "'raspberry-pi-5'"),
        ("jetson-orin-nanoo", "'jetson-orin-nano'"),
        ("jetson-orin-nano-8g", "'jetson-orin-nano-8gb'"),
        ("jetson-xavier", "'jetson-agx-xavier' or 'jetson-xavier-nx'"),
        ("orin-nx", "'jetson-orin-nx-16gb' or 'jetson-orin-nx-8gb'"),
        ("raspberry-pi", "'raspberry-pi-5'"),
        ("zx", ""),
    ],
)
def test_an_unknown_target_is_refused_with_a_suggestion(typo: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"Unknown target '{typo}'") as caught:
        load(typo)
    assert caught.value.exit_code == 2
    assert ("Did you mean" in caught.value.fix) == bool(meant)
    assert meant in caught.value.fix
    assert "raspberry-pi-5" in caught.value.why


@pytest.mark.parametrize("name", ["raspberry-pi-6", "x86-avx512", "jetson-orin-nano-16gb", "h100", "rtx-4090"])
def test_a_name_with_another_number_is_another_device(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(name)
    assert "Did you mean" not in caught.value.fix


@pytest.mark.parametrize(
    ("names", "device", "why"),
    [
        ("jetson-nano, Jetson Nano, nano, jetson_nano-2gb, NVIDIA Jetson Nano Developer Kit", "Jetson Nano", "Maxwell"),
        ("jetson-tx1, TX1", "Jetson TX1", "Maxwell"),
        ("jetson-tx2, tx2, Jetson TX2 NX, jetson-tx2-nx, tx2i", "Jetson TX2", "Pascal"),
        ("raspberry-pi-3, Raspberry Pi 3B+, rpi3", "Raspberry Pi 3", "Cortex-A53"),
        ("raspberry-pi-4, Pi 4, raspberry-pi-4b-8gb", "Raspberry Pi 4", "Cortex-A72"),
        ("raspberry-pi-zero, Raspberry Pi Zero W, raspberry-pi-2", "Raspberry Pi", "32-bit"),
        ("raspberry-pi-zero-2-w", "Raspberry Pi Zero 2", "Cortex-A53"),
        ("coral, google-coral-dev-board, edge-tpu", "Edge TPU", "compiler"),
        ("hailo-8, hailo8l, raspberry-pi-5-hailo", "Hailo", "compiler"),
    ],
)
def test_a_device_that_is_no_target_is_not_taken_for_another(names: str, device: str, why: str) -> None:
    for name in names.split(", "):
        with pytest.raises(UsageError) as caught:
            load(name)
        what, because, fix = caught.value.what, caught.value.why, caught.value.fix
        assert what.startswith(f"Target '{name}': ") and device in what.removeprefix(f"Target '{name}': ")
        assert why in because
        assert "Did you mean" not in fix and "orin" not in fix.lower()


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


def with_gpu(name: str, capability: str, arch: str = "x86_64") -> Target:
    gpu = Gpu(name=name, compute_capability=capability, precisions=nvidia.precisions(capability))
    return msgspec.structs.replace(machine("avx2", "vnni", arch=arch), gpu=gpu)


@pytest.mark.parametrize(
    ("machine", "fit"),
    [
        (with_gpu("NVIDIA H200", "9.0"), ["h200"]),
        (with_gpu("NVIDIA H100 PCIe", "9.0"), []),
        (with_gpu("NVIDIA GeForce RTX 4090", "8.9"), ["rtx-ada"]),
        (with_gpu("NVIDIA GeForce RTX 3060", "8.6"), ["rtx-ampere"]),
        (with_gpu("NVIDIA RTX PRO 6000 Blackwell", "12.0"), ["rtx-blackwell"]),
        (with_gpu("NVIDIA A100", "8.0"), []),
        (with_gpu("NVIDIA GeForce RTX 4090", "8.9", arch="aarch64"), []),
        (N100, []),
    ],
    ids=lambda value: value.gpu.name if isinstance(value, Target) and value.gpu else None,
)
def test_a_gpu_is_matched_by_its_compute_capability_and_model(machine: Target, fit: list[str]) -> None:
    assert [t.name for t in devices.every() if t.gpu and matches(t, machine)] == fit


def test_another_number_of_cores_is_another_device() -> None:
    assert not matches(load("raspberry-pi-5"), msgspec.structs.replace(PI5, cores=2))


def test_this_machine_matches_itself() -> None:
    assert matches(load("this-machine"), detect.this_machine())
