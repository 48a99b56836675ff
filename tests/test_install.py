"""The wheel in an empty environment, for each Python that it names: it starts, says its version, and opens a bundle."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
UV = Path(sys.executable).with_name("uv")

TRY = """
import sys, edgewright
for name in edgewright.__all__:
    try:
        getattr(edgewright, name)
    except ImportError as error:  # `optimize` needs the libraries of the host
        assert name == "optimize", (name, error)
try:
    edgewright.open(sys.argv[1])
except edgewright.EdgewrightError as error:
    print(type(error).__name__, error)
assert not {"torch", "onnx", "onnxruntime", "openvino"} & set(sys.modules)
"""


def interpreter(version: str) -> str | None:
    """A Python of this version that starts: on the PATH, or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    named = shutil.which(f"python{version}")
    for candidate in [*([named] if named else []), *map(str, pyenv.glob(f"versions/{version}.*/bin/python"))]:
        # A shim of pyenv exists for versions that are not switched on, and fails.
        if subprocess.run([candidate, "-c", "import venv"], capture_output=True).returncode == 0:
            return candidate
    return None


@pytest.mark.xdist_group("wheel")
@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_works_in_an_empty_environment(version: str, wheel: Path, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on the PATH or under pyenv")
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV", "PYENV"))
    }

    def run(*command: str | Path) -> str:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run(UV, "venv", "-q", "-p", python, "env")
    run(UV, "pip", "install", "-q", "-p", "env/bin/python", wheel)
    program = tmp_path / "env/bin/edgewright"
    assert run(program, "--version").strip() == f"edgewright {wheel.name.split('-')[1]}"
    assert "optimize" in run(program, "--help") and "jetson-orin-nano" in run(program, "targets")
    (tmp_path / "empty.edge").mkdir()
    (tmp_path / "try.py").write_text(TRY)
    assert "manifest.json" in run("env/bin/python", "try.py", "empty.edge")
