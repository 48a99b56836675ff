"""Markdown of the generated pages: front matter, tables, docstrings."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

DOCS = Path(__file__).parents[1]
NOTE = "<!-- Generated: `make docs` writes this page. -->"


def page(title: str, description: str, *parts: str, searched: bool = True) -> str:
    """A whole page. `searched`: the site's search finds it."""
    front = f"description: {json.dumps(description)}" + ("" if searched else "\nsearch:\n  exclude: true")
    head = f"---\n{front}\n---\n\n{NOTE}\n\n# {title}"
    return "\n\n".join([head, *(_linked(part.strip("\n")) for part in parts if part.strip())]) + "\n"


def _linked(part: str) -> str:
    """Text with links for the pages that it names as ``docs/FOLDER/PAGE.md``."""
    if "```" in part:
        return part
    named = r"(?<![\w`/(])\(?docs/([\w-]+)/([\w-]+)\.md\)?"

    def link(match: re.Match[str]) -> str:
        file = f"{match[1]}/{match[2]}.md"
        if not (DOCS / file).is_file():
            return match[0]
        name = f"[{title((DOCS / file).read_text(encoding='utf-8'))}](../{file})"
        return f"({name})" if match[0].endswith(")") else name

    return re.sub(named, link, part)


def title(page_text: str) -> str:
    """The heading of a page."""
    match = re.search(r"^# (.+)$", page_text, re.MULTILINE)
    return match[1].strip() if match else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; columns without any text are left out."""
    rows = [[cell(value) for value in row] for row in rows]
    used = [number for number in range(len(heads)) if any(row[number] for row in rows)]
    lines = [[heads[number] for number in used], ["---"] * len(used)]
    lines += [[row[number] for number in used] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: str) -> str:
    """Text for a cell: one line, with a bar that does not end the cell."""
    return " ".join(value.split()).replace("|", "\\|")


def code(value: str) -> str:
    """As code; empty for nothing."""
    return f"`{value}`" if value else ""


def fence(language: str, body: str, not_run: str = "") -> str:
    """A block of code. `not_run`: why the tests of the documentation do not run it."""
    mark = f"<!-- not run: {not_run} -->\n" if not_run else ""
    return f"{mark}```{language}\n{body.rstrip()}\n```"


def docstring(value: object) -> str:
    """The docstring as Markdown: `::` before an indented block becomes a Python block."""
    lines = inspect.cleandoc(inspect.getdoc(value) or "").split("\n")
    body = re.sub(r"``([^`]+)``", r"`\1`", "\n".join(lines))

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}:\n\n{fence('python', inspect.cleandoc(match[2]))}\n"

    return re.sub(r"([^\n:]*)::\n\n((?: {4}[^\n]*\n|\n)+(?: {4}[^\n]*)?)", block, body + "\n").strip()


def first_sentence(value: object) -> str:
    """The first sentence of a docstring."""
    first = docstring(value).split("\n\n")[0]
    return re.split(r"(?<=[.!?])\s", " ".join(first.split()))[0]
