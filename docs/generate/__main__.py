"""Writes the pages of docs/reference that come from the code, and the lists of pages: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

import api
import cli
import contents
import report_schema
import tables

DOCS = Path(__file__).parents[1]


def pages() -> dict[str, str]:
    """Every generated page: its path below docs/ and its text."""
    made = {
        "reference/cli.md": cli.page(),
        "reference/api.md": api.page(),
        "reference/report-schema.md": report_schema.page(),
        "reference/targets.md": tables.targets(),
        "reference/support.md": tables.support(),
        "reference/exit-codes.md": tables.exit_codes(),
    }
    return {**made, **contents.pages(DOCS, made)}


def main() -> None:
    """Write the pages that changed; with ``--check`` only print them, and end with 1 where there are any."""
    made = pages()
    changed = [name for name, text in made.items() if not _is(DOCS / name, text)]
    if "--check" in sys.argv:
        sys.exit("\n".join(f"docs/{name} is out of date: run make docs" for name in changed) or 0)
    for name in changed:
        (DOCS / name).write_text(made[name], encoding="utf-8")


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    main()
