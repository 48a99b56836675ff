"""Work on a device: install edgewright there, send and fetch files, run jobs that continue without a connection.

    with connect(Device(address="nano@jetson.local")) as device:
        device.run(JobRequest(target="edgewright.bench.device:about"), Path("here"))

A file is identified by its SHA-256 and sent once. An interrupted transfer continues at the last byte. A job is
identified by the digest of its request: after an interruption, the same command finds the job running or finished.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, TypeVar

import msgspec

from edgewright.core import errors, files
from edgewright.core.child import Progress
from edgewright.core.errors import DiskFull, IntegrityError, InvalidInput

from . import answers, ssh, wheel
from .job import JobRequest

FOLDER = "~/.cache/edgewright-remote"
CHUNK = 1 << 18
MIB = 1 << 20
AT_ONCE = answers.DIGESTS
"""Contents in one request to the device."""
ATTEMPTS = 20
"""A transfer stops after this number of attempts without progress."""
T = TypeVar("T")


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a device and how to use it.

    `identity`: private key for ssh. `python`: the device's interpreter, 3.10 or newer. `wheels`: local folder of wheels
    for a device without a package index. `folder`: folder of all files on the device. `clean`: remove this folder after
    the run. `patience_s`: seconds to wait for a lost connection.
    """

    address: str
    identity: str | None = None
    python: str = "python3"
    wheels: str | None = None
    folder: str = FOLDER
    clean: bool = False
    patience_s: float = 120.0


@contextlib.contextmanager
def connect(device: Device, progress: Progress | None = None) -> Iterator[Remote]:
    """Connect and install this version of edgewright. On exit, also after an error, `Device.clean` takes effect."""
    with _connection(device) as connection:
        try:
            yield _install(connection, device, progress)
        except BaseException:
            if device.clean:
                connection.patience_s = min(connection.patience_s, 20.0)
                with contextlib.suppress(errors.EdgewrightError):  # report the first error
                    _ask(connection, "clean", answers.Cleaned, root=device.folder)
            raise
        if device.clean:
            _ask(connection, "clean", answers.Cleaned, root=device.folder)


def clean(device: Device) -> bool:
    """Remove edgewright's folder from the device and end its jobs; False if there was no folder."""
    with _connection(device) as connection:
        return _ask(connection, "clean", answers.Cleaned, root=device.folder).removed


class Remote:
    """A device that is ready to work. `connect` returns it."""

    def __init__(self, connection: ssh.Connection, root: str, python: str) -> None:
        self.connection, self.root, self._python = connection, root, python
        self.interpreter = connection.python
        self._digests: dict[tuple[str, int, int], str] = {}
        self._jobs: list[str] = []
        self._client = secrets.token_hex(8)  # distinguishes lost connections of this run from other runs

    def push_files(self, paths: Sequence[str], progress: Progress | None = None) -> list[str]:
        """Send the files that the device does not have; return their paths on the device."""
        found = {self._digest(Path(path)): Path(path) for path in paths}
        self._push(found, progress)
        return [f"{self.root}/files/{self._digest(Path(path))}" for path in paths]

    def push_folders(self, folders: Sequence[Path], progress: Progress | None = None) -> list[str]:
        """Send the folders that the device does not have; return their paths on the device.

        A bundle keeps its suffix, so the device notices a missing manifest.
        """
        trees: dict[str, dict[str, str]] = {}
        content: dict[str, Path] = {}
        keys = []
        for folder in folders:
            names = {name: self._digest(folder / name) for name in files.tree(folder)}
            key = hashlib.sha256(msgspec.json.encode(sorted(names.items()))).hexdigest()[:32] + folder.suffix
            trees[key] = names
            keys.append(key)
            content |= {digest: folder / name for name, digest in names.items()}
        self._push(content, progress)
        self.ask("assemble", answers.Nothing, root=self.root, trees=trees)
        return [f"{self.root}/artifacts/{key}" for key in keys]

    def run(
        self,
        asked: JobRequest,
        out: Path,
        *,
        progress: Progress | None = None,
        fresh: bool = False,
        most_bytes: int = answers.RESULT_BYTES,
    ) -> Any:
        """Run the function `asked` on the device and return its value. Its files are copied into `out`.

        The function may take ``progress``, as in a `child`. `fresh`: ignore an earlier result. `most_bytes`: limit for
        all files of the job. Raises the error of the function, `RuntimeFailed` if the job died, `IntegrityError` for an
        invalid answer, and the errors of the connection.
        """
        request = msgspec.to_builtins(asked)
        identity = msgspec.json.encode([request, self._python], order="deterministic")
        key = hashlib.sha256(identity).hexdigest()[:32]
        self._jobs.append(key)
        if fresh:
            self.forget([key])
        self.ask("start", answers.Started, root=self.root, key=key, request=request, python=self._python)

        def report(done: int, total: int, text: str) -> None:
            if progress:
                progress(min(done, total) if total else done, total, text)

        result = self._follow(key, report)
        if result.error is not None:
            self.forget([key])  # a repeated command must not find this failure
            raise self._error(result.error)
        address = self.connection.address
        value = answers.value(result.ok, address)
        answers.require_files(result.files, most_bytes, address)
        self._pull(key, result.files, out)
        return value

    def forget(self, keys: Sequence[str] | None = None) -> None:
        """Remove jobs on the device (default: all jobs of this client). A repeated request then runs again."""
        self.ask("forget", answers.Nothing, root=self.root, keys=list(self._jobs if keys is None else keys))

    def ask(self, verb: str, kind: type[T], **arguments: Any) -> T:
        """Run a verb of `agent` and return its answer as `kind`. Refusals are raised as errors for the user."""
        return _ask(self.connection, verb, kind, **arguments)

    def _follow(self, key: str, progress: Progress) -> answers.JobResult:
        with _refusals(self.connection):
            return self.connection.ask(
                "follow", answers.Followed, progress=progress, hold=True, root=self.root, key=key
            ).result

    def _error(self, error: answers.Failure) -> errors.EdgewrightError:
        if (family := errors.FAMILIES.get(error.family)) is None:
            return answers.breach(
                self.connection.address, f"an error of the unknown kind '{error.family}'", ", ".join(errors.FAMILIES)
            )
        local = {digest: path for (path, _, _), digest in self._digests.items()}
        what, why, fix = (_renamed(text, self.root, local) for text in (error.what, error.why, error.fix))
        return family(f"On {self.connection.address}: {what}", why, fix)

    def _digest(self, path: Path) -> str:
        about = path.stat()
        key = (str(path), about.st_size, about.st_mtime_ns)
        if key not in self._digests:
            self._digests[key] = files.sha256(path)
        return self._digests[key]

    def _push(self, content: Mapping[str, Path], progress: Progress | None) -> None:
        sizes = {digest: path.stat().st_size for digest, path in content.items()}
        tries, least = 0, 1 << 63
        while True:
            lacking, free = self._lacking(sizes)
            if not lacking:
                return
            todo = sum(sizes[digest] - have for digest, have in lacking.items())
            if todo > free:
                raise DiskFull(
                    f"No space left on {self.connection.address}: {todo / MIB:.1f} MiB are needed.",
                    f"{free / MIB:.1f} MiB are free on the disk of {self.root}.",
                    "Free space on the device, or name a folder on another disk: --device-folder DIR",
                )
            tries, least = (0, todo) if todo < least else (tries + 1, least)
            if tries > ATTEMPTS:
                raise ssh.Lost(
                    f"Files could not be sent to {self.connection.address}.",
                    "The connection broke at every attempt, before any byte arrived.", "Check the network.",
                )  # fmt: skip
            self._send(content, lacking, sizes, progress)

    def _lacking(self, sizes: Mapping[str, int]) -> tuple[dict[str, int], int]:
        """Return the incomplete contents with the bytes already on the device, and the free bytes of its disk."""
        digests = sorted(sizes)
        lacking: dict[str, int] = {}
        free = 0
        for begin in range(0, max(len(digests), 1), AT_ONCE):
            asked = digests[begin : begin + AT_ONCE]
            answer = self.ask("missing", answers.Missing, root=self.root, digests=asked, client=self._client)
            if strange := answer.missing.keys() - set(asked):
                raise answers.breach(
                    self.connection.address, f"the digest {min(strange)}", "only digests from the request"
                )
            lacking |= {digest: min(have, sizes[digest]) for digest, have in answer.missing.items()}
            free = answer.free
        return lacking, free

    def _send(
        self, content: Mapping[str, Path], lacking: dict[str, int], sizes: dict[str, int], progress: Progress | None
    ) -> None:
        """Try once to send the missing contents. Bytes that arrive stay on the device."""
        total = sum(sizes[digest] for digest in lacking)
        sent = sum(lacking.values())

        def feed(pipe: BinaryIO) -> None:
            nonlocal sent
            for digest, have in lacking.items():
                head = {"sha256": digest, "size": sizes[digest], "offset": have}
                pipe.write(msgspec.json.encode(head) + b"\n")
                with content[digest].open("rb") as file:
                    file.seek(have)
                    while chunk := file.read(CHUNK):
                        pipe.write(chunk)
                        sent += len(chunk)
                        if progress:
                            progress(
                                sent // MIB, max(total // MIB, 1) + 1, f"{sent / MIB:.1f} of {total / MIB:.1f} MiB"
                            )
            pipe.write(b'{"end": true}\n')
            pipe.flush()

        def read(answer: IO[bytes]) -> None:
            found = self.connection.message(answer)
            answers.decode(found.ok, answers.Stored, self.connection.address, "an answer to 'receive'")

        try:
            self.connection.once({"verb": "receive", "root": self.root, "client": self._client}, read, feed)
        except ssh.Dropped as dropped:
            self.connection.wait_after(dropped)
        except ssh.Refusal as refusal:
            if refusal.kind not in ("cut", "damaged"):  # these files are sent again
                raise ssh.refused(refusal, self.connection.address) from None

    def _pull(self, key: str, written: Mapping[str, answers.Written], out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        total, free = sum(about.size for about in written.values()), shutil.disk_usage(out).free
        if total > free:
            raise DiskFull(
                f"No space left in {out} for the results of {self.connection.address}: {total / MIB:.1f} MiB.",
                f"{free / MIB:.1f} MiB are free there.", "Free disk space, or choose another output folder.",
            )  # fmt: skip
        for name, about in written.items():
            final = out / name
            final.parent.mkdir(parents=True, exist_ok=True)
            part = final.with_name(f".{final.name}.part")
            for _ in range(ATTEMPTS):
                with _refusals(self.connection), _opened(part) as file:
                    self.connection.retry(lambda file=file, name=name, about=about: self._fetch(key, name, about, file))  # type: ignore[misc]
                if files.sha256(part) == about.sha256:
                    part.replace(final)
                    break
                part.unlink()
            else:
                raise IntegrityError(
                    f"{name} from {self.connection.address} arrived damaged {ATTEMPTS} times.",
                    "Its SHA-256 differs from the one that the device reported.", "Check the disk of the device.",
                )  # fmt: skip

    def _fetch(self, key: str, name: str, about: answers.Written, file: BinaryIO) -> None:
        """Append the missing bytes of a job's file. Received bytes stay if the connection drops."""
        if (offset := file.tell()) > about.size:  # the rest of another file
            offset = file.truncate(0)

        def read(answer: IO[bytes]) -> None:
            found = self.connection.message(answer)
            size = answers.decode(found.ok, answers.Size, self.connection.address, "an answer to 'read'").size
            if size != about.size:
                raise answers.breach(
                    self.connection.address, f"{size} bytes of {name}", f"{about.size} bytes, as it announced"
                )
            left = size - offset
            while left:
                chunk = answer.read(min(left, CHUNK))
                file.write(chunk)
                left -= len(chunk)
                if not chunk:
                    file.flush()
                    raise EOFError

        self.connection.once({"verb": "read", "root": self.root, "key": key, "name": name, "offset": offset}, read)


def _connection(device: Device) -> ssh.Connection:
    identity = files.absolute(device.identity) if device.identity else None
    return ssh.Connection(
        ssh.parse(device.address), identity=identity, python=device.python, patience_s=device.patience_s
    )


def _install(connection: ssh.Connection, device: Device, progress: Progress | None) -> Remote:
    """Install on the device: edgewright's folder, the wheel of this installation, and missing requirements."""
    hello = _ask(connection, "hello", answers.Hello, root=device.folder, names=wheel.names())
    machine = wheel.Machine(python=hello.python, arch=hello.arch)
    lacking, pins = wheel.lacking(machine, hello.installed), wheel.pins(machine)
    remote = Remote(connection, hello.root, "")
    packed = wheel.pack()
    digest = hashlib.sha256(packed).hexdigest()
    with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:
        Path(scratch, "edgewright.whl").write_bytes(packed)
        remote.push_files([str(Path(scratch, "edgewright.whl"))])
    wheels = _push_wheels(remote, device.wheels, machine, progress)
    if progress:
        progress(0, 1, "installing")
    # Each interpreter and each set of packages has its own environment.
    about = msgspec.json.encode([digest, device.python, machine, lacking, pins, wheels])
    try:
        environment = connection.ask(
            "install", answers.Installed, root=hello.root, digest=hashlib.sha256(about).hexdigest()[:16], wheel=digest,
            lacking=lacking, pins=pins, wheels=wheels,
        )  # fmt: skip
    except ssh.Refusal as refusal:
        raise ssh.refused(refusal, connection.address, wheel.download(machine)) from None
    return Remote(connection, hello.root, environment.python)


def _push_wheels(remote: Remote, folder: str | None, machine: wheel.Machine, progress: Progress | None) -> str | None:
    """Send the user's folder of wheels; return its name on the device, or None without a folder."""
    if folder is None:
        return None
    here = files.absolute(folder)
    if not any(here.glob("*.whl")):
        raise InvalidInput(
            f"The folder {here} contains no wheels.", "--wheels needs .whl files for the device's Python.",
            f"Download them: {wheel.download(machine)}",
        )  # fmt: skip
    (path,) = remote.push_folders([here], progress)
    return PurePosixPath(path).name


def _ask(connection: ssh.Connection, verb: str, kind: type[T], **arguments: Any) -> T:
    with _refusals(connection):
        return connection.ask(verb, kind, **arguments)


@contextlib.contextmanager
def _refusals(connection: ssh.Connection) -> Iterator[None]:
    try:
        yield
    except ssh.Refusal as refusal:
        raise ssh.refused(refusal, connection.address) from None


def _opened(part: Path) -> BinaryIO:
    """Open the file of a result at its end. A link with this name is replaced, not followed."""
    if part.is_symlink():
        part.unlink()
    return os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666), "ab")


def _renamed(text: str, root: str, local: Mapping[str, str]) -> str:
    """Replace paths of sent files in `text` by their local paths. `local`: digest -> path."""
    sent = re.compile(re.escape(f"{root}/files/") + "([0-9a-f]{64})")
    return sent.sub(lambda found: local.get(found[1], found[0]), text)
