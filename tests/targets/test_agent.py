"""The agent on a device: its lock on what is being received, and how it starts other programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgewright.targets import agent

HOLDER = """
import sys, time
from pathlib import Path
from edgewright.targets import agent
root = sys.argv[1]
with agent._receiving(root, "first", 0.0):
    print("held", flush=True)
    for _ in range(20):
        Path(root, "files", ".abc.part").touch()
        time.sleep(0.05)
"""


@pytest.mark.parametrize(("client", "code"), [("second", 0), ("first", -9)])
def test_only_the_same_runs_receiver_is_ended(
    client: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "SILENCE_S", 0.3)
    monkeypatch.setattr(agent, "_free", lambda root: 1)
    (tmp_path / "files").mkdir()
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    monkeypatch.setattr(agent, "_receiving", _impatient(agent._receiving))
    assert agent.missing(str(tmp_path), [], client=client)["missing"] == {}
    assert holder.wait(10) == code


def _impatient(receiving):
    return lambda root, client, patience_s: receiving(root, client, 0.1)


def test_programs_start_without_the_working_directory_and_with_the_users_own_packages(tmp_path: Path) -> None:
    python = os.path.realpath(sys.executable)  # not of a virtual environment, which sees no packages of the user
    there = [python, "-c", "import site; print(site.getusersitepackages())"]
    env = {**os.environ, "PYTHONUSERBASE": str(tmp_path / "home")}
    own = Path(subprocess.run(there, env=env, capture_output=True, text=True, check=True).stdout.strip())
    here = tmp_path / "here"
    for folder, names in ((own, ("mine",)), (here, ("mine", "json", "runpy"))):
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"{name}.py").write_text(f"import sys; print({str(folder)!r}, sys.argv[1:], __name__)")
    for command in (
        agent._module(python, "mine", "a b", "-c"),
        agent._program(python, "import json, mine", "a b", "-c"),
    ):
        done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True)
        assert done.stdout.startswith(f"{own} ['a b', '-c'] ") and done.returncode == 0, done.stderr
