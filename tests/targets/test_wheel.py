"""What is installed on a device: requirements read as they are written, one pinned version of everything."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Sshd
from msgspec.structs import replace
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edgewright.core.errors import InvalidInput
from edgewright.targets import wheel
from edgewright.targets.job import JobRequest
from edgewright.targets.remote import Device, connect
from edgewright.targets.wheel import Machine

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
MACHINES = [Machine(python=f"{python}.4", arch=arch) for python in PYTHONS for arch in ("x86_64", "aarch64")]
UV = Path(sys.executable).with_name("uv")


@pytest.fixture
def requiring(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the metadata of edgewright lists, for a test to fill."""
    lines: list[str] = []

    class Metadata:
        requires = lines

    monkeypatch.setattr(wheel, "_distribution", Metadata)
    wheel._required.cache_clear()
    yield lines
    wheel._required.cache_clear()


ORIN = Machine(python="3.10.12", arch="aarch64")


@pytest.mark.parametrize(
    ("line", "installed", "lacking"),
    [
        ("numpy<3,>=1.26", {}, ["numpy<3,>=1.26"]),
        ("numpy<3,>=1.26", {"numpy": "3.0.1"}, ["numpy<3,>=1.26"]),
        ("numpy<3,>=1.26", {"numpy": "1.26.4"}, []),
        ("numpy >= 1.26 , != 2.0.0", {"numpy": "2.0.0"}, ["numpy!=2.0.0,>=1.26"]),
        ("numpy (>=1.26)", {"numpy": "1.21.5"}, ["numpy>=1.26"]),
        ("numpy~=1.26.2", {"numpy": "1.26.10"}, []),
        ("numpy==1.*", {"numpy": "1.26.4+nv24"}, []),
        ("numpy>=1.26", {"numpy": "2.0.0rc1"}, []),
        ("numpy>=1.26", {"numpy": "1.9"}, ["numpy>=1.26"]),
        ("numpy", {"numpy": "0.1"}, []),
        ("numpy", {}, ["numpy"]),
        ("numpy>=1.26", {"numpy": "as the vendor built it"}, ["numpy>=1.26"]),
        ("tomli>=2; python_version<'3.11'", {}, ["tomli>=2"]),
        ("tomli>=2; python_version>='3.11'", {}, []),
        ("numpy>=2; platform_machine=='aarch64' and sys_platform=='linux'", {}, ["numpy>=2"]),
        ("numpy>=2; platform_machine=='x86_64' or platform_system=='Darwin'", {}, []),
        ("torch>=2; extra=='host' and python_version>'3.9'", {}, []),
        ("torch @ https://example.org/torch.whl ; extra == 'host'", {}, []),
    ],
)
def test_a_requirement_means_what_it_says(
    line: str, installed: dict[str, str], lacking: list[str], requiring: list[str]
) -> None:
    requiring.append(line)
    assert wheel.lacking(ORIN, installed) == lacking


@pytest.mark.parametrize(
    "line",
    [
        "numpy ~> 1.26",
        "numpy 1.26",
        "",
        "numpy>=1.26; python is old",
        "numpy @ https://example.org/n.whl",
        "rich[all]>=13",
    ],
)
def test_a_requirement_that_cannot_be_met_is_an_error_and_is_not_dropped(line: str, requiring: list[str]) -> None:
    requiring.extend(["msgspec>=0.19", line])
    with pytest.raises(InvalidInput, match="requirement of this installation"):
        wheel.lacking(ORIN, {})


def test_an_installation_that_lists_nothing_is_an_error(requiring: list[str]) -> None:
    with pytest.raises(InvalidInput, match="Requires-Dist"):
        wheel.names()


def test_extras_are_left_out() -> None:
    assert set(wheel.names()) >= {"numpy", "Pillow", "msgspec", "tomli"}
    assert not {"torch", "pytest", "packaging"} & set(wheel.names())


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m.python}-{m.arch}")
def test_everything_that_may_be_installed_has_one_version_that_is_enough(machine: Machine) -> None:
    pins = {}
    for text in wheel.pins(machine):
        name, _, version = text.partition("==")
        assert canonicalize_name(name) not in pins
        pins[canonicalize_name(name)] = version
    needed = list(wheel.requirements(machine))
    seen: set[str] = set()
    while needed:
        need = needed.pop()
        name = canonicalize_name(need.name)
        assert name in pins, f"{need} is not pinned"
        assert need.specifier.contains(pins[name]), f"{need} is not met by {pins[name]}"
        if name not in seen and _version(name) == pins[name]:  # the metadata that is here is that of the pin
            lines = importlib.metadata.requires(name) or ()
            found = [Requirement(line) for line in lines]
            needed += [each for each in found if each.marker is None or each.marker.evaluate(machine.markers())]
        seen.add(name)
    assert len(seen) > len(wheel.requirements(machine)), "some are there because others require them"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def test_numpy_of_jetpack_6_stays_below_2() -> None:
    """Its Python is 3.10; modules that NVIDIA built for NumPy 1 cannot be imported with NumPy 2."""
    assert [pin for pin in wheel.pins(ORIN) if pin.startswith("numpy==1.")]


def test_the_command_that_fetches_wheels_names_every_pin() -> None:
    words = wheel.download(ORIN).split()
    assert words[:2] == ["pip", "download"] and set(wheel.pins(ORIN)) <= set(words)
    assert words[words.index("--python-version") + 1] == "3.10" and "manylinux_2_28_aarch64" in words


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m.python}-{m.arch}")
def test_every_pin_has_a_wheel_for_the_machine_and_nothing_else_is_needed(machine: Machine, tmp_path: Path) -> None:
    """Asks the package index: resolved with wheels only, the requirements are exactly the pins."""
    (tmp_path / "pins").write_text("\n".join(wheel.pins(machine)))
    (tmp_path / "needs").write_text("\n".join(map(str, wheel.requirements(machine))))
    done = subprocess.run(
        [
            UV, "pip", "compile", "-q", "--no-header", "--no-annotate", "--only-binary", ":all:",
            "--no-python-downloads",
            "--python-version", ".".join(machine.python.split(".")[:2]),
            "--python-platform", f"{machine.arch}-manylinux_2_28", "-c", "pins", "needs",
        ],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == wheel.pins(machine)


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS[:4])
def test_a_bare_python_gets_the_pins_and_works(version: str, sshd: Sshd, device: Device, tmp_path: Path) -> None:
    """From the package index; Pythons are those on the PATH."""
    asked = [shutil.which(f"python{version}") or "false", "-c", "import sys; print(sys.executable)"]
    python = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    if not python:
        pytest.skip(f"no python{version} here")
    subprocess.run([python, "-m", "venv", tmp_path / "bare"], check=True)
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nunset PIP_NO_INDEX\nexec {tmp_path}/bare/bin/python "$@"\n')
    program.chmod(0o755)
    with connect(replace(device, python=str(program), folder=str(tmp_path / "there"))) as connected:
        about = connected.run(JobRequest(target="edgewright.bench.device:about"), tmp_path / "out")
    (site,) = (tmp_path / "there").glob("env-*/lib/python3*/site-packages")
    found = {canonicalize_name(d.name): d.version for d in importlib.metadata.distributions(path=[str(site)])}
    assert about["environment"]["python"].startswith(f"{version}.")
    machine = Machine(python=about["environment"]["python"], arch=about["environment"]["arch"])
    pins = {canonicalize_name(pin.split("==")[0]): pin.split("==")[1] for pin in wheel.pins(machine)}
    del found["edgewright"]
    assert found and found.items() <= pins.items(), "what the interpreter already had is not installed again"
