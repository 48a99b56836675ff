"""Optional libraries: imported on use; if one is missing, the error names the extra that installs it."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from edgewright.core.errors import Unavailable


def require(module: str, extra: str) -> Any:
    """Import `module`. Raises `Unavailable`, which names the pip extra, if it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and not module.startswith(error.name):
            raise  # a dependency of the library is broken: its own error says more
        raise Unavailable(
            f"The Python package '{module.partition('.')[0]}' is not installed.",
            "This step needs it.",
            f"Install it: pip install 'edgewright[{extra}]'",
        ) from None


@functools.cache  # one stage key needs a dozen versions, and each is parsed from a file
def version(distribution: str) -> str | None:
    """The installed version of a distribution, read without importing it; None if it is not installed."""
    from importlib import metadata  # slow to import, and never needed on a device

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
