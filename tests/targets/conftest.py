"""A device to test with: a real sshd on loopback, whose interpreter is this one; and what tests import."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hostile import Hostile
from loopback import SSHD, Sshd, Wire

from edgewright.targets import ssh
from edgewright.targets.remote import Device


@pytest.fixture(scope="module")
def sshd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not SSHD.exists() or not shutil.which("ssh"):
        pytest.skip("no OpenSSH server and client here: apt-get install openssh-server")
    return tmp_path_factory.mktemp("sshd")


@pytest.fixture(scope="module")
def serving(sshd_folder: Path) -> Iterator[Sshd]:
    """An sshd for the tests of one file."""
    with Sshd(sshd_folder).serving() as running:
        yield running


@pytest.fixture
def sshd(serving: Sshd, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    """The sshd, known to the client."""
    monkeypatch.setenv(ssh.CONFIG, str(serving.folder / "config"))
    serving.trust(serving.folder / "host.pub", serving.port)
    return serving


@pytest.fixture
def wire(sshd: Sshd) -> Iterator[Wire]:
    """A wire to the sshd that can be cut."""
    wire = Wire(sshd.port)
    sshd.trust(sshd.folder / "host.pub", sshd.port, wire.port)
    yield wire
    wire.close()


@pytest.fixture(scope="module")
def kept(sshd_folder: Path) -> Path:
    """A device folder that the tests of one file share: installing takes a second."""
    return sshd_folder / "kept 'here'"


@pytest.fixture
def device(sshd: Sshd, kept: Path) -> Device:
    """This machine as a device, with this interpreter's packages."""
    return Device(address=sshd.address, python=sys.executable, folder=str(kept), patience_s=30)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """An interpreter that has what the device side needs, pip, and no runtime."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    (site,) = (tmp_path / "bare").glob("lib/python3*/site-packages")
    wanted = ("numpy", "pillow", "msgspec", "typer", "rich", "PIL", "pip")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if path.name.lower().partition("-")[0].partition(".")[0] in {name.lower() for name in wanted}:
            (site / path.name).symlink_to(path)
    return tmp_path / "bare"


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    """A device that answers what a test wrote."""
    (tmp_path / "board").mkdir()
    device = Hostile(tmp_path / "board", monkeypatch)
    with device.connection:
        yield device
