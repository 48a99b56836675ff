"""The first page of each folder: what is in it, from the title and the description of each page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from text import page, table

FOLDERS = {
    "tutorials": ("Tutorials", "Lessons from installation to a measured bundle. Each names the files that it needs."),
    "how-to": ("How-to guides", "Steps for one task: a device, a CI job, your own data, a lost point of accuracy."),
    "reference": ("Reference", "Every command, option, field, exit code and Python name."),
    "explanation": ("Explanation", "How edgewright measures, quantizes and chooses, and why."),
    "benchmarks": ("Benchmarks", "Measured figures, each with the command, the date and the machine."),
}  # fmt: skip


def pages(docs: Path, made: Mapping[str, str]) -> dict[str, str]:
    """The first page of each folder. `made`: the generated pages, which need not be written yet."""
    return {f"{name}/index.md": _page(docs, made, name) for name in FOLDERS}


def _page(docs: Path, made: Mapping[str, str], folder: str) -> str:
    title, about = FOLDERS[folder]
    texts = {path.name: path.read_text(encoding="utf-8") for path in (docs / folder).glob("*.md")}
    texts |= {Path(name).name: text for name, text in made.items() if name.startswith(f"{folder}/")}
    texts.pop("index.md", None)
    found = sorted((_title(text), name, _description(text)) for name, text in texts.items())
    rows = [(f"[{heading}]({name})", description) for heading, name, description in found]
    return page(title, about, about, table(("Page", "What it answers"), rows) if rows else "", searched=False)


def _title(text: str) -> str:
    match = re.search(r"^# (.+)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


def _description(text: str) -> str:
    match = re.match(r"---\n(?:.*\n)*?description: *(.+)\n(?:.*\n)*?---\n", text)
    return match[1].strip("\"' ") if match else ""
