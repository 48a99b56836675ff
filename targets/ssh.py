"""Reach a device with the OpenSSH client. The user's configuration, agent, jump hosts and known hosts apply.

`Connection.ask` runs one verb of `agent` on the device. Host keys are always checked, and ssh never asks for input. An
error of OpenSSH becomes a message with a remedy. A lost connection is opened again, with growing pauses, until nothing
arrived for `patience_s` seconds.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, TypeVar

import msgspec

from edgewright.core import files
from edgewright.core.errors import (
    DiskFull,
    EdgewrightError,
    IntegrityError,
    InvalidInput,
    RuntimeFailed,
    TimedOut,
    Unavailable,
    UsageError,
)  # fmt: skip

from . import answers

CONFIG = "EDGEWRIGHT_SSH_CONFIG"
"""Environment variable with a configuration file for `ssh -F`, instead of the user's."""

CONNECT_S, ALIVE_S, ALIVE_COUNT = 10, 5, 3
"""Seconds until a host counts as unreachable; seconds and number of checks until a silent connection counts as lost."""

OPTIONS = {
    "BatchMode": "yes", "StrictHostKeyChecking": "yes", "ConnectTimeout": CONNECT_S, "ServerAliveInterval": ALIVE_S,
    "ServerAliveCountMax": ALIVE_COUNT, "ControlMaster": "auto", "ControlPersist": 60, "ClearAllForwardings": "yes",
    "ForwardAgent": "no", "ForwardX11": "no", "PermitLocalCommand": "no", "RemoteCommand": "none", "LogLevel": "ERROR",
}  # fmt: skip

OLDEST = (3, 10)
BOOT = (
    f"import sys;sys.version_info<{OLDEST!r} and sys.exit('edgewright: python '+sys.version.split()[0]);"
    "exec(sys.stdin.buffer.read(int(sys.argv[1])))"
)
MARK_WITHIN = 1 << 16
"""Bytes that login scripts may print before the answer of `agent`."""
SSH_FAILED = 255
WORDS = 300
"""Characters of an error line of ssh or of a program on the device that a message shows."""
T = TypeVar("T")


class Unreachable(Unavailable):
    """The device cannot be reached or used, so no artifact can be measured on it."""


class Lost(TimedOut):
    """The connection was lost and did not come back in time."""


class Dropped(Exception):
    """The connection was lost: try again. `error`: the error to report if it does not come back."""

    def __init__(self, error: EdgewrightError) -> None:
        super().__init__(error.what)
        self.error = error


class Refusal(Exception):
    """The program on the device refused a request (see `agent.Refused`)."""

    def __init__(self, fault: answers.Fault) -> None:
        super().__init__(fault)
        self.kind, self.text, self.what = fault.kind, fault.text, fault.what


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """The address of a device. `host`: a name, an IP address, or an alias of the SSH configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host and self.port else self.host
        return "".join([f"{self.user}@" if self.user else "", host, f":{self.port}" if self.port else ""])


_ADDRESS = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@:/\s-][^@:/\s]*)@)?"
    r"(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*))(?::(?P<port>\d{1,5}))?/?"
)


def parse(text: str) -> Address:
    """Parse ``user@host``, ``user@host:port``, ``user@[v6]:port`` or ``ssh://user@host:port``.

    Raises `UsageError` for other texts. A host must not begin with ``-``, because ssh reads that as an option.
    """
    match = _ADDRESS.fullmatch(text)
    port = int(match["port"]) if match and match["port"] else None
    if not match or (port is not None and not 0 < port < 65536):
        raise UsageError(
            f"'{text}' is not the address of a device.",
            "Allowed: user@host, user@host:port, ssh://user@host:port. The host can be an alias of your SSH config.",
            "Write for example: --on nano@jetson.local",
        )
    return Address(host=match["six"] or match["host"], user=match["user"], port=port)


class Connection:
    """A connection to a device that runs verbs of `agent`. Use it as a context manager; exit closes the connection."""

    def __init__(
        self, address: Address, *, identity: Path | None = None, python: str = "python3", patience_s: float = 120.0
    ) -> None:
        if not shutil.which("ssh"):
            raise Unavailable(
                "The program 'ssh' is not installed.", "edgewright reaches devices with OpenSSH.",
                "Install the OpenSSH client, for example: sudo apt-get install openssh-client",
            )  # fmt: skip
        if identity is not None and not identity.is_file():
            raise InvalidInput(f"The key file {identity} does not exist.", "--identity names it.", "Check the path.")
        self.address, self.python, self.patience_s = address, python, patience_s
        self._identity = identity
        self._known = False
        # A short path, because the path of a socket has at most 104 characters.
        self._sockets = tempfile.mkdtemp(prefix="edgewright-", dir="/tmp" if Path("/tmp").is_dir() else None)  # noqa: S108 - 0700
        self._since: float | None = None
        self._pause = 0.0

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                [*self._ssh("-O", "exit"), "--", self.address.host], check=False, capture_output=True, timeout=5
            )
        shutil.rmtree(self._sockets, ignore_errors=True)

    def ask(
        self,
        verb: str,
        kind: type[T],
        *,
        progress: Callable[[int, int, str], None] | None = None,
        hold: bool = False,
        **arguments: Any,
    ) -> T:
        """Run a verb and return its "ok" as `kind` (see `answers`). A lost connection repeats the verb.

        `progress`: called with each progress report. `hold`: keep the standard input of the verb open until it ends.
        """

        def read(answer: IO[bytes]) -> T:
            lines, begin = 0, time.monotonic()
            while (step := (message := self.message(answer)).progress) is not None:
                lines += 1
                if progress is None or lines > answers.BURST + answers.PER_S * (time.monotonic() - begin):
                    raise answers.breach(
                        self.address, f"{lines} lines of progress", f"{answers.PER_S} a second while a job runs"
                    )
                self.steady()
                progress(*step)
            return answers.decode(message.ok, kind, self.address, f"an answer to '{verb}'")

        return self.retry(lambda: self.once({"verb": verb, **arguments}, read, hold=hold))

    def message(self, answer: IO[bytes]) -> answers.Message:
        """Return the next line of an answer. Raises `Refusal`, `EOFError` at the end, `IntegrityError` if invalid."""
        line = answer.readline(answers.LINE_BYTES)
        if not line.endswith(b"\n"):
            if len(line) == answers.LINE_BYTES:
                raise answers.breach(self.address, f"a line of {len(line)} bytes or more", "shorter lines")
            raise EOFError
        found = answers.message(line, self.address)
        if found.error is not None:
            raise Refusal(found.error)
        return found

    def retry(self, step: Callable[[], T]) -> T:
        """Return the result of `step`. Repeats it if the connection drops; raises `Lost` after `patience_s` seconds."""
        while True:
            try:
                found = step()
            except Dropped as dropped:
                self.wait_after(dropped)
            else:
                self.steady()
                return found

    def steady(self) -> None:
        """Note that data arrived: the waiting time starts again."""
        self._since, self._pause = None, 0.0

    def wait_after(self, dropped: Dropped) -> None:
        """Pause before the next attempt, longer each time. Raises `Lost` after `patience_s` seconds."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since > self.patience_s:
            raise Lost(
                f"The connection to {self.address} was lost and did not come back within {self.patience_s:g} s.",
                dropped.error.why or dropped.error.what,
                "The job on the device continues. Run the same command again to continue.",
            ) from None
        self._pause = min(max(2 * self._pause, 0.1), 3.0)
        time.sleep(self._pause)

    def once(
        self,
        request: dict[str, Any],
        read: Callable[[IO[bytes]], T],
        feed: Callable[[BinaryIO], None] | None = None,
        hold: bool = False,
    ) -> T:
        """Run one verb once. `feed` writes the data after the request, `read` reads the answer.

        Raises `Dropped` if the connection is lost, `Refusal` if the program on the device refuses, and an error for the
        user if the device cannot be reached.
        """
        program = _program()
        remote = shlex.join([self.python, "-I", "-S", "-c", BOOT, str(len(program))])
        command = [*self._ssh("-T"), "--", self.address.host, f"exec {remote}"]
        errors = _ErrorOutput()
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors.into,
            env={**os.environ, "LC_ALL": "C"},
        ) as process:
            os.close(errors.into)
            assert process.stdin is not None and process.stdout is not None
            # A separate thread, because the device can refuse before it has read everything.
            writer = threading.Thread(
                target=_write, args=(process.stdin, program + msgspec.json.encode(request) + b"\n", feed, hold),
                daemon=True,
            )  # fmt: skip
            writer.start()
            try:
                self._skip_to_mark(process.stdout)
                self._known = True
                return read(process.stdout)
            except EOFError:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(ALIVE_S)
                raise self._failure(process.poll(), errors.text()) from None
            finally:
                process.kill()
                process.stdout.close()
                writer.join()
                with contextlib.suppress(OSError):
                    process.stdin.close()

    def _ssh(self, *more: str) -> list[str]:
        words = ["ssh", *more]
        if config := os.environ.get(CONFIG):
            words += ["-F", str(files.absolute(config))]
        for name, value in {**OPTIONS, "ControlPath": f"{self._sockets}/c"}.items():
            words += ["-o", f"{name}={value}"]
        if self._identity is not None:
            words += ["-i", str(self._identity), "-o", "IdentitiesOnly=yes"]
        if self.address.user:
            words += ["-l", self.address.user]
        if self.address.port:
            words += ["-p", str(self.address.port)]
        return words

    def _skip_to_mark(self, answer: IO[bytes]) -> None:
        from .agent import MARK

        seen = 0
        while (line := answer.readline(MARK_WITHIN)) != MARK:
            seen += len(line)
            if not line:
                raise EOFError
            if seen > MARK_WITHIN:
                raise RuntimeFailed(
                    f"{self.address} printed more than {seen} bytes before its answer.",
                    f"Login scripts may print up to {MARK_WITHIN} bytes.",
                    "Change ~/.bashrc, ~/.profile or ForceCommand on the device: print only if there is a terminal.",
                )  # fmt: skip

    def _failure(self, code: int | None, text: str) -> Exception:
        # OpenSSH can report success for a session that broke. A program that answered before does not end like that.
        cut = code == 0 and self._known and not text
        if code not in (SSH_FAILED, None, -9) and not cut:
            return _no_python(text, code, self.python, self.address)
        error, lasting = explain(text, self.address)
        return error if lasting or (not self._known and isinstance(error, Unreachable)) else Dropped(error)


def explain(text: str, address: Address) -> tuple[EdgewrightError, bool]:
    """Return the error for a text of OpenSSH (7.2 to 10), and whether it is permanent, so that a retry is useless."""
    last = _last(text)
    target = str(address)
    port = f"-p {address.port} " if address.port else ""
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in text:
        found = re.search(r"SHA256:[A-Za-z0-9+/=]{1,64}", text)
        return IntegrityError(
            f"The host key of {target} has changed{f' to {found[0]}' if found else ''}.",
            "The device was installed again, or another machine answers in its place. edgewright sent nothing.",
            f"If you expect a new key, compare the fingerprint with the one on the device. Then run: ssh-keygen -R "
            f"'{_known_name(address)}', and once: ssh {port}{_login(address)}",
        ), True  # fmt: skip
    if "Host key verification failed" in text or re.search(r"No \S+ host key is known for", text):
        return IntegrityError(
            f"The host key of {target} is not known.",
            "edgewright connects only to devices whose key you accepted.",
            f"Connect once by hand and compare the fingerprint with the one on the device: ssh {port}{_login(address)}",
        ), True  # fmt: skip
    if "Permission denied" in text or "Too many authentication failures" in text:
        return Unreachable(
            f"{target} refused the login{f' of {address.user}' if address.user else ''}.", last,
            f"Check the user name. Install your key: ssh-copy-id {port}{_login(address)}, or name one: --identity FILE",
        ), True  # fmt: skip
    if "Could not resolve hostname" in text or "Name or service not known" in text:
        return Unreachable(
            f"The host name '{address.host}' is not known.",
            last,
            "Check the name, or give the IP address of the device.",
        ), False
    if "Connection refused" in text:
        return Unreachable(
            f"{target} refuses connections.", last,
            "Start the SSH server on the device, or name its port: user@host:port",
        ), False  # fmt: skip
    if re.search(r"No route to host|Network is unreachable|timed out|Host is down", text):
        return Unreachable(
            f"{target} does not answer.", last,
            "Check that the device is on and in this network, and that no firewall blocks it.",
        ), False  # fmt: skip
    if re.search(
        r"Bad configuration option|terminating, \d+ bad|Can't open user config|Bad owner or permissions", text
    ):
        return InvalidInput("OpenSSH rejects its configuration.", last, "Correct the file that OpenSSH names."), True
    if "UNPROTECTED PRIVATE KEY FILE" in text:
        return InvalidInput(
            "OpenSSH rejects the private key.", last, "Remove the access of other users: chmod 600 FILE"
        ), True
    return Unavailable(f"The connection to {target} was lost.", last, "Try again."), False


def refused(refusal: Refusal, address: Address, download: str = "") -> EdgewrightError:
    """Return the user's error for a refusal of the device. `download`: the command that downloads wheels for it."""
    text, what = refusal.text, refusal.what
    if refusal.kind == "full":
        return DiskFull(
            f"No space left on {address} while writing {what}.", text,
            "Free space on the device, or name a folder on another disk: --device-folder DIR",
        )  # fmt: skip
    if refusal.kind == "folder":
        return Unreachable(
            f"The folder {what} cannot be created on {address}: {text}.", "edgewright keeps all its files there.",
            "Name a folder that the user can write: --device-folder DIR",
        )  # fmt: skip
    if refusal.kind == "foreign":
        return UsageError(
            f"The folder {what} on {address} contains files that are not from edgewright.",
            "edgewright removes its folder with all files in it.", "Name another folder: --device-folder DIR",
        )  # fmt: skip
    if refusal.kind in ("venv", "pip", "packages"):
        lacking = f"the missing packages: {what}" if what else "a Python environment"
        return Unreachable(
            f"{address} cannot install {lacking}.", text,
            f"If the device has no package index, run here: {download or 'pip download -d DIR ...'}; then add "
            "--wheels DIR. Otherwise run on the device: sudo apt-get install python3-venv python3-pip",
        )  # fmt: skip
    if refusal.kind == "died":
        return RuntimeFailed(
            f"The job on {address} ended without a result.",
            f"It was killed, or the device restarted. Last line of its log: {text[:200]}",
            f"Run the command again. The log on the device is {what}/log",
        )
    return RuntimeFailed(f"{address} failed: {text}.", what, "Check the device, then run the command again.")


def _no_python(text: str, code: int | None, python: str, address: Address) -> EdgewrightError:
    if found := re.search(r"edgewright: python (\S{1,40})", text):
        return Unreachable(
            f"{python} on {address} is Python {found[1]}.",
            f"edgewright needs {'.'.join(map(str, OLDEST))} or newer.",
            "Install a newer Python on the device and name it: --python PATH",
        )
    if code in (126, 127):
        return Unreachable(
            f"{address} has no program '{python}'.", _last(text) if text else f"exit code {code}",
            "Install Python 3.10 or newer on the device, or name it: --python PATH",
        )  # fmt: skip
    return RuntimeFailed(f"{python} on {address} ended with exit code {code}.", _last(text), "Check the device.")


def _last(text: str) -> str:
    """Return the last line of `text` that is not empty."""
    return next((line.strip()[:WORDS] for line in reversed(text.splitlines()) if line.strip()), "It printed nothing.")


def _login(address: Address) -> str:
    return f"{address.user}@{address.host}" if address.user else address.host


def _known_name(address: Address) -> str:
    return f"[{address.host}]:{address.port}" if address.port not in (None, 22) else address.host


@functools.cache
def _program() -> bytes:
    return Path(__file__).with_name("agent.py").read_bytes()


def _write(pipe: IO[bytes], request: bytes, feed: Callable[[BinaryIO], None] | None, hold: bool) -> None:
    with contextlib.suppress(OSError, ValueError):  # the other side is gone; the answer or its absence gives the reason
        pipe.write(request)
        pipe.flush()
        if feed:
            feed(pipe)  # type: ignore[arg-type]
        if not hold:
            pipe.close()


class _ErrorOutput:
    """Keeps the last bytes written to the descriptor `into`. A thread reads them, so that writers never wait."""

    def __init__(self) -> None:
        source, self.into = os.pipe()
        self._end = b""
        # A proxy that ssh started can keep the other end open until the shared connection ends.
        self._reader = threading.Thread(target=self._read, args=(source,), daemon=True)
        self._reader.start()

    def text(self) -> str:
        """Return the text of a program that has ended."""
        self._reader.join(1.0)
        return self._end.decode(errors="replace").strip()

    def _read(self, source: int) -> None:
        with open(source, "rb", buffering=0) as pipe:
            while chunk := pipe.read(answers.STDERR_BYTES):
                self._end = (self._end + chunk)[-answers.STDERR_BYTES :]
