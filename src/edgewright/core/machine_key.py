"""This machine's key: it signs files that run code when they are opened, so that only this machine's own are opened.

TensorRT plans and torch programs are such files. Each carries a code (HMAC-SHA256, RFC 2104) that only this user on
this machine can compute.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from edgewright.core.errors import IntegrityError, InvalidInput, homeless

FILE = "machine.key"


def code(content: bytes) -> str:
    """The code of `content` with this machine's key, in hex digits."""
    return hmac.new(key(), content, hashlib.sha256).hexdigest()


def is_own(given: str, content: bytes) -> bool:
    """Whether `given` is this machine's code of `content`."""
    return hmac.compare_digest(given.encode(), code(content).encode())


def fingerprint() -> str:
    """Identifies this machine's key without revealing it."""
    return hashlib.sha256(b"edgewright" + key()).hexdigest()[:16]


def key() -> bytes:
    """This machine's 32 random bytes, created at first use and readable by this user only.

    Raises `InvalidInput` if it cannot be stored, and `IntegrityError` for a file that other users can read or that is
    no key: anyone could then compute codes.
    """
    path = _folder() / FILE
    try:
        if not path.exists():
            _make(path)
        about, found = path.stat(), path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"This machine's key {path} cannot be stored: {error.strerror}.",
            "The key signs the files that this machine wrote and may open again.",
            "Set XDG_CONFIG_HOME to a folder that this user can write.",
        ) from None
    if len(found) != 32 or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise IntegrityError(
            f"{path} is not this user's own key.",
            f"It has {len(found)} bytes and mode {about.st_mode & 0o777:o}, but needs 32 bytes and no other readers.",
            "Remove it, then build the TensorRT plans of this machine again.",
        )
    return found


def _folder() -> Path:
    named = os.environ.get("XDG_CONFIG_HOME", "")
    base = named if os.path.isabs(named) else os.path.expanduser("~/.config")  # noqa: PTH111, PTH117 - no error without a home
    if base.startswith("~"):
        raise homeless()
    return Path(base, "edgewright")


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent) as file:  # 0600 from the start
        file.write(secrets.token_bytes(32))
        file.flush()
        with contextlib.suppress(FileExistsError):  # another process was first: use its key
            os.link(file.name, path)
