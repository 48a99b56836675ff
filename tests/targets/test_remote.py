"""Files and jobs on a device, over a real sshd: sent once, started once, and none the worse for a cut connection."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from loopback import Sshd, Wire
from msgspec.structs import replace

from edgewright.core import files
from edgewright.core.child import Limits
from edgewright.core.errors import DiskFull, EdgewrightError, IntegrityError, RuntimeFailed, TimedOut, UsageError
from edgewright.targets import answers, remote, wheel
from edgewright.targets.job import JobRequest
from edgewright.targets.remote import Device, Remote, connect
from edgewright.targets.ssh import Unreachable

ODD = 'it\'s a "name"\n$(touch x) `y`.bin'
SHELL = "subprocess:call"


def command(*words: str, **limits: float) -> JobRequest:
    """A command that runs in the job's output folder."""
    return JobRequest(target=SHELL, kwargs={"args": list(words)}, limits=Limits(**limits), into="cwd")


def shell(connected: Remote, script: str, out: Path, **more: object) -> object:
    """A job that runs a shell script in its output folder."""
    return connected.run(command("sh", "-c", script, wall_s=60), out, **more)  # type: ignore[arg-type]


def noise(path: Path, size: int, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.random.default_rng(seed).bytes(size))
    return path


def test_any_name_goes_there_and_comes_back(device: Device, tmp_path: Path) -> None:
    noise(tmp_path / "in" / "sub dir" / ODD, 1000)
    with connect(device) as connected:
        (there,) = connected.push_folders([tmp_path / "in"])
        script = 'cp -r "$0"/. . && printf done > empty.txt && : > none'
        connected.run(command("sh", "-c", script, there), tmp_path / "out")
        connected.forget()
    assert files.tree(tmp_path / "out") == sorted([f"sub dir/{ODD}", "empty.txt", "none"])
    assert (tmp_path / "out/sub dir" / ODD).read_bytes() == (tmp_path / "in/sub dir" / ODD).read_bytes()


def test_nothing_is_sent_twice(device: Device, wire: Wire, tmp_path: Path) -> None:
    image = noise(tmp_path / "a.png", 2_000_000, seed=1)
    with connect(replace(device, address=f"127.0.0.1:{wire.port}")) as connected:
        before = wire.sent
        connected.push_files([str(image)])
        once = wire.sent - before
        (tmp_path / "again").mkdir()
        connected.push_files([str(image.rename(tmp_path / "again" / "b.png"))])
        connected.push_folders([tmp_path / "again"])
        assert once > 2_000_000 and wire.sent - before - once < 100_000


def test_a_cut_file_is_sent_on_from_where_it_was_cut(device: Device, wire: Wire, tmp_path: Path) -> None:
    big = noise(tmp_path / "big", 16_000_000, seed=2)
    with connect(replace(device, address=f"127.0.0.1:{wire.port}")) as connected:
        before = wire.sent
        wire.cut_after(12_000_000)
        (there,) = connected.push_files([str(big)])
        assert wire.cuts == 1 and wire.sent - before < 22_000_000
        assert files.sha256(Path(there)) == files.sha256(big)


def test_a_damaged_rest_of_a_cut_file_is_sent_anew(device: Device, tmp_path: Path) -> None:
    big = noise(tmp_path / "big", 300_000, seed=3)
    with connect(device) as connected:
        Path(connected.root, "files", f".{files.sha256(big)}.part").write_bytes(b"other bytes")
        (there,) = connected.push_files([str(big)])
        assert Path(there).read_bytes() == big.read_bytes()


def test_cuts_at_any_moment_change_nothing(device: Device, wire: Wire, tmp_path: Path) -> None:
    source = noise(tmp_path / "in" / "x.bin", 3_000_000, seed=4)
    script = f'echo run >> "{tmp_path}/runs"; sleep 2; cat "$0"/x.bin "$0"/x.bin > twice'
    with connect(replace(device, address=f"127.0.0.1:{wire.port}")) as connected:
        cutter = wire.cut_at_random(5, seed=5, within_s=(0.1, 0.8))
        (there,) = connected.push_folders([tmp_path / "in"])
        connected.run(command("sh", "-c", script, there), tmp_path / "out")
        while wire.cuts < 5:  # what is left of them falls on more pulls
            connected.run(command("sh", "-c", script, there), tmp_path / "out")
        cutter.join()
    assert (tmp_path / "out/twice").read_bytes() == source.read_bytes() * 2
    assert (tmp_path / "runs").read_text() == "run\n"


CLIENT = """
import sys
from pathlib import Path
from edgewright.core.child import Limits
from edgewright.targets.job import JobRequest
from edgewright.targets.remote import Device, connect

address, python, folder, script, out = sys.argv[1:]
with connect(Device(address=address, python=python, folder=folder)) as connected:
    asked = JobRequest(
        target="subprocess:call", kwargs={"args": ["sh", "-c", script]}, limits=Limits(wall_s=60), into="cwd"
    )
    connected.run(asked, Path(out))
"""


def test_a_killed_client_finds_its_job_again(device: Device, tmp_path: Path) -> None:
    script = f'echo run >> "{tmp_path}/runs"; sleep 1.5; echo result > result'
    words = [sys.executable, "-c", CLIENT, device.address, device.python, device.folder, script, str(tmp_path / "out")]
    client = subprocess.Popen(words)
    wait_for(tmp_path / "runs")
    client.kill()
    client.wait()
    assert not (tmp_path / "out/result").exists()
    subprocess.run(words, check=True)
    assert (tmp_path / "out/result").read_text() == "result\n"
    assert (tmp_path / "runs").read_text() == "run\n"
    with connect(device) as connected:  # forgotten, it is done anew
        shell(connected, script, tmp_path / "out")
        connected.forget()
        shell(connected, script, tmp_path / "out")
        connected.forget()
    assert (tmp_path / "runs").read_text() == "run\n" * 2


def test_a_job_that_was_killed_is_told_and_can_be_started_again(device: Device, tmp_path: Path) -> None:
    script = f'echo $PPID > "{tmp_path}/pid"; [ -e "{tmp_path}/go" ] || sleep 20'

    def kill() -> None:
        wait_for(tmp_path / "pid")
        about = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat").read_text()
        os.kill(int(about.rpartition(")")[2].split()[1]), signal.SIGKILL)  # its parent holds the lock

    killer = threading.Thread(target=kill)
    with connect(device) as connected:
        killer.start()
        with pytest.raises(RuntimeFailed, match="ended without a result"):
            shell(connected, script, tmp_path / "out")
        killer.join()
        wait_gone(int((tmp_path / "pid").read_text()))  # its child went with it
        (tmp_path / "go").touch()
        assert shell(connected, script, tmp_path / "out") == 0
        connected.forget()


def test_a_job_that_fails_says_why_in_the_users_words(device: Device, tmp_path: Path) -> None:
    image = noise(tmp_path / "broken.png", 100)
    with connect(device) as connected:
        (there,) = connected.push_files([str(image)])
        with pytest.raises(EdgewrightError, match=f"On .*{device.address}: Image {image}"):
            asked = JobRequest(target="edgewright.bench.device:answer", kwargs={"artifact": "/x", "images": [there]})
            connected.run(asked, tmp_path)
        with pytest.raises(TimedOut, match=r"longer than 0\.5 s"):
            connected.run(command("sleep", "9", wall_s=0.5), tmp_path)


def test_a_full_disk_is_told_before_and_while_it_fills(device: Device, sshd: Sshd, tmp_path: Path) -> None:
    big = noise(tmp_path / "big", 40_000_000, seed=6)
    with connect(device) as connected:
        huge = tmp_path / "huge"
        huge.touch()
        os.truncate(huge, os.statvfs(connected.root).f_bavail * os.statvfs(connected.root).f_frsize + (1 << 30))
        connected._digests[(str(huge), huge.stat().st_size, huge.stat().st_mtime_ns)] = "0" * 64  # not to be read
        with pytest.raises(DiskFull, match="No space left on"):
            connected.push_files([str(huge)])
    (tmp_path / "small").mkdir()
    limited = Sshd(tmp_path / "small")  # a session may write 20 MB: as on a full disk, a write fails in the middle
    with limited.serving(file_bytes=20_000_000) as running:
        sshd.trust(running.folder / "host.pub", running.port)
        slow = replace(device, address=running.address, identity=str(running.folder / "id"))
        with connect(slow) as connected, pytest.raises(DiskFull, match="No space left on") as error:
            connected.push_files([str(big)])
        assert error.value.exit_code == 8 and "--device-folder" in error.value.fix


def test_a_disk_that_is_really_full(device: Device, tmp_path: Path) -> None:
    mount = tmp_path / "tmpfs"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("mounting a small file system takes root")
    try:
        with pytest.raises(DiskFull, match="No space left on"), connect(replace(device, folder=f"{mount}/e")):
            pass
        noise(mount / "filler", 200_000).open("ab").close()
        with pytest.raises(DiskFull), connect(replace(device, folder=f"{mount}/f")):
            pass
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def test_a_folder_that_cannot_be_made_or_is_not_ours(device: Device, tmp_path: Path) -> None:
    with (
        pytest.raises(Unreachable, match="The folder /proc/edgewright cannot be created"),
        connect(replace(device, folder="/proc/edgewright")),
    ):
        pass
    mine = noise(tmp_path / "photos" / "holiday.jpg", 10)
    theirs = replace(device, folder=str(mine.parent), clean=True)
    with pytest.raises(UsageError, match="not from edgewright"), connect(theirs):
        pass
    with pytest.raises(UsageError, match="not from edgewright"):
        remote.clean(theirs)
    assert mine.exists()


def test_clean_ends_jobs_and_leaves_nothing(device: Device, tmp_path: Path) -> None:
    there = replace(device, folder=str(tmp_path / "there"), clean=True)
    with pytest.raises(ZeroDivisionError), connect(there) as connected:
        assert (tmp_path / "there").stat().st_mode & 0o077 == 0
        script = f'echo $PPID > "{tmp_path}/pid"; sleep 20'
        request = {"target": SHELL, "kwargs": {"args": ["sh", "-c", script]}, "limits": {}, "into": "cwd"}
        about = {"root": connected.root, "key": "k", "request": request, "python": connected._python}
        connected.ask("start", answers.Started, **about)
        wait_for(tmp_path / "pid")
        raise ZeroDivisionError
    assert not (tmp_path / "there").exists()
    wait_gone(int((tmp_path / "pid").read_text()))
    assert remote.clean(there) is False


def test_a_new_version_takes_the_place_of_one_that_nobody_uses(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = replace(device, folder=str(tmp_path / "there"))

    def environments() -> set[str]:
        return {path.name for path in Path(device.folder).glob("env-*")}

    with connect(device):
        first = environments()
    packed = wheel.pack()
    monkeypatch.setattr(wheel, "pack", lambda: packed + b" ")
    with connect(device):
        assert len(environments()) == 2, "another client may be at work with the first"
    for old in first:
        os.utime(Path(device.folder, old), (0, 0))
    with connect(device):
        second = environments()
    assert len(first) == len(second) == 1 and first != second


def test_what_python_lacks_is_named_or_taken_from_the_wheels(device: Device, bare: Path, tmp_path: Path) -> None:
    for path in bare.glob("lib/*/site-packages/rich*"):
        path.unlink()
    lacking = replace(device, python=str(bare / "bin/python"), folder=str(tmp_path / "there"))
    with pytest.raises(Unreachable, match=r"cannot install the missing packages: rich>=13") as error, connect(lacking):
        pass
    (pin,) = re.findall(r"rich==(\S+)", error.value.fix)  # in the command that fetches the wheels
    fake_wheel(tmp_path / "wheels", "99.0")
    with (
        pytest.raises(Unreachable, match="cannot install the missing packages: rich>=13"),
        connect(replace(lacking, wheels=str(tmp_path / "wheels"))),
    ):
        pass
    fake_wheel(tmp_path / "wheels", pin)
    with connect(replace(lacking, wheels=str(tmp_path / "wheels"))) as connected:
        about = connected.run(JobRequest(target="edgewright.bench.device:about"), tmp_path / "out")
    assert not about["runtimes"]["onnxruntime"]["available"]
    (there,) = (tmp_path / "there").glob("env-*/lib/python3*/site-packages/rich-*")
    assert there.name == f"rich-{pin}.dist-info", "not the newest, the one that is pinned"


def fake_wheel(folder: Path, version: str) -> None:
    folder.mkdir(exist_ok=True)
    info = f"rich-{version}.dist-info"
    with zipfile.ZipFile(folder / f"rich-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr("rich/__init__.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: rich\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def test_what_is_removed_from_the_system_is_installed_at_the_next_connection(
    device: Device, bare: Path, tmp_path: Path
) -> None:
    there = replace(device, python=str(bare / "bin/python"), folder=str(tmp_path / "there"))
    with connect(there):
        pass
    for path in bare.glob("lib/*/site-packages/rich*"):
        path.unlink()
    with pytest.raises(Unreachable, match="the missing packages: rich>=13"), connect(there):
        pass


def test_nothing_there_is_imported_from_a_working_directory(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session begins in the user's home, a job in its own folder."""
    home, folder = tmp_path / "home", tmp_path / "there"
    (tmp_path / "python").write_text(f'#!/bin/sh\ncd {home} && exec {sys.executable} "$@"\n')
    (tmp_path / "python").chmod(0o755)

    def plant(where: Path) -> None:
        where.mkdir(parents=True, exist_ok=True)
        for name in (
            "venv",
            "pip",
            "ensurepip",
            "runpy",
            "json",
            "sysconfig",
            "site",
            "msgspec",
            "numpy",
            "edgewright",
        ):
            (where / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write(__name__)")

    plant(home)
    monkeypatch.setattr(wheel, "lacking", lambda machine, installed: ["rich>=13.7"])  # pip runs, and finds it there
    with connect(replace(device, folder=str(folder), python=str(tmp_path / "python"))) as connected:
        plant(folder / "jobs" / "key")
        request = {"target": "os:fspath", "kwargs": {}, "limits": {}, "into": "path"}
        about = {"root": connected.root, "key": "key", "request": request, "python": connected._python}
        connected.ask("start", answers.Started, **about)
        assert connected._follow("key", lambda *_: None).error is None
    assert not (tmp_path / "ran").exists()


def test_a_link_in_the_results_is_an_error_and_not_what_it_points_to(device: Device, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with connect(device) as connected:
        with pytest.raises(IntegrityError, match="'x'"):
            shell(connected, f"ln -s {tmp_path}/secret x", tmp_path / "out")
        shell(connected, "echo result > x", tmp_path / "out")
        (job,) = [job for job in connected._jobs if (Path(connected.root, "jobs", job, "out/x")).exists()]
        there = Path(connected.root, "jobs", job, "out/x")
        there.unlink()
        there.symlink_to(tmp_path / "secret")
        with pytest.raises(RuntimeFailed, match="failed: Too many levels of symbolic links"):
            shell(connected, "echo result > x", tmp_path / "again")
        connected.forget()
    assert "secret" not in (tmp_path / "out/x").read_text() and not (tmp_path / "again/x").exists()


def test_the_wheel_is_this_installation_and_always_the_same() -> None:
    packed = wheel.pack()
    assert packed == wheel.pack()
    names = zipfile.ZipFile(io.BytesIO(packed)).namelist()
    assert {"edgewright/bench/device.py", "edgewright/targets/job.py"} <= set(names)
    assert any(name.startswith("edgewright/targets/devices/") and name.endswith(".toml") for name in names)
    assert not [name for name in names if name.endswith((".safetensors", ".pyc"))]


def wait_for(path: Path) -> None:
    for _ in range(500):
        if path.exists() and path.read_text().strip():
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} did not appear")


def wait_gone(pid: int) -> None:
    for _ in range(250):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError(f"process {pid} still runs")
