"""Code that the built-in sets share: write files by name into a folder, and replace the folder completely."""

from __future__ import annotations

import contextlib
import io
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from PIL import Image

from edgewright.core import files
from edgewright.core.errors import InvalidInput

Named = tuple[str, bytes]
"""A file: its path within the set, and its content."""


@contextlib.contextmanager
def replacing(folder: Path, names: Collection[str], what: str) -> Iterator[Path]:
    """Yield a new folder that replaces `folder` if the block ends without an error.

    Raises `InvalidInput` if `folder` contains anything except `names`. `what`: the images, as text.
    """
    folder = files.absolute(folder)
    if folder.exists() and (other := {p.name for p in folder.iterdir()} - set(names)):
        raise InvalidInput(
            f"{folder} is not empty: {min(other)} is in it.", f"The {what} would replace it.", "Name a new folder."
        )
    # Renamed when complete, like files.new_folder, but not flushed file by file: for thousands that is many seconds,
    # for what can be written again at any time.
    new = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    new.mkdir(parents=True)
    try:
        yield new
        shutil.rmtree(folder, ignore_errors=True)
        new.replace(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def write(folder: Path, named: Iterable[Named]) -> None:
    """Write files to `folder`."""
    for name, content in named:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def png(image: Image.Image, **how: int) -> bytes:
    """Return `image` as a PNG file."""
    content = io.BytesIO()
    image.save(content, "PNG", **how)
    return content.getvalue()
