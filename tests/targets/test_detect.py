"""Detection on recorded machines. The samples are synthetic: written for these tests in the kernel's format."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgewright.targets import detect
from edgewright.targets.detect import parse_cpuinfo, this_machine

SPR_FLAGS = (
    "fpu sse4_2 avx avx2 avx512f avx512bw avx_vnni avx512_bf16 avx512_vnni amx_bf16 avx512_fp16 amx_tile amx_int8"
)
ZEN3_FLAGS = "fpu sse4_2 avx fma avx2 vaes"
PI5_FEATURES = "fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
GRAVITON3_FEATURES = f"{PI5_FEATURES} sve i8mm bf16"


def x86(name: str, flags: str, cores: int, threads: int = 1, sockets: int = 1) -> str:
    """Synthetic: Linux numbers the first thread of every core, then the second ones."""
    blocks = []
    for index in range(sockets * cores * threads):
        core = index % (cores * sockets)
        blocks.append(
            f"processor\t: {index}\nvendor_id\t: x\nmodel name\t: {name}\nphysical id\t: {core // cores}\n"
            f"core id\t\t: {core % cores}\ncpu cores\t: {cores}\nflags\t\t: {flags}\nbugs\t\t: avx2_bug\n"
        )
    return "\n".join(blocks) + "\n"


def arm(features: str, cores: int, tail: str = "") -> str:
    """Synthetic: Arm kernels give no model name and no core ids."""
    block = "processor\t: {}\nBogoMIPS\t: 108.00\nFeatures\t: {}\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"
    return "\n".join(block.format(index, features) for index in range(cores)) + "\n" + tail


@pytest.mark.parametrize(
    ("text", "name", "isa", "cores"),
    [
        (
            x86("Intel(R) Xeon(R) Platinum 8481C", SPR_FLAGS, 4, threads=2, sockets=2),
            "Intel(R) Xeon(R) Platinum 8481C",
            {"avx2", "avx512f", "avx_vnni", "avx512_vnni", "vnni", "avx512_bf16", "amx_int8", "amx_bf16"},
            8,
        ),
        (x86("AMD EPYC", ZEN3_FLAGS, 2), "AMD EPYC", {"avx2"}, 2),
        (x86("Intel(R) N100", "avx2 avx_vnni", 4), "Intel(R) N100", {"avx2", "avx_vnni", "vnni"}, 4),
        (x86("old", "sse4_2", 2, threads=2), "old", set(), 2),
        (arm(PI5_FEATURES, 4, "Revision\t: c04170\nModel\t: Raspberry Pi 5\n"), "", {"neon", "fp16", "dotprod"}, 4),
        (arm(GRAVITON3_FEATURES, 64), "", {"neon", "fp16", "dotprod", "i8mm", "bf16"}, 64),
        ("", "", set(), 1),
    ],
    ids=["spr", "zen3", "n100", "old", "pi5", "graviton3", "empty"],
)
def test_reads_cpuinfo(text: str, name: str, isa: set[str], cores: int) -> None:
    cpu = parse_cpuinfo(text)
    assert (cpu.name, set(cpu.isa), cpu.cores) == (name, isa, cores)


def test_counts_only_the_cores_that_the_process_may_use() -> None:
    text = x86("Xeon", SPR_FLAGS, 4, threads=2)
    assert parse_cpuinfo(text, frozenset({0, 4})).cores == 1  # both threads of one core
    assert parse_cpuinfo(text, frozenset({0, 1, 4})).cores == 2


def test_a_big_little_pair_has_what_both_have() -> None:
    text = x86("big", "avx2 avx512f", 1) + "\n" + x86("little", "avx2", 1).replace("processor\t: 0", "processor\t: 1")
    assert parse_cpuinfo(text).isa == ("avx2",)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A machine with 8 GiB and four cores, as a folder with proc/ and sys/."""
    write(tmp_path, "proc/cpuinfo", x86("Xeon", SPR_FLAGS, 4, threads=2))
    write(tmp_path, "proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n")
    return tmp_path


def write(root: Path, name: str, content: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)


ALL = frozenset(range(64))


def test_this_machine_from_recorded_files(recorded: Path) -> None:
    target = this_machine(recorded, ALL)
    assert (target.name, target.arch, target.cores, target.memory_bytes) == ("this-machine", "x86_64", 4, 8 << 30)
    assert target.title == "Xeon, 4 cores"
    assert {r.name: (r.precisions, r.schemes) for r in target.runtimes} == {
        "onnxruntime": (("f32",), ("ort-x86-vnni",)),
        "openvino": (("f32", "bf16"), ("openvino-vnni",)),
    }


def test_a_board_says_its_name(tmp_path: Path) -> None:
    write(tmp_path, "proc/cpuinfo", arm(PI5_FEATURES, 4))
    write(tmp_path, "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    target = this_machine(tmp_path, ALL)
    assert (target.arch, target.model, target.cores) == ("aarch64", "Raspberry Pi 5 Model B Rev 1.0", 4)
    assert {r.name: (r.precisions, r.schemes) for r in target.runtimes} == {
        "onnxruntime": (("f32",), ("ort-arm",)),
        "openvino": (("f32", "f16"), ()),
    }


@pytest.mark.parametrize(
    ("files", "cores", "gib"),
    [
        ({"sys/fs/cgroup/cpu.max": "200000 100000\n", "sys/fs/cgroup/memory.max": f"{2 << 30}\n"}, 2, 2),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n"}, 4, 8),
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1, 8),
        (
            {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "300000 100000",
             "sys/fs/cgroup/a/b/memory.max": f"{1 << 30}"},
            3,
            1,
        ),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{4 << 30}\n",
            },
            1,
            4,
        ),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 4, 8),
    ],
    ids=["v2", "unlimited", "half a core", "nested", "v1", "v1 unlimited"],
)  # fmt: skip
def test_a_container_limits_cores_and_memory(recorded: Path, files: dict[str, str], cores: int, gib: int) -> None:
    for name, content in files.items():
        write(recorded, name, content)
    target = this_machine(recorded, ALL)
    assert (target.cores, target.memory_bytes) == (cores, gib << 30)


def test_without_proc_nothing_is_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    target = this_machine(tmp_path)
    assert (target.arch, target.isa) == ("aarch64", ("neon",))
    assert "not detected on Darwin" in target.notes[0]


def test_the_real_machine_is_described() -> None:
    target = this_machine()
    assert 1 <= (target.cores or 0) <= (os.cpu_count() or 1)
    assert target.memory_bytes and target.memory_bytes > 1 << 28
    assert target.runtimes
    assert detect.physical_cores() == target.cores
