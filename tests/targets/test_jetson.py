"""Jetsons on recorded file trees, all synthetic (see `boards`): no file here was copied from a device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import boards
import pytest

from edgewright.targets import detect, devices, jetson, nvidia
from edgewright.targets.catalogue import load
from edgewright.targets.describe import describe
from edgewright.targets.detect import this_machine
from edgewright.targets.target import Target, fastest_mode, matches

ALL = frozenset(range(64))
KNOWN: dict[str, Callable[[Path], Path]] = {
    "jetson-orin-nano-8gb": boards.orin_nano,
    "jetson-agx-orin-64gb": boards.agx_orin,
    "jetson-agx-thor": boards.thor,
    "jetson-xavier-nx": boards.xavier_nx,
}


def found(build: Callable[[Path], Path], root: Path) -> Target:
    return this_machine(build(root), ALL)


def holding(machine: Target) -> list[str]:
    """The descriptions with a GPU that figures of `machine` hold for (those of its CPU alone set aside)."""
    return [t.name for t in devices.every() if t.gpu and matches(t, machine)]


@pytest.mark.parametrize(
    ("name", "jetpack", "l4t", "tensorrt", "capability", "dla"),
    [
        ("jetson-orin-nano-8gb", "6.2.1", "36.4.4", "10.3.0.30", "8.7", 0),
        ("jetson-agx-orin-64gb", "5.1.2", "35.4.1", None, "8.7", 2),
        ("jetson-agx-thor", "7.0", "38.2.0", None, "11.0", 0),
        ("jetson-xavier-nx", "5.1.2", "35.4.1", None, "7.2", 2),
    ],
)
def test_a_board_is_known_by_its_module(
    name: str, jetpack: str, l4t: str, tensorrt: str | None, capability: str, dla: int, tmp_path: Path
) -> None:
    machine = found(KNOWN[name], tmp_path)
    (software,) = machine.software
    assert (software.jetpack, software.l4t, software.tensorrt) == (jetpack, l4t, tensorrt)
    assert machine.gpu is not None
    assert (machine.gpu.compute_capability, machine.dla_cores) == (capability, dla)
    assert [r.name for r in machine.runtimes] == ["tensorrt", "onnxruntime"]
    assert machine.runtimes[0].precisions == ("f32", "f16")
    assert f"JetPack {jetpack}" in machine.title


@pytest.mark.parametrize("name", KNOWN)
def test_figures_hold_for_the_modules_own_description_alone(name: str, tmp_path: Path) -> None:
    """Orin Nano, NX and AGX share a compute capability, not cores and clocks."""
    machine = found(KNOWN[name], tmp_path)
    assert holding(machine) == [name]


def test_without_part_numbers_name_and_memory_tell_modules_apart(tmp_path: Path) -> None:
    boards.orin_nano(tmp_path)
    boards.write(tmp_path, "proc/device-tree/compatible", "acme,carrier\0nvidia,tegra234\0")
    assert holding(this_machine(tmp_path, ALL)) == ["jetson-orin-nano-8gb"]
    boards.write(tmp_path, "proc/meminfo", "MemTotal:        3602656 kB\n")
    assert holding(this_machine(tmp_path, ALL)) == ["jetson-orin-nano-4gb"]


def test_an_unknown_release_of_an_unknown_board_still_works(tmp_path: Path) -> None:
    machine = found(boards.future, tmp_path)
    assert machine.title == "NVIDIA Jetson Next Developer Kit, unknown JetPack, L4T r44.1.2"
    assert (machine.gpu, machine.dla_cores) == (None, 0)
    assert [r.name for r in machine.runtimes] == ["onnxruntime", "openvino"]
    notes = " ".join(machine.notes)
    assert "p9001-0000" in notes
    assert "L4T r44.1.2 is not known" in notes
    assert "unknown JetPack, L4T r44.1.2" in describe(machine)


@pytest.mark.parametrize(
    ("release", "jetpack"),
    [
        ("35.1.0", "5.0.2"), ("35.2.1", "5.1"), ("35.3.1", "5.1.1"), ("35.4.1", "5.1.2"), ("35.5.0", "5.1.3"),
        ("35.6.0", "5.1.4"), ("35.6.1", "5.1.5"), ("36.3.0", "6.0"), ("36.4.0", "6.1"), ("36.4.3", "6.2"),
        ("36.4.4", "6.2.1"), ("36.4.7", "6.2.1"), ("38.2.0", "7.0"), ("38.4.0", "7.1"),
        ("36.4.5", "6.2.x"), ("36.4.9", "6.2.x"), ("35.6.9", "5.1.x"),  # between, or behind the last of a series
        ("36.4.2", "6.x"), ("36.9.0", "6.x"), ("35.0.1", "5.x"),  # only the major version is sure
        ("32.7.4", None), ("99.1.0", None),
    ],
)  # fmt: skip
def test_a_release_without_its_package_is_never_called_by_a_wrong_figure(
    release: str, jetpack: str | None, tmp_path: Path
) -> None:
    boards.orin_nano(tmp_path)
    major, _, revision = release.partition(".")
    boards.write(tmp_path, "etc/nv_tegra_release", f"# R{major} (release), REVISION: {revision}, GCID: 1\n")
    boards.write(tmp_path, "var/lib/dpkg/status", "")
    machine = this_machine(tmp_path, ALL)
    assert (machine.software[0].jetpack, machine.software[0].l4t) == (jetpack, release)
    assert machine.title.endswith(f"JetPack {jetpack}" if jetpack else f"unknown JetPack, L4T r{release}")


def test_the_descriptions_say_what_the_table_of_releases_says() -> None:
    for target in devices.every():
        for software in target.software:
            if software.l4t and software.jetpack and not software.jetpack.endswith(".x"):
                assert jetson.jetpack_of(software.l4t) == software.jetpack, target.name


def test_a_new_release_on_a_known_board_keeps_what_the_board_is(tmp_path: Path) -> None:
    boards.orin_nano(tmp_path)
    boards.write(tmp_path, "etc/nv_tegra_release", "# R41 (release), REVISION: 0.0, GCID: 1\n")
    boards.write(tmp_path, "var/lib/dpkg/status", "")
    machine = this_machine(tmp_path, ALL)
    assert machine.gpu == load("jetson-orin-nano").gpu
    assert (machine.software[0].jetpack, machine.software[0].l4t) == (None, "41.0.0")


def test_a_container_without_device_tree_is_a_jetson_of_unknown_board(tmp_path: Path) -> None:
    machine = found(boards.container, tmp_path)
    assert (machine.software[0].l4t, machine.gpu) == ("36.4.3", None)
    assert "systempaths=unconfined" in " ".join(machine.notes)
    assert holding(machine) == []


def test_in_docker_sysfs_tells_the_board(tmp_path: Path) -> None:
    machine = found(boards.masked, tmp_path)
    assert holding(machine) == ["jetson-orin-nx-16gb"]
    assert (machine.dla_cores, machine.software[0].jetpack) == (2, "6.2")
    assert machine.gpu == load("jetson-orin-nx").gpu


def test_a_module_that_is_not_known_borrows_nothing_from_its_namesakes(tmp_path: Path) -> None:
    """E.g. the industrial AGX Orin: the same name and chip, other clocks."""
    boards.agx_orin(tmp_path)
    boards.write(tmp_path, "proc/device-tree/compatible", "nvidia,p3737-0000+p3701-0008\0nvidia,tegra234\0")
    machine = this_machine(tmp_path, ALL)
    assert holding(machine) == []
    assert machine.gpu is not None
    assert (machine.gpu.compute_capability, machine.dla_cores) == ("8.7", 0)
    assert "This board (p3701-0008) has no built-in target" in " ".join(machine.notes)


def test_a_gpu_in_a_pc_counts_where_tensorrt_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    h200 = nvidia.Found("NVIDIA H200", "570", 143_771 << 20, "9.0")
    monkeypatch.setattr(nvidia, "gpus", lambda: (h200,))
    monkeypatch.setattr(detect, "find_spec", lambda name: None)
    machine = this_machine()
    assert machine.gpu is not None
    assert machine.title.endswith("NVIDIA H200")
    assert "tensorrt" not in [r.name for r in machine.runtimes]
    monkeypatch.setattr(detect, "find_spec", lambda name: name == "tensorrt")
    first = this_machine().runtimes[0]
    assert (first.name, first.precisions, first.schemes) == ("tensorrt", ("f32", "f16"), ("tensorrt",))


def test_a_session_that_asks_for_cores_does_not_wait_for_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "gpus", lambda: pytest.fail("nvidia-smi takes up to seconds"))
    detect.physical_cores.cache_clear()
    assert detect.physical_cores() >= 1


def test_only_installed_packages_count(tmp_path: Path) -> None:
    installed = jetson.packages(boards.orin_nano(tmp_path))
    assert installed["libnvinfer10"].startswith("10.3.0")
    assert "libnvinfer8" not in installed, "it was removed; its configuration is what dpkg still lists"
    assert "zlib1g" not in installed


@pytest.mark.parametrize(
    ("build", "name", "id", "fastest"),
    [
        (boards.orin_nano, "15W", 0, "MAXN_SUPER"),
        (boards.agx_orin, "MAXN", 0, "MAXN"),
        (boards.thor, "120W", 1, "MAXN"),  # never set: the configuration's default is in force
        (boards.xavier_nx, "MODE_15W_6CORE", 2, "MODE_20W_6CORE"),
        (boards.container, None, None, None),
    ],
)
def test_power_modes(
    build: Callable[[Path], Path], name: str | None, id: int | None, fastest: str | None, tmp_path: Path
) -> None:
    modes = jetson.modes(build(tmp_path))
    assert (modes.name, modes.id, modes.fastest) == (name, id, fastest)
    assert "COMMENT" not in modes.all


def test_the_fastest_mode_is_not_the_one_with_the_highest_id() -> None:
    assert fastest_mode(("15W", "25W", "MAXN_SUPER", "7W")) == "MAXN_SUPER"
    assert fastest_mode(("MODE_30W_2CORE", "MODE_30W_ALL", "MODE_30W_6CORE")) == "MODE_30W_ALL"
    assert fastest_mode(("quiet", "loud")) is None
    assert jetson.gpu_cap_mhz(Path("/nowhere"), "MAXN") is None


def test_the_cap_of_a_mode_is_the_configurations(tmp_path: Path) -> None:
    boards.orin_nano(tmp_path)
    assert [jetson.gpu_cap_mhz(tmp_path, mode) for mode in ("15W", "25W", "MAXN_SUPER")] == [612, 918, None]


@pytest.mark.parametrize(
    ("text", "capability", "gib"),
    [
        ("NVIDIA H200, 570.86.15, 143771, 9.0\n", "9.0", 140),
        ("NVIDIA Thor, 580.00, [N/A], 11.0\n", "11.0", None),
        ("Quadro K620, 390.1, 2000\n", None, 1),
        ("", None, None),
    ],
)
def test_what_nvidia_smi_prints(text: str, capability: str | None, gib: int | None) -> None:
    gpus = nvidia.parse(text)
    assert len(gpus) == bool(text)
    for gpu in gpus:
        assert gpu.compute_capability == capability
        assert (gpu.memory_bytes >> 30 if gpu.memory_bytes else None) == gib
        as_gpu = nvidia.as_gpu(gpu)
        assert (as_gpu.shared_memory if as_gpu else None) == (None if capability is None else gib is None)


@pytest.mark.parametrize(
    ("capability", "has", "lacks"),
    [
        ("5.3", {"f16"}, {"int8", "bf16", "fp8"}),  # Nano
        ("6.2", {"f16"}, {"int8"}),  # TX2
        ("7.2", {"f16", "int8"}, {"bf16", "tf32", "fp8"}),
        ("8.7", {"f16", "int8", "bf16", "tf32"}, {"fp8", "fp4"}),
        ("8.9", {"fp8"}, {"fp4"}),
        ("11.0", {"fp8", "fp4", "int8"}, set()),
    ],
)
def test_precisions_that_exist_in_hardware(capability: str, has: set[str], lacks: set[str]) -> None:
    found = set(nvidia.precisions(capability))
    assert has <= found
    assert not lacks & found
