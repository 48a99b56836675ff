"""Optional libraries: imported where they are used, missed with the name of the extra that brings them."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from edgewright.core.errors import Unavailable


def require(module: str, extra: str) -> Any:
    """Import `module`; raise `Unavailable` that names the pip extra which installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and not module.startswith(error.name):
            raise  # something that the library itself needs is broken: its own error says more
        raise Unavailable(
            f"The Python package '{module.partition('.')[0]}' is not installed.",
            "This step needs it.",
            f"Install it: pip install 'edgewright[{extra}]'",
        ) from None


@functools.cache  # a key of a stage asks for a dozen, and each is parsed from its file
def version(distribution: str) -> str | None:
    """The installed version of a distribution, read without importing it; None where it is not installed."""
    from importlib import metadata  # slow to import, and on a device nothing asks for it

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
