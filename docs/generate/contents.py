"""The first page of each folder: what is in it, from the title and the description of each page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import text
import yaml

FOLDERS = {
    "tutorials": ("Tutorials", "Lessons from installation to a measured bundle. Each names the files that it needs."),
    "how-to": ("How-to guides", "Steps for one goal: a device, a CI job, your own data, a loss of accuracy."),
    "reference": ("Reference", "Every command, option, field, exit code and Python name."),
    "explanation": ("Explanation", "How edgewright measures, quantizes and chooses, and why."),
    "benchmarks": ("Benchmarks", "Measured figures, each with the command, the date and the machine."),
}


def pages(docs: Path, made: Mapping[str, str]) -> dict[str, str]:
    """The first page of each folder. `made`: the generated pages, which need not be written yet."""
    return {f"{name}/index.md": _page(docs, made, name) for name in FOLDERS}


def _page(docs: Path, made: Mapping[str, str], folder: str) -> str:
    title, about = FOLDERS[folder]
    texts = {path.name: path.read_text(encoding="utf-8") for path in (docs / folder).glob("*.md")}
    texts |= {Path(name).name: text for name, text in made.items() if name.startswith(f"{folder}/")}
    texts.pop("index.md", None)
    parts = [about]
    for section, names in _sections(
        docs / folder / ".nav.yml", sorted(texts, key=lambda name: text.title(texts[name]))
    ):
        rows = [(f"[{text.title(texts[name])}]({name})", _description(texts[name])) for name in names if name in texts]
        parts += [f"## {section}" if section else "", text.table(("Page", "What it answers"), rows) if rows else ""]
    return text.page(title, about, *parts, searched=False)


def _sections(navigation: Path, names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The titles of the sections of a folder, each with its pages: as the navigation orders them, the others last."""
    rest, loose = list(names), []
    entries: list[Any] = yaml.safe_load(navigation.read_text(encoding="utf-8"))["nav"] if navigation.exists() else []
    for entry in entries:
        found = next(iter(entry.values())) if isinstance(entry, dict) else entry
        files = [_file(one) for one in found] if isinstance(found, list) else [found]
        rest = [name for name in rest if name not in files]
        if isinstance(found, list):
            yield next(iter(entry)), files
        elif found in names:
            loose.append(found)
    if loose or rest:
        yield "" if len(loose) + len(rest) == len(names) else "More", [*loose, *rest]


def _file(entry: Any) -> str:
    return str(next(iter(entry.values())) if isinstance(entry, dict) else entry)


def _description(body: str) -> str:
    match = re.match(r"---\n(?:.*\n)*?description: *(.+)\n(?:.*\n)*?---\n", body)
    return match[1].strip("\"' ") if match else ""
