"""The agent's lock on what is being received: a lost connection of one's own is ended, another run is waited for."""

from __future__ import annotations

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
