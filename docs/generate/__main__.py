"""Writes the pages of docs/reference that come from the code, and the lists of pages: `make docs`."""

from __future__ import annotations

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
    """Write the pages that changed."""
    for name, text in pages().items():
        path = DOCS / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
