"""Files at a path or URL: local, https, s3 and gs, through fsspec."""

from __future__ import annotations

import re
from typing import Any

from .errors import InvalidInput, Unavailable
from .files import absolute
from .lazy import require

SCHEMES = {"file": "", "http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs"}
"""The allowed schemes, and the package that fsspec needs for each. fsspec knows more, such as chains of archives and
shell connections: a name from outside must not reach them."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def scheme(url: str) -> str:
    """The scheme of a URL; "file" for a path. Raises `InvalidInput` for a scheme that is not allowed."""
    found = _SCHEME.match(url)
    name = found[1].lower() if found else "file"
    if name not in SCHEMES or "::" in url:
        raise InvalidInput(
            f"'{url}' has the scheme '{name}'." if name not in SCHEMES else f"'{url}' is a chain of URLs.",
            f"Allowed: a path, {', '.join(f'{one}://' for one in SCHEMES)}.",
            "Download the files, and give their path.",
        )  # fmt: skip
    return name


def is_local(url: str) -> bool:
    """Whether `url` is a path or a ``file://`` URL."""
    return scheme(url) == "file"


def local(url: str) -> str:
    """The absolute path of a path or ``file://`` URL."""
    return str(absolute(url.removeprefix("file://")))


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of `url`, and the path in it.

    Raises `InvalidInput` for a scheme that is not allowed, and `Unavailable` if a package for it is missing.
    """
    name = scheme(url)
    fsspec = require("fsspec", "ci")
    if name == "file":
        return fsspec.filesystem("file"), local(url)
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except ImportError:
        raise Unavailable(
            f"{name}:// needs the package {SCHEMES[name]}.", "It is not installed.", f"pip install {SCHEMES[name]}"
        ) from None
    return found


def failed(url: str, error: Exception) -> Unavailable:
    """The error for a URL that cannot be read or written, such as without a network."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return Unavailable(
        f"{url} cannot be reached: {reason}", "The network, the address or the credentials are wrong.",
        "Check the address, and the credentials of this job.",
    )  # fmt: skip
