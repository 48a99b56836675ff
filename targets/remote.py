"""Work on a device: edgewright installed there, files pushed and pulled, jobs that outlive a connection.

    with connect(Device(address="nano@jetson.local")) as device:
        device.run("edgewright.bench.device:about", {}, limits, Path("here"))

Files are known by their SHA-256 and sent once; a cut one is sent on from where it was cut. A job is known by the digest
of what is asked: a client that was killed and gives the same command again finds it running, or done.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, TypeVar

import msgspec

from edgewright.core import errors, files
from edgewright.core.child import Limits, Progress
from edgewright.core.errors import DiskFull, IntegrityError, InvalidInput

from . import ssh, wheel
from .job import Request

FOLDER = "~/.cache/edgewright-remote"
CHUNK = 1 << 18
MIB = 1 << 20
ATTEMPTS = 20
"""A push or pull that was cut so often, with not a byte more each time, is given up."""
T = TypeVar("T")


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """How a device is reached and what may be done there.

    `identity`: a private key for ssh. `python`: the device's interpreter, 3.10 or newer. `wheels`: a local folder of
    wheels for it, where the device reaches no package index. `folder`: where everything lies on the device. `clean`:
    remove all of it after the run. `patience_s`: how long a lost connection is waited for.
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
    """The device, with this version of edgewright installed; `Device.clean` is done on leaving, however that is."""
    with _connection(device) as connection:
        try:
            yield _install(connection, device, progress)
        except BaseException:
            if device.clean:
                connection.patience_s = min(connection.patience_s, 20.0)
                with contextlib.suppress(errors.EdgewrightError):  # the first error is the one to tell
                    _ask(connection, "clean", root=device.folder)
            raise
        if device.clean:
            _ask(connection, "clean", root=device.folder)


def clean(device: Device) -> bool:
    """Remove everything of edgewright from the device and end its jobs; False where there was nothing."""
    with _connection(device) as connection:
        return bool(_ask(connection, "clean", root=device.folder)["removed"])


class Remote:
    """A device that is ready to work. Made by `connect`."""

    def __init__(self, connection: ssh.Connection, root: str, python: str) -> None:
        self.connection, self.root, self._python = connection, root, python
        self.interpreter = connection.python
        self._digests: dict[tuple[str, int, int], str] = {}
        self._jobs: list[str] = []
        self._client = secrets.token_hex(8)  # tells this run's own lost connections from other runs at work

    def push_files(self, paths: Sequence[str], progress: Progress | None = None) -> list[str]:
        """The paths on the device of these files, which are sent where they are not there yet."""
        found = {self._digest(Path(path)): Path(path) for path in paths}
        self._push(found, progress)
        return [f"{self.root}/files/{self._digest(Path(path))}" for path in paths]

    def push_folders(self, folders: Sequence[Path], progress: Progress | None = None) -> list[str]:
        """The paths on the device of these folders, which are sent where they are not there yet.

        A bundle keeps its suffix, by which its missing manifest is found out.
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
        self.ask("assemble", root=self.root, trees=trees)
        return [f"{self.root}/artifacts/{key}" for key in keys]

    def run(
        self,
        target: str,
        kwargs: Mapping[str, Any],
        limits: Limits,
        out: Path,
        *,
        into: str = "folder",
        progress: Progress | None = None,
        fresh: bool = False,
    ) -> Any:
        """Run ``module:function`` on the device and return what it returns; the files that it wrote are put into `out`.

        The function gets its output folder as the argument named `into`, and may take ``progress``, as in a `child`.
        `fresh`: what an earlier client was answered is not good enough.
        Raises what it raised there, `RuntimeFailed` where the job died, and the connection's errors.
        """
        request = msgspec.to_builtins(Request(target=target, kwargs=dict(kwargs), limits=limits, into=into))
        identity = msgspec.json.encode([request, self._python], order="deterministic")
        key = hashlib.sha256(identity).hexdigest()[:32]
        self._jobs.append(key)
        if fresh:
            self.forget([key])
        self.ask("start", root=self.root, key=key, request=request, python=self._python)

        def told(message: dict[str, Any]) -> None:
            if progress:
                done, total, text = message["progress"]
                progress(int(done), int(total), str(text))

        result = self._follow(key, told)
        if "error" in result:
            self.forget([key])  # a failure is no result to be found again
            raise self._error(result["error"])
        self._pull(key, result["files"], out)
        return result["ok"]

    def forget(self, keys: Sequence[str] | None = None) -> None:
        """Remove jobs on the device (default: all that this client asked for): asked again, they are done anew."""
        self.ask("forget", root=self.root, keys=list(self._jobs if keys is None else keys))

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """A verb of `agent`, with the device's refusals as user's errors."""
        return _ask(self.connection, verb, **arguments)

    def _follow(self, key: str, told: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        with _refusals(self.connection):
            found = self.connection.ask("follow", told=told, hold=True, root=self.root, key=key)
        result: dict[str, Any] = found["result"]
        return result

    def _error(self, error: Mapping[str, str]) -> errors.EdgewrightError:
        family = errors.FAMILIES[error["family"]]
        local = {f"{self.root}/files/{digest}": path for (path, _, _), digest in self._digests.items()}
        what, why, fix = (_renamed(error[part], local) for part in ("what", "why", "fix"))
        return family(f"On {self.connection.address}: {what}", why, fix)

    def _digest(self, path: Path) -> str:
        about = path.stat()
        key = (str(path), about.st_size, about.st_mtime_ns)
        if key not in self._digests:
            self._digests[key] = files.sha256(path)
        return self._digests[key]

    def _push(self, content: Mapping[str, Path], progress: Progress | None) -> None:
        sizes = {digest: path.stat().st_size for digest, path in content.items()}
        tries, before = 0, -1
        while True:
            state = self.ask("missing", root=self.root, digests=sorted(content), client=self._client)
            lacking = {digest: min(have, sizes[digest]) for digest, have in state["missing"].items()}
            if not lacking:
                return
            todo = sum(sizes[digest] - have for digest, have in lacking.items())
            if todo > state["free"]:
                raise DiskFull(
                    f"No space left on {self.connection.address}: {todo / MIB:.1f} MiB are to be sent.",
                    f"{state['free'] / MIB:.1f} MiB are free where {self.root} lies.",
                    "Free space on the device, or keep the files elsewhere: --device-folder DIR",
                )
            tries, before = (tries + 1 if todo == before else 0), todo
            if tries > ATTEMPTS:
                raise ssh.Lost(
                    f"Files could not be sent to {self.connection.address}.",
                    "The connection was cut at every try, with nothing sent.", "Check the network.",
                )  # fmt: skip
            self._send(content, lacking, sizes, progress)

    def _send(
        self, content: Mapping[str, Path], lacking: dict[str, int], sizes: dict[str, int], progress: Progress | None
    ) -> None:
        """One try to send what is lacking; what the connection lets through stays there."""
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
            for message in ssh.messages(answer):
                if "ok" in message:
                    return

        try:
            self.connection.once({"verb": "receive", "root": self.root, "client": self._client}, read, feed)
        except ssh.Dropped as dropped:
            self.connection.wait_after(dropped)
        except ssh.Refusal as refusal:
            if refusal.kind not in ("cut", "damaged"):  # these are sent again
                raise ssh.refused(refusal, self.connection.address) from None

    def _pull(self, key: str, digests: Mapping[str, str], out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        for name, digest in digests.items():
            _require_plain(name, self.connection.address)
            final = out / name
            final.parent.mkdir(parents=True, exist_ok=True)
            part = final.with_name(f".{final.name}.part")
            for _ in range(ATTEMPTS):
                with _refusals(self.connection), part.open("ab") as file:
                    self.connection.retry(lambda file=file, name=name: self._fetch(key, name, file))  # type: ignore[misc]
                if files.sha256(part) == digest:
                    part.replace(final)
                    break
                part.unlink()
            else:
                raise IntegrityError(
                    f"{name} does not arrive from {self.connection.address} as it lies there (SHA-256 differs).",
                    "", "Check the device's disk.",
                )  # fmt: skip

    def _fetch(self, key: str, name: str, file: BinaryIO) -> None:
        """Append what is missing of a job's file; what has come stays where the connection drops."""
        offset = file.tell()

        def read(answer: IO[bytes]) -> None:
            head = next(ssh.messages(answer))
            left = int(head["ok"]["size"]) - offset
            while left > 0:
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
    """Edgewright on the device: its folder, the wheel of this installation, what the wheel needs."""
    said = _ask(connection, "hello", root=device.folder)
    remote = Remote(connection, said["root"], "")
    packed = wheel.pack()
    digest = hashlib.sha256(packed).hexdigest()
    with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:
        Path(scratch, "edgewright.whl").write_bytes(packed)
        remote.push_files([str(Path(scratch, "edgewright.whl"))])
    wheels = None
    if device.wheels:
        folder = files.absolute(device.wheels)
        if not any(folder.glob("*.whl")):
            raise InvalidInput(
                f"There are no wheels in {folder}.", "--wheels names a folder of .whl files for the device's Python.",
                "Fill it: pip download --only-binary :all: --python-version 3.10 --platform manylinux_2_28_aarch64 ...",
            )  # fmt: skip
        (path,) = remote.push_folders([folder], progress)
        wheels = PurePosixPath(path).name
    if progress:
        progress(0, 1, "installing")
    needs = wheel.requirements(said["python"])
    # Another interpreter, or another choice of packages, is another environment.
    about = msgspec.json.encode([digest, device.python, said["python"], said["arch"], needs, wheels])
    made = remote.ask(
        "install", root=remote.root, digest=hashlib.sha256(about).hexdigest()[:16], wheel=digest, requires=needs,
        wheels=wheels,
    )  # fmt: skip
    return Remote(connection, said["root"], made["python"])


def _ask(connection: ssh.Connection, verb: str, **arguments: Any) -> dict[str, Any]:
    with _refusals(connection):
        return connection.ask(verb, **arguments)


@contextlib.contextmanager
def _refusals(connection: ssh.Connection) -> Iterator[None]:
    try:
        yield
    except ssh.Refusal as refusal:
        raise ssh.refused(refusal, connection.address) from None


def _renamed(text: str, names: Mapping[str, str]) -> str:
    for theirs, ours in names.items():
        text = text.replace(theirs, ours)
    return text


def _require_plain(name: str, address: ssh.Address) -> None:
    """Refuse a name by which a device could write outside the folder that its files go to."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name or os.sep == "\\":
        raise IntegrityError(
            f"{address} names a result '{name}'.", "It may only lie below the job's own folder.",
            "Do not work on this device before you know what it runs.",
        )  # fmt: skip
