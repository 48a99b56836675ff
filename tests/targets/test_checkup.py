"""What a device lacks, on recorded file trees, all synthetic (see `boards`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import boards
import msgspec
import pytest

from edgewright.cli.main import run_command
from edgewright.targets import catalogue, detect
from edgewright.targets.checkup import Check, Interpreter, checkup
from edgewright.targets.target import Gpu

READY = Interpreter("3.10", frozenset({"tensorrt", "cuda"}), isolated=False)
BARE = Interpreter("3.10", frozenset(), isolated=False)


def looked_at(root: Path, interpreter: Interpreter = READY) -> dict[str, Check]:
    machine = detect.this_machine(root, frozenset(range(64)))
    return {check.what: check for check in checkup(machine, root, interpreter)}


def one(found: dict[str, Check], part: str) -> Check:
    (check,) = (check for what, check in found.items() if part in what)
    return check


def test_a_ready_orin_nano_is_told_what_it_has_and_how_to_get_its_full_clocks(tmp_path: Path) -> None:
    found = looked_at(boards.orin_nano(tmp_path))
    assert [check.what for check in found.values() if check.state == "missing"] == []
    assert one(found, "JetPack 6.2.1, L4T r36.4.4").state == "ok"
    assert one(found, "TensorRT 10.3.0.30").state == "ok"
    assert one(found, "power mode 15W").fix == "sudo nvpmodel -m 2", "MAXN_SUPER has the ID 2 here"
    assert one(found, "clocks change with the load").fix == "sudo jetson_clocks"
    assert one(found, "5.6 of 7.4 GiB of memory free, 3.7 GiB of swap").state == "ok"
    assert one(found, "VDD_IN").state == "ok"


def test_held_clocks_are_seen(tmp_path: Path) -> None:
    boards.orin_nano(tmp_path)
    boards.write(tmp_path, "sys/class/devfreq/17000000.gpu/min_freq", 612_000_000)
    assert one(looked_at(tmp_path), "fixed at its limit").state == "ok"


def test_bindings_that_an_environment_hides(tmp_path: Path) -> None:
    boards.orin_nano(tmp_path)
    hidden = one(looked_at(tmp_path, BARE._replace(isolated=True)), "bindings")
    assert (hidden.state, "--system-site-packages" in hidden.fix) == ("missing", True)
    other = one(looked_at(tmp_path, BARE._replace(python="3.12")), "bindings")
    assert "not for this Python 3.12" in other.what
    assert one(looked_at(tmp_path, BARE), "cuda-python").fix == "pip install 'cuda-python==12.6.*'"


def test_cuda_python_of_another_major_version(tmp_path: Path) -> None:
    assert one(looked_at(boards.thor(tmp_path), BARE), "cuda-python").fix == "pip install 'cuda-python==13.*'"


def test_this_interpreter_is_looked_at_without_importing_tensorrt() -> None:
    script = "import sys; from edgewright.targets.checkup import this_interpreter as i; i(); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"tensorrt", "tensorrt_rtx", "cuda.bindings.runtime"} & set(run.stdout.split())


def test_a_freshly_flashed_board_lacks_tensorrt(tmp_path: Path) -> None:
    found = looked_at(boards.agx_orin(tmp_path), BARE)
    assert "nvidia-jetpack" in one(found, "libraries").fix
    assert one(found, "bindings").fix == "sudo apt install python3-libnvinfer"
    assert one(found, "power mode MAXN, the fastest").state == "ok"


def test_little_memory_and_no_swap_are_named(tmp_path: Path) -> None:
    boards.orin_nano(tmp_path)
    boards.write(tmp_path, "proc/meminfo", "MemTotal: 7802656 kB\nMemAvailable: 1802656 kB\nSwapTotal: 0 kB\n")
    assert "multi-user" in one(looked_at(tmp_path), "1.7 of 7.4 GiB").fix
    boards.write(tmp_path, "proc/meminfo", "MemTotal: 7802656 kB\nMemAvailable: 5802656 kB\nSwapTotal: 0 kB\n")
    assert "mkswap" in one(looked_at(tmp_path), "no swap").fix


def test_an_unknown_release_and_a_container_are_no_failure(tmp_path: Path) -> None:
    assert one(looked_at(boards.future(tmp_path / "a")), "JetPack of L4T r44.1.2 is not known").state == "note"
    found = looked_at(boards.container(tmp_path / "b"))
    assert one(found, "power mode is not known").state == "note"
    assert one(found, "no power sensor").state == "note"


def test_a_pc_with_a_gpu_and_one_without(tmp_path: Path) -> None:
    boards.write(tmp_path, "proc/cpuinfo", "processor\t: 0\nmodel name\t: x\nflags\t: avx2\n")
    machine = detect.this_machine(tmp_path, frozenset({0}))
    assert checkup(machine, tmp_path, BARE) == ()
    gpu = Gpu(name="NVIDIA H200", compute_capability="9.0", precisions=("f32",))
    boards.write(tmp_path, "sys/class/powercap/intel-rapl:0/name", "package-0\n")
    found = checkup(msgspec.structs.replace(machine, gpu=gpu), tmp_path, BARE)
    assert [check.state for check in found] == ["missing", "missing", "note"]
    assert "chmod a+r" in found[-1].fix, "RAPL is there, but not for this user"


def test_doctor_prints_it_within_100_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    boards.agx_orin(tmp_path)
    machine = detect.this_machine(tmp_path, frozenset(range(64)))
    monkeypatch.setattr(catalogue, "load", lambda name: machine)
    monkeypatch.setattr("edgewright.targets.checkup.checkup", lambda found: checkup(found, tmp_path, BARE))
    monkeypatch.setattr("edgewright.runtimes.registry.names", tuple)
    assert run_command(["doctor"]) == 0
    out = capfd.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    for fact in ("Jetson AGX Orin", "sudo apt install python3-libnvinfer", "missing", "2:4 sparsity"):
        assert fact in " ".join(out.split())
    assert run_command(["doctor", "--json"]) == 0
    assert '"state": "missing"' in capfd.readouterr().out
