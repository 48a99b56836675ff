"""This machine as a device: a real sshd of our own on a free port, and a wire to it that can be cut."""

from __future__ import annotations

import contextlib
import getpass
import random
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

SSHD = Path("/usr/sbin/sshd")


class Sshd:
    """An sshd of the current user that lets in the key ``id`` of its folder; ``config`` is what the client reads."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.user = getpass.getuser()
        for name in ("host", "id", "stranger"):
            run = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
            subprocess.run(run, check=True)
        (folder / "authorized_keys").write_text((folder / "id.pub").read_text())
        self.trust(folder / "host.pub", self.port)
        self._process: subprocess.Popen[bytes] | None = None

    def trust(self, key: Path, *ports: int) -> None:
        """Make `key` the known host key of these ports."""
        public = key.read_text()
        known = "".join(f"[127.0.0.1]:{port} {public}" for port in ports)
        (self.folder / "known_hosts").write_text(known)
        (self.folder / "config").write_text(
            "Host *\n"
            f"  UserKnownHostsFile {self.folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
            f"  IdentityFile {self.folder}/id\n  IdentitiesOnly yes\n  IdentityAgent none\n"
        )

    @contextlib.contextmanager
    def serving(self, *more: str, file_bytes: int | None = None) -> Iterator[Sshd]:
        """Serve; `more` are lines of sshd_config, `file_bytes` the largest file that a session may write."""
        lines = [
            f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {self.folder}/host", "PidFile none",
            f"AuthorizedKeysFile {self.folder}/authorized_keys", "UsePAM no", "StrictModes no",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no", "MaxStartups 100",
            # Neither the login scripts of the user nor an index of packages.
            f"SetEnv HOME={self.folder} PIP_NO_INDEX=1", *more,
        ]  # fmt: skip
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")
        with contextlib.suppress(PermissionError):
            Path("/run/sshd").mkdir(exist_ok=True)  # root's sshd wants an empty folder there

        def limit() -> None:
            if file_bytes:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config")], stderr=log, preexec_fn=limit
            )
        try:
            self._wait()
            yield self
        finally:
            self._process.kill()
            self._process.wait()

    @property
    def address(self) -> str:
        return f"{self.user}@127.0.0.1:{self.port}"

    def _wait(self) -> None:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text())


class Wire:
    """A TCP proxy to a port, which counts what goes to the device and can be cut: all its connections are reset."""

    def __init__(self, to: int) -> None:
        self._to, self.sent, self.cuts = to, 0, 0
        self._pairs: list[socket.socket] = []
        self._cut_at: int | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Cut every connection now."""
        pairs, self._pairs = self._pairs, []
        self.cuts += bool(pairs)
        for end in pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut_after(self, count: int) -> None:
        """Cut when so many more bytes went to the device."""
        self._cut_at = self.sent + count

    def cut_at_random(self, times: int, seed: int, within_s: tuple[float, float]) -> threading.Thread:
        """Cut so often, each time at a random moment after there is a connection again."""
        moments = random.Random(seed)

        def cuts() -> None:
            while self.cuts < times and self._open:
                while not self._pairs and self._open:
                    time.sleep(0.01)
                time.sleep(moments.uniform(*within_s))
                self.cut()

        thread = threading.Thread(target=cuts, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        self._open = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while self._open:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            self._pairs += [near, far]
            threading.Thread(target=self._copy, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, False), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                sink.sendall(data)
                if counted:
                    self.sent += len(data)
                    if self._cut_at is not None and self.sent >= self._cut_at:
                        self._cut_at = None
                        self.cut()
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
