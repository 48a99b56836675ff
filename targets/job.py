"""One job on a device: ``python -m edgewright.targets.job FOLDER``, started by `agent.start`, which it outlives.

It holds the folder's lock while it works, so that it runs at most once and everybody can tell that it does; the
function of ``request.json`` runs in a child as on the host. ``result.json`` is what is left: "ok" or "error", and the
SHA-256 of each file in ``out/``.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import msgspec

from edgewright.core import child, errors, files

PROGRESS_S = 0.5
"""Progress is written at most so often: the device has better to do."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to run: "module:function" with `kwargs`, and its folder for output as the argument named `into`."""

    target: str
    kwargs: dict[str, Any]
    limits: child.Limits
    into: str = "folder"


def main(folder: Path) -> None:
    """Run the job in `folder` unless it was begun before."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "started").exists():
            return
        files.write(folder / "started", str(os.getpid()))
        request = msgspec.json.decode((folder / "request.json").read_bytes(), type=Request)
        files.write(folder / "result.json", msgspec.json.encode(_run(request, folder)))


def _run(request: Request, folder: Path) -> dict[str, Any]:
    out = folder / "out"
    told = 0.0

    def progress(done: int, total: int, text: str) -> None:
        nonlocal told
        if time.monotonic() - told >= PROGRESS_S or done >= total > 0:
            told = time.monotonic()
            temporary = folder / ".progress.json"
            temporary.write_bytes(msgspec.json.encode([done, total, text]))
            temporary.replace(folder / "progress.json")

    try:
        value = child.call(
            request.target, log=folder / "log", limits=request.limits, progress=progress, env=None,
            **request.kwargs, **{request.into: str(out)},
        )  # fmt: skip
        return {"ok": value, "files": {name: files.sha256(out / name) for name in files.tree(out)}}
    except Exception as error:
        traceback.print_exc()
        known = errors.from_exception(error) or errors.RuntimeFailed(f"{request.target} failed: {error}", "", "")
        family = type(known).__name__
        return {"error": {"family": family, "what": known.what, "why": known.why, "fix": known.fix}}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
