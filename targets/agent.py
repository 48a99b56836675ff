"""The program that runs on a device. It uses the standard library only, is sent with each request, and runs one verb.

`ssh` starts ``python3`` on the device, which reads this file and a line of JSON from standard input. The answer begins
with `MARK`; output of login scripts is before it. Lines of JSON follow, the last one with "ok" or "error". After
`read`, the bytes of a file follow. Calls keep nothing in memory, and each verb can be repeated after a lost connection.

All files are in one folder, `root`, which only its owner can enter::

    files/<sha256>        received files by content: images, wheels, parts of artifacts
    artifacts/<digest>/   folders assembled from these files
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
"""A file that marks a folder as edgewright's, so that `clean` may remove it."""

HOUR, DAY = 3600, 86400
CHUNK = 1 << 20
SILENCE_S = 30.0
TEXT = 1000
"""Characters of a message, below the limit in `answers`."""

ISOLATED = "import sys; sys.path[:1] == [''] and sys.path.pop(0)\n"
"""First line of every program that starts here, because ``-c`` and ``-m`` import from the working directory first.
``-P`` exists from Python 3.11 on, and ``-I`` would ignore the packages in the user's home, which count as installed."""

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
    """An error for the user. `kind`: the key by which the host chooses the message."""

    def __init__(self, kind: str, text: str = "", what: str = "") -> None:
        super().__init__(kind, text, what)
        self.kind, self.text, self.what = kind, text, what


# --- the folder -------------------------------------------------------------------------------------------------------


def hello(root: str, names: list[str]) -> dict[str, Any]:
    """Create the folder, remove old files, and return facts of this device.

    "installed" has the version of each distribution in `names` that this Python finds. "free" is in bytes.
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
    """End the running jobs and remove the folder."""
    path = _root(root)
    if not path.is_dir():
        return {"removed": False, "root": str(path)}
    if path.is_symlink() or _foreign(path):
        raise Refused("foreign", "", str(path))
    for job in _folders(Path(path, "jobs")):
        _stop(job)
    for _ in range(5):  # a dying job can still write files after the first attempt
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
    """Return the incomplete contents with their received bytes, and the free bytes of the disk.

    A receiver of a lost connection of this client can still be running. It gets a second to write its data.
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
    """Receive files from standard input, each after a line of JSON (sha256, size, offset), until another line."""
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
    """Hold the lock of the receiver.

    Another receiver of the same `client` belongs to a lost connection and is killed after `patience_s` seconds. A
    receiver of another client is killed only if it received nothing for `SILENCE_S` seconds.
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
            lock.truncate(0)  # the system can reuse the process ID


def _silent(root: str) -> bool:
    """Whether no byte of a file arrived for `SILENCE_S` seconds."""
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
    """Assemble folders. `trees`: digest of a folder -> name of a file in it -> digest of its content."""
    for digest, names in trees.items():
        final = Path(root, "artifacts", digest)
        if final.is_dir():
            os.utime(final)
            continue
        temporary = Path(root, "artifacts", f".{digest}.{os.getpid()}")
        for name, content in names.items():
            # A copy, because a bundle must not contain hard links.
            Path(temporary, name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(root, "files", content), Path(temporary, name))
        _take_name(temporary, final)
    return {}


# --- edgewright on the device -----------------------------------------------------------------------------------------


def install(
    root: str, digest: str, wheel: str, lacking: list[str], pins: list[str], wheels: str | None
) -> dict[str, Any]:
    """Create ``env-<digest>`` with the wheel (a content) and the packages `lacking`; remove those unused for an hour.

    The wheel is pure Python, so unpacking it is enough. pip installs the versions in `pins` ("name==version"). If
    `wheels` (a folder in ``artifacts/``) is given, pip uses it instead of the index.
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
    # No file in it may contain its path, because it is renamed later.
    venv = _module(sys.executable, "venv", "--system-site-packages", "--without-pip", str(env))
    _run("venv", venv, root)
    where = _program(python, "import sysconfig; print(sysconfig.get_path('purelib'))")
    site = _run("venv", where, root).strip()
    shutil.unpack_archive(Path(root, "files", wheel), site, "zip")
    if parents := json.loads(_run("venv", _program(sys.executable, SITE), root)):
        # The interpreter belongs to a virtual environment: treat its packages as the system's.
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
        raise Refused("pip", "pip and ensurepip are not installed", what)
    # Wheels only: building numpy takes an hour on a device, and a source distribution runs its own code.
    quiet = ["--no-input", "--disable-pip-version-check", "-q", "--only-binary", ":all:"]
    _run("packages", _module(python, "pip", "install", *quiet, "-c", str(constraints), *where, *lacking), root, what)


def _program(python: str, code: str, *words: str) -> list[str]:
    """Return the command that runs `code` with the arguments `words`, isolated from the working directory."""
    return [python, "-c", ISOLATED + code, *words]


def _module(python: str, name: str, *words: str) -> list[str]:
    """Return the command ``python -m name words``, isolated from the working directory."""
    return _program(python, f"import runpy; runpy.run_module({name!r}, run_name='__main__', alter_sys=True)", *words)


def _run(kind: str, command: list[str], root: str, what: str = "") -> str:
    # Programs that the command starts (ensurepip starts pip) are not isolated, so run in `root`, which has no modules.
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", env=env, cwd=root,
        check=False,
    )  # fmt: skip
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        full = next((line for line in lines if os.strerror(errno.ENOSPC) in line), None)
        first = next(
            (line for line in lines if line.startswith("ERROR:")), lines[-1]
        )  # the last line of pip is an address
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
    """Start a job that continues without this process, unless it runs or is done. A dead job starts again."""
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
    """Print the progress of a job until it ends. Return its result."""
    job = Path(root, "jobs", key)
    reported = ""
    while True:
        state = _state(job)  # read before the progress, which can change in between
        if (now := _read(job, "progress.json")) != reported:
            reported = now
            _print_json({"progress": json.loads(now)})
        if state == "done":
            return {"result": json.loads(_read(job, "result.json"))}
        if state != "running":
            raise _dead(root, job)
        # This check takes microseconds. A closed pipe shows that the other side is gone.
        if select.select([sys.stdin], [], [], 0.25)[0] and not os.read(0, 1):
            raise Refused("cut")


def read(root: str, key: str, name: str, offset: int) -> None:
    """Send a file of a job's ``out/`` from byte `offset` on, after a line with its size."""
    path = Path(root, "jobs", key, "out", name)
    # The job lists plain files only, so a link appeared later.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        _print_json({"ok": {"size": os.fstat(file.fileno()).st_size}})
        file.seek(offset)
        shutil.copyfileobj(file, sys.stdout.buffer, CHUNK)


def forget(root: str, keys: list[str]) -> dict[str, Any]:
    """Remove jobs that ended."""
    for key in keys:
        job = Path(root, "jobs", key)
        if _state(job) != "running":
            shutil.rmtree(job, ignore_errors=True)
    return {}


def _state(job: Path) -> str:
    """Return new, running, done or died. A died job was started, no process holds its lock, and it has no result."""
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
        shutil.rmtree(temporary, ignore_errors=True)  # another call created the same content first


def _read(folder: Path, name: str) -> str:
    try:
        return Path(folder, name).read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _write(folder: Path, name: str, text: str) -> None:
    Path(folder, f".{name}").write_text(text)
    Path(folder, f".{name}").rename(Path(folder, name))


def _some(most: int) -> bytes:
    """Return at most `most` available bytes of standard input. A full read would lose them if the connection drops."""
    pipe: Any = sys.stdin.buffer
    return bytes(pipe.read1(most))


def _line() -> dict[str, Any]:
    line = sys.stdin.buffer.readline()
    return json.loads(line) if line.endswith(b"\n") else {}


def _print_json(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


def _fail(kind: str, text: str, what: str) -> None:
    _print_json({"error": {"kind": kind, "text": text[:TEXT], "what": what[:TEXT]}})


def main() -> None:
    """Answer one request: a line of JSON with "verb" and its arguments."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.umask(0o077)
    sys.stdout.buffer.write(MARK)
    request = _line()
    try:
        verb = globals()[request.pop("verb")]
        if (found := verb(**request)) is not None:
            _print_json({"ok": found})
    except Refused as error:
        _fail(error.kind, error.text, error.what)
    except OSError as error:
        # EFBIG: a limit on the size of files (ulimit -f) has the same remedy as a full disk.
        kind = "full" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "os"
        _fail(kind, error.strerror or str(error), str(error.filename or ""))


if __name__ == "__main__":
    main()
