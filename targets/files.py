"""Files of the kernel and the system, read below a root so that a recorded machine can stand in for this one."""

from __future__ import annotations

from pathlib import Path


def text(path: Path) -> str | None:
    """The content of `path`, stripped of blanks at its ends; None where it is missing or cannot be read now.

    A sensor whose chip is switched off fails to be read (EAGAIN, EINVAL) though its file is there.
    """
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def number(path: Path) -> float | None:
    """The number in `path`; None where it is missing, cannot be read now, or holds no number."""
    try:
        return float(text(path) or "")
    except ValueError:
        return None


def meminfo(root: Path) -> dict[str, int]:
    """``/proc/meminfo`` in bytes, by the kernel's names ("MemTotal")."""
    rows = (line.split() for line in (text(root / "proc/meminfo") or "").splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) > 1 and row[1].isdigit()}
