"""The program that runs on a device: standard library only, sent with each request, one verb a call.

`ssh` starts ``python3`` there, which reads this file and a line of JSON from standard input. It answers with `MARK`
(whatever a login script printed stands before it), then lines of JSON, the last with "ok" or "error"; `read` lets the
bytes of a file follow. Nothing is kept in memory between calls, and each verb may be repeated after a lost connection.

Everything lies in one folder, `root`, which only its owner may enter::

    files/<sha256>        what was sent, by content: images, wheels, parts of artifacts
    artifacts/<digest>/   folders put together out of them
    env-<digest>/         edgewright for this device's Python
    jobs/<key>/           request.json, lock, started, progress.json, log, out/, result.json
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARK = b"edgewright-answer\n"
OWNED = ".edgewright-remote"
"""A file that says that a folder is ours, to be removed whole."""

HOUR, DAY = 3600, 86400
CHUNK = 1 << 20
SILENCE_S = 30.0
TEXT = 1000
"""Characters of a message; `answers` allows more."""

ISOLATED = "import sys; sys.path[:1] == [''] and sys.path.pop(0)\n"
"""First line of every program that starts here: ``-c`` and ``-m`` import from the working directory before anything
else. ``-P`` came with Python 3.11, and ``-I`` would lose the packages in the user's home, which count as installed."""

SITE = """
import json, site, sys
print(json.dumps(site.getsitepackages() if sys.prefix != sys.base_prefix else []))
"""
INSTALLED = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = str(importlib.metadata.version(name) or "")[:100]
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


class Refused(Exception):
    """Something that the user must know: `kind` is what the other side looks up."""

    def __init__(self, kind: str, text: str = "", what: str = "") -> None:
        super().__init__(kind, text, what)
        self.kind, self.text, self.what = kind, text, what


# --- the folder -------------------------------------------------------------------------------------------------------


def hello(root: str, names: list[str]) -> dict[str, Any]:
    """Make the folder, sweep what was not used for long, and say what this device is.

    "installed" has the version of each distribution in `names` that this Python finds.
    """
    path = _root(root)
    try:
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True)
        elif _foreign(path):
            raise Refused("foreign", "", str(path))
        path.chmod(0o700)
        for name in ("files", "artifacts", "jobs", "tmp", "cache"):
            Path(path, name).mkdir(exist_ok=True)
        Path(path, OWNED).write_text("Made by edgewright; `edgewright targets clean` removes this folder.\n")
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENOENT):
            raise Refused("folder", error.strerror or "", str(path)) from None
        raise
    _sweep(path)
    return {
        "root": str(path), "python": platform.python_version(), "arch": platform.machine(), "free": _free(path),
        "installed": json.loads(_run("venv", _program(sys.executable, INSTALLED, *names), str(path))),
    }  # fmt: skip


def clean(root: str) -> dict[str, Any]:
    """End the jobs at work and remove the folder."""
    path = _root(root)
    if not path.is_dir():
        return {"removed": False, "root": str(path)}
    if path.is_symlink() or _foreign(path):
        raise Refused("foreign", "", str(path))
    for job in _folders(Path(path, "jobs")):
        _stop(job)
    for _ in range(5):  # what a dying job still writes is gone at the second look
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return {"removed": True, "root": str(path)}
        time.sleep(0.2)
    shutil.rmtree(path)
    return {"removed": True, "root": str(path)}


def _root(root: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(root)))  # noqa: PTH100, PTH111 - Path.resolve would follow links


def _foreign(path: Path) -> bool:
    return not Path(path, OWNED).exists() and any(path.iterdir())


def _sweep(root: Path) -> None:
    for job in _folders(Path(root, "jobs")):
        if _older(job, 7 * DAY) and _state(job) != "running":
            shutil.rmtree(job, ignore_errors=True)
    for room in ("files", "artifacts"):
        for entry in Path(root, room).iterdir():
            if _older(entry, DAY if entry.name.startswith(".") else 30 * DAY):
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink()


# --- files to the device ----------------------------------------------------------------------------------------------


def missing(root: str, digests: list[str], client: str) -> dict[str, Any]:
    """Which of these contents are not here, with the bytes of each that are; and the free bytes of the disk.

    A receiver of this client's lost connection may still be at work: it gets a second to write what has come.
    """
    wanted = {}
    with _receiving(root, client, patience_s=1.0):
        pass
    for digest in digests:
        path = Path(root, "files", digest)
        if path.exists():
            os.utime(path)
        else:
            part = _part(root, digest)
            wanted[digest] = part.stat().st_size if part.exists() else 0
    return {"missing": wanted, "free": _free(root)}


def receive(root: str, client: str) -> dict[str, Any]:
    """Take files from standard input, each after a line of JSON (sha256, size, offset), until a line without."""
    stored = 0
    with _receiving(root, client, patience_s=0.0):
        while head := _line():
            if "sha256" not in head:
                return {"stored": stored}
            _receive(root, head["sha256"], head["size"], head["offset"])
            stored += 1
    raise Refused("cut")


@contextlib.contextmanager
def _receiving(root: str, client: str, patience_s: float) -> Iterator[None]:
    """Hold the lock of the one who receives.

    Another receiver of the same `client` belongs to a connection that is lost: after `patience_s` it is ended. One of
    another client is waited for, and ended only when nothing has come to it for `SILENCE_S`.
    """
    path, begin = Path(root, "files", ".receiving"), time.monotonic()
    with path.open("a+") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder, _, pid = path.read_text().partition(" ")
                patience = patience_s if holder == client else SILENCE_S
                if time.monotonic() - begin > patience and (holder == client or _silent(root)):
                    with contextlib.suppress(OSError, ValueError):
                        os.kill(int(pid), signal.SIGKILL)
                time.sleep(0.02)
        lock.truncate(0)
        lock.write(f"{client} {os.getpid()}")
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)  # a number that the system gives to another process must not stand here


def _silent(root: str) -> bool:
    """Whether no byte of a file has come for `SILENCE_S`."""
    newest = max((part.stat().st_mtime for part in Path(root, "files").glob(".*.part")), default=0.0)
    return time.time() - newest > SILENCE_S


def _receive(root: str, digest: str, size: int, offset: int) -> None:
    part, seen = _part(root, digest), hashlib.sha256()
    with part.open("r+b" if part.exists() else "w+b") as file:
        file.truncate(offset)
        while chunk := file.read(CHUNK):
            seen.update(chunk)
        left = size - file.tell()
        while left:
            chunk = _some(min(left, CHUNK))
            if not chunk:
                raise Refused("cut")
            file.write(chunk)
            seen.update(chunk)
            left -= len(chunk)
        file.flush()
        os.fsync(file.fileno())
    if seen.hexdigest() != digest:
        part.unlink()
        raise Refused("damaged", "", digest)
    part.rename(Path(root, "files", digest))


def _part(root: str, digest: str) -> Path:
    return Path(root, "files", f".{digest}.part")


def assemble(root: str, trees: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Put folders together: digest of a folder -> name of a file below it -> digest of its content."""
    for digest, names in trees.items():
        final = Path(root, "artifacts", digest)
        if final.is_dir():
            os.utime(final)
            continue
        temporary = Path(root, "artifacts", f".{digest}.{os.getpid()}")
        for name, content in names.items():
            # Copied: a bundle with a file that has a second name (a hard link) is refused.
            Path(temporary, name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(root, "files", content), Path(temporary, name))
        _take_name(temporary, final)
    return {}


# --- edgewright on the device -----------------------------------------------------------------------------------------


def install(
    root: str, digest: str, wheel: str, lacking: list[str], pins: list[str], wheels: str | None
) -> dict[str, Any]:
    """Make ``env-<digest>`` out of the wheel (a content) and what is `lacking`; remove those unused for an hour.

    The wheel is pure Python: unpacking it is installing it. pip takes the versions in `pins` ("name==version"), and
    takes them from `wheels` (a folder in ``artifacts/``) instead of the index where that is named.
    """
    final = Path(root, f"env-{digest}")
    if not final.is_dir():
        temporary = final.with_name(f"{final.name}.{os.getpid()}")
        try:
            _make_environment(root, temporary, wheel, lacking, pins, wheels)
            _take_name(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    os.utime(final)
    used = {_read(job, "python") for job in _folders(Path(root, "jobs")) if _state(job) == "running"}
    for old in Path(root).glob("env-*"):
        if old != final and _older(old, HOUR) and not any(path.startswith(f"{old}/") for path in used):
            shutil.rmtree(old, ignore_errors=True)
    return {"python": str(Path(final, "bin", "python"))}


def _make_environment(
    root: str, env: Path, wheel: str, lacking: list[str], pins: list[str], wheels: str | None
) -> None:
    python = str(Path(env, "bin", "python"))
    # Nothing of it may name its own path: it is renamed.
    venv = _module(sys.executable, "venv", "--system-site-packages", "--without-pip", str(env))
    _run("venv", venv, root)
    where = _program(python, "import sysconfig; print(sysconfig.get_path('purelib'))")
    site = _run("venv", where, root).strip()
    shutil.unpack_archive(Path(root, "files", wheel), site, "zip")
    if parents := json.loads(_run("venv", _program(sys.executable, SITE), root)):
        # The interpreter is itself one of a virtual environment: its packages count as the system's.
        Path(site, "edgewright-system.pth").write_text("".join(f"{path}\n" for path in parents))
    if lacking:
        _install(root, python, Path(env, "pins.txt"), lacking, pins, wheels)


def _install(
    root: str, python: str, constraints: Path, lacking: list[str], pins: list[str], wheels: str | None
) -> None:
    constraints.write_text("".join(f"{pin}\n" for pin in pins))
    where = ["--no-index", "--find-links", str(Path(root, "artifacts", wheels))] if wheels else []
    what = ", ".join(lacking)
    if not _works(_module(python, "pip", "--version"), root) and not _works(_module(python, "ensurepip"), root):
        raise Refused("pip", "neither pip nor ensurepip is there", what)
    # Wheels only: building numpy takes a device an hour, and a source distribution runs its own code to be built.
    quiet = ["--no-input", "--disable-pip-version-check", "-q", "--only-binary", ":all:"]
    _run("packages", _module(python, "pip", "install", *quiet, "-c", str(constraints), *where, *lacking), root, what)


def _program(python: str, code: str, *words: str) -> list[str]:
    """The command that runs `code` with `words` as its arguments, isolated from the working directory."""
    return [python, "-c", ISOLATED + code, *words]


def _module(python: str, name: str, *words: str) -> list[str]:
    """The command ``python -m name words``, isolated from the working directory."""
    return _program(python, f"import runpy; runpy.run_module({name!r}, run_name='__main__', alter_sys=True)", *words)


def _run(kind: str, command: list[str], root: str, what: str = "") -> str:
    # What a program starts in turn (ensurepip starts pip) is not isolated by us: `root` has no modules.
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", env=env, cwd=root,
        check=False,
    )  # fmt: skip
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        full = next((line for line in lines if os.strerror(errno.ENOSPC) in line), None)
        first = next((line for line in lines if line.startswith("ERROR:")), lines[-1])  # of pip: its last is an address
        raise Refused("full" if full else kind, full or first, what)
    return done.stdout


def _works(command: list[str], root: str) -> bool:
    try:
        _run("", command, root)
    except Refused:
        return False
    return True


# --- jobs -------------------------------------------------------------------------------------------------------------


def start(root: str, key: str, request: dict[str, Any], python: str) -> dict[str, Any]:
    """Start a job that goes on without us, unless it runs or is done already. A dead one is started anew."""
    job = Path(root, "jobs", key)
    with Path(root, "jobs", ".lock").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        state = _state(job)
        if state == "died":
            shutil.rmtree(job)
        if state in ("done", "running"):
            return {"state": state}
        os.utime(Path(python).parent.parent)  # its environment is in use
        Path(job, "out").mkdir(parents=True, exist_ok=True)
        _write(job, "request.json", json.dumps(request))
        _write(job, "python", python)
        away = ("PYTHONPATH", "PYTHONHOME", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")
        env = {name: value for name, value in os.environ.items() if name not in away}
        env.update({name: str(Path(root, "cache")) for name in ("EDGEWRIGHT_CACHE", "XDG_CACHE_HOME")})
        with Path(job, "log").open("ab") as log:
            runner = subprocess.Popen(
                _module(python, "edgewright.targets.job", str(job)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, cwd=job, env={**env, "TMPDIR": str(Path(root, "tmp"))},
            )  # fmt: skip
        while not Path(job, "started").exists():
            if runner.poll() is not None:
                raise _dead(root, job)
            time.sleep(0.02)
    return {"state": "started"}


def follow(root: str, key: str) -> dict[str, Any]:
    """Print the progress of a job until it ends; then its result."""
    job = Path(root, "jobs", key)
    reported = ""
    while True:
        state = _state(job)  # before the last look at the progress, which may be written meanwhile
        if (now := _read(job, "progress.json")) != reported:
            reported = now
            _say({"progress": json.loads(now)})
        if state == "done":
            return {"result": json.loads(_read(job, "result.json"))}
        if state != "running":
            raise _dead(root, job)
        # A look costs the device microseconds; when the other side goes, its end of the pipe tells.
        if select.select([sys.stdin], [], [], 0.25)[0] and not os.read(0, 1):
            raise Refused("cut")


def read(root: str, key: str, name: str, offset: int) -> None:
    """Send a file of a job's ``out/`` from `offset` on, after a line with its size."""
    path = Path(root, "jobs", key, "out", name)
    # A link was not there when the job ended: it lists plain files only.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        _say({"ok": {"size": os.fstat(file.fileno()).st_size}})
        file.seek(offset)
        shutil.copyfileobj(file, sys.stdout.buffer, CHUNK)


def forget(root: str, keys: list[str]) -> dict[str, Any]:
    """Remove jobs that have ended."""
    for key in keys:
        job = Path(root, "jobs", key)
        if _state(job) != "running":
            shutil.rmtree(job, ignore_errors=True)
    return {}


def _state(job: Path) -> str:
    """new, running, done, or died: it was started, nobody holds its lock, and there is no result."""
    if _locked(job):
        return "running"
    if Path(job, "result.json").exists():
        return "done"
    return "died" if Path(job, "started").exists() else "new"


def _locked(job: Path) -> bool:
    try:
        with Path(job, "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _dead(root: str, job: Path) -> Refused:
    lines = [line for line in _read(job, "log")[-4000:].splitlines() if line.strip()]
    full = any(os.strerror(errno.ENOSPC) in line for line in lines) or _free(root) < CHUNK // 4
    return Refused("full" if full else "died", lines[-1].strip() if lines else "Its log is empty.", str(job))


def _stop(job: Path) -> None:
    for _ in range(100):
        if not _locked(job):
            return
        with contextlib.suppress(OSError, ValueError):
            os.killpg(int(_read(job, "started")), signal.SIGKILL)
        time.sleep(0.05)


# --- small things -----------------------------------------------------------------------------------------------------


def _folders(path: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if entry.is_dir()] if path.is_dir() else []


def _older(path: Path, seconds: float) -> bool:
    return time.time() - path.lstat().st_mtime > seconds


def _free(path: str | Path) -> int:
    return shutil.disk_usage(path).free


def _take_name(temporary: Path, final: Path) -> None:
    try:
        temporary.rename(final)
    except OSError:
        if not final.is_dir():
            raise
        shutil.rmtree(temporary, ignore_errors=True)  # another call was faster with the same content


def _read(folder: Path, name: str) -> str:
    try:
        return Path(folder, name).read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _write(folder: Path, name: str, text: str) -> None:
    Path(folder, f".{name}").write_text(text)
    Path(folder, f".{name}").rename(Path(folder, name))


def _some(most: int) -> bytes:
    """What has come on standard input, at most so much: a full read would lose it when the connection drops."""
    pipe: Any = sys.stdin.buffer
    return bytes(pipe.read1(most))


def _line() -> dict[str, Any]:
    line = sys.stdin.buffer.readline()
    return json.loads(line) if line.endswith(b"\n") else {}


def _say(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


def _fail(kind: str, text: str, what: str) -> None:
    _say({"error": {"kind": kind, "text": text[:TEXT], "what": what[:TEXT]}})


def main() -> None:
    """Answer one request: a line with "verb" and its arguments."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.umask(0o077)
    sys.stdout.buffer.write(MARK)
    request = _line()
    try:
        verb = globals()[request.pop("verb")]
        if (found := verb(**request)) is not None:
            _say({"ok": found})
    except Refused as error:
        _fail(error.kind, error.text, error.what)
    except OSError as error:
        # EFBIG: a limit on the size of files (ulimit -f) looks like a disk that is full below it.
        kind = "full" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "os"
        _fail(kind, error.strerror or str(error), str(error.filename or ""))


if __name__ == "__main__":
    main()
