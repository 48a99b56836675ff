"""One job on a device. `agent.start` runs this module on a FOLDER, and it continues without a connection.

The job holds the folder's lock while it runs, so it runs at most once and others can see that it runs. The function in
``request.json`` runs in a child process, as on the host. The job writes ``result.json``: "ok" or "error", and the
SHA-256 and size of each file in ``out/``, within the limits of `answers`.
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

from . import answers

PROGRESS_S = 0.5
"""Shortest time between two progress reports, in seconds, to save work on the device."""


class JobRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A function to run: "module:function" with `kwargs`. The argument named `into` receives its output folder."""

    target: str
    kwargs: dict[str, Any] = {}
    limits: child.Limits = child.Limits()
    into: str = "folder"


def main(folder: Path) -> None:
    """Run the job in `folder`, if it was not started before."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "started").exists():
            return
        files.write(folder / "started", str(os.getpid()))
        request = msgspec.json.decode((folder / "request.json").read_bytes(), type=JobRequest)
        files.write(folder / "result.json", msgspec.json.encode(_run(request, folder)))


def _run(request: JobRequest, folder: Path) -> dict[str, Any]:
    out = folder / "out"
    reported = 0.0

    def progress(done: int, total: int, text: str) -> None:
        nonlocal reported
        if time.monotonic() - reported >= PROGRESS_S or done >= total > 0:
            reported = time.monotonic()
            temporary = folder / ".progress.json"
            temporary.write_bytes(msgspec.json.encode([max(int(done), 0), max(int(total), 0), _text(text)]))
            temporary.replace(folder / "progress.json")

    kwargs: dict[str, Any] = {**request.kwargs, request.into: str(out)}
    try:
        value = child.call(
            request.target, log=folder / "log", limits=request.limits, progress=progress, env=None, **kwargs,
        )  # fmt: skip
        return {"ok": value, "files": _written(out)}
    except Exception as error:
        traceback.print_exc()
        known = errors.from_exception(error) or errors.RuntimeFailed(f"{request.target} failed: {error}", "", "")
        kinds = [kind.__name__ for kind in type(known).__mro__ if kind.__name__ in errors.FAMILIES]
        texts = {"what": _text(known.what), "why": _text(known.why), "fix": _text(known.fix)}
        return {"error": {"family": (*kinds, "RuntimeFailed")[0], **texts}}


def _text(text: str) -> str:
    # A file name that is not UTF-8 becomes surrogates, which JSON cannot represent.
    return text.encode(errors="replace").decode()[: answers.TEXT]


def _written(out: Path) -> dict[str, dict[str, Any]]:
    """Return SHA-256 and size of the plain files in `out`. A link raises an error: it could lead out of the folder."""
    names = files.tree(out)
    if len(names) > answers.FILES:
        raise errors.RuntimeFailed(
            f"The job wrote {len(names)} files.",
            f"The limit is {answers.FILES} files.",
            "Split the work into several jobs.",
        )
    found = {}
    for name in names:
        with files.open_contained(out, name) as file:
            found[name] = {"sha256": files.sha256(file), "size": os.fstat(file.fileno()).st_size}
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
