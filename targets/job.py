"""One job on a device: the module that `agent.start` runs on a FOLDER, and that outlives the connection.

It holds the folder's lock while it works, so that it runs at most once and everybody can tell that it does; the
function of ``request.json`` runs in a child as on the host. ``result.json`` is what is left: "ok" or "error", and the
SHA-256 and size of each file in ``out/``, all within the bounds of `answers`.
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
"""Progress is written at most so often: the device has better to do."""


class JobRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to run: "module:function" with `kwargs`, and its folder for output as the argument named `into`."""

    target: str
    kwargs: dict[str, Any] = {}
    limits: child.Limits = child.Limits()
    into: str = "folder"


def main(folder: Path) -> None:
    """Run the job in `folder` unless it was begun before."""
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
    # A file's name that is no UTF-8 is in it as surrogates, which JSON cannot hold.
    return text.encode(errors="replace").decode()[: answers.TEXT]


def _written(out: Path) -> dict[str, dict[str, Any]]:
    """The plain files in `out`; what is a link, which the host would get as a file from elsewhere, is an error."""
    names = files.tree(out)
    if len(names) > answers.FILES:
        raise errors.RuntimeFailed(
            f"The job wrote {len(names)} files.", f"At most {answers.FILES} are sent back.", "Split the work."
        )
    found = {}
    for name in names:
        with files.open_contained(out, name) as file:
            found[name] = {"sha256": files.sha256(file), "size": os.fstat(file.fileno()).st_size}
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
