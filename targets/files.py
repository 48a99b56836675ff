"""Read files of the kernel and the system below a root, so that tests can use a recorded machine."""

from __future__ import annotations

from pathlib import Path


def text(path: Path) -> str | None:
    """Return the stripped content of `path`; None if it is missing or cannot be read now.

    A sensor whose chip is off has a file, but reading it fails (EAGAIN, EINVAL).
    """
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def number(path: Path) -> float | None:
    """Return the number in `path`; None if the file is missing, cannot be read now, or contains no number."""
    try:
        return float(text(path) or "")
    except ValueError:
        return None


def meminfo(root: Path) -> dict[str, int]:
    """Return ``/proc/meminfo`` in bytes, by the kernel's names ("MemTotal")."""
    rows = (line.split() for line in (text(root / "proc/meminfo") or "").splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) > 1 and row[1].isdigit()}
