"""A device that lies: a program called ``ssh`` on the PATH that answers verbs with bytes that a test wrote.

What is sent to it is read as on a device (the agent, then a line of JSON) and thrown away.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from edgewright.targets import agent, ssh
from edgewright.targets.remote import Remote

SSH = """#!{python} -IS
import os, shlex, sys
if "-O" in sys.argv:
    sys.exit(0)
stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
stdin.read(int(shlex.split(sys.argv[-1])[-1]))
verb = stdin.readline().split(b'"verb":"')[1].split(b'"')[0].decode()

def said(suffix):
    try:
        return open(os.path.join({folder!r}, verb + suffix), "rb").read()
    except FileNotFoundError:
        return None

try:
    if (errors := said(".stderr")) is not None:
        for _ in range(100):
            sys.stderr.buffer.write(errors)
        sys.exit(255)
    stdout.write(said(".before") or b"")
    stdout.write({mark!r} + (said("") or b""))
    stdout.flush()
    while (again := said(".again")) is not None:
        stdout.write(again)
        stdout.flush()
except BrokenPipeError:
    os._exit(0)
"""

HONEST: dict[str, Any] = {
    "hello": {"root": "/root", "python": "3.11.2", "arch": "aarch64", "free": 10**12, "installed": {}},
    "clean": {"removed": True, "root": "/root"},
    "missing": {"missing": {}, "free": 10**12},
    "assemble": {}, "forget": {}, "start": {"state": "started"}, "install": {"python": "/root/env/bin/python"},
}  # fmt: skip


class Hostile:
    """The stand-in. What no test scripts is answered as an honest device answers."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder / "said"
        self._folder.mkdir()
        (folder / "bin").mkdir()
        program = folder / "bin" / "ssh"
        text = SSH.format(python=sys.executable, folder=str(self._folder), mark=agent.MARK)
        program.write_text(text)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
        for verb, answer in HONEST.items():
            self.says(verb, {"ok": answer})
        self.connection = ssh.Connection(ssh.parse("nano@board"), patience_s=0.2)
        self.remote = Remote(self.connection, "/root", "/root/env/bin/python")

    def says(self, verb: str, *messages: Any, after: bytes = b"", again: bytes | None = None) -> None:
        """What it answers to `verb`: bytes as they are, all else as a line of JSON; `again` without an end."""
        lines = (m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages)
        self._write(verb, b"".join(lines) + after)
        if again is not None:
            self._write(f"{verb}.again", again)

    def prints(self, verb: str, *, before: bytes = b"", stderr: bytes | None = None) -> None:
        """What else it prints: before the answer, or a hundred times to the standard error, without an answer."""
        self._write(f"{verb}.before", before)
        if stderr is not None:
            self._write(f"{verb}.stderr", stderr)

    def _write(self, name: str, content: bytes) -> None:
        (self._folder / name).write_bytes(content)
