"""Pages, help texts, messages and docstrings are in plain technical English: the rules of `.vale/styles` without Vale.

The rules are in Vale's format. `Rule` reads the part of it that they use: ``existence`` and ``substitution``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import example_finder as finder
import pytest
import typer
import yaml

from edgewright.cli.application import application

STYLE = finder.ROOT / ".vale/styles/Edgewright"


@dataclass(frozen=True)
class Rule:
    """One pattern and what the writer reads where it is found."""

    pattern: re.Pattern[str]
    advice: str


def rules_of(style: dict[str, Any]) -> list[Rule]:
    """The rules of one of Vale's files; none for the kinds that are not read here."""
    flags = re.IGNORECASE if style.get("ignorecase") else 0
    form = "{}" if style.get("nonword") else r"\b(?:{})\b"
    if style["extends"] == "substitution":
        pairs = {key: f"write {value.replace('|', ' or ')}" for key, value in style["swap"].items()}
    elif style["extends"] == "existence":
        advice = style["message"].partition(": '")[0].replace("%%", "%")
        if raw := "".join(style.get("raw", ())):
            form, pairs = "{}", {raw: advice}
        else:
            pairs = dict.fromkeys(style["tokens"], advice)
    else:
        return []
    return [Rule(re.compile(form.format(key).replace(" ", r"[ \n]"), flags), advice) for key, advice in pairs.items()]


@cache
def rules() -> tuple[Rule, ...]:
    """The rules of all files."""
    files = sorted(STYLE.glob("*.yml"))
    return tuple(rule for path in files for rule in rules_of(yaml.safe_load(path.read_text(encoding="utf-8"))))


NO_PROSE = re.compile(
    r"^ *```.*?^ *```|\{% set \w+ %\}.*?\{% endset %\}"  # blocks, JavaScript
    r"|<!--.*?-->|<(?:style|script)\b.*?</(?:style|script)>|</?\w[^>]*>|\{[{%#].*?[}%#]\}"  # HTML and templates
    r"|(`+)(?!`).+?(?<!`)\1(?!`)|\]\([^)\s]*\)|https?://\S+",  # code, links
    re.MULTILINE | re.DOTALL,
)


def paragraphs(text: finder.Text) -> Iterator[tuple[int, str]]:
    """The prose of `text`: each paragraph, heading, item and row without its margin, and the line where it begins."""
    kept = NO_PROSE.sub(lambda match: "`" + "\n" * match[0].count("\n"), text.body)
    begin, lines = text.line, list[str]()
    for number, line in enumerate([*kept.split("\n"), ""], text.line):
        line = line.strip()
        if lines and (not line or re.match(r"#+ |[-*|] ?|\d+\. |!!! |=== ", line)):
            yield begin, "\n".join(lines)
            lines = []
        if line:
            begin = begin if lines else number
            lines.append(line if lines else re.sub(r"^(?:#+|[-*|]|\d+\.|!!! \w+) *", "", line))


def objections(text: finder.Text) -> list[str]:
    """What the rules say about `text`, a line each."""
    return [
        f"{text.file}:{line + prose.count(chr(10), 0, match.start())}: '{' '.join(match[0].split())}': {rule.advice}"
        for line, prose in paragraphs(text)
        for rule in rules()
        for match in rule.pattern.finditer(prose)
    ]


def help_texts() -> Iterator[finder.Text]:
    """The help of every command and of its options."""
    commands: list[tuple[str, Any]] = [("edgewright", typer.main.get_command(application()))]
    while commands:
        name, command = commands.pop()
        said = [command.help or "", *(getattr(option, "help", None) or "" for option in command.params)]
        yield finder.Text(f"{name} --help", 1, "\n\n".join(said), is_code=True)
        commands += [(f"{name} {verb}", one) for verb, one in getattr(command, "commands", {}).items()]


def written() -> Iterator[finder.Text]:
    """All that people read; of strings in the code those with a space, in which there is a sentence."""
    yield from (text for text in finder.texts() if " " in text.body.strip() or not text.is_code)
    yield from help_texts()


def test_texts_are_in_plain_english() -> None:
    found = [line for text in written() for line in objections(text)]
    assert not found, "\n".join(dict.fromkeys(found))


@pytest.mark.parametrize(
    "text, found",
    [
        ("The note is told in the report.", ["'told': write reported or printed"]),
        ("edgewright hands\nback a bundle.", ["'hands back': write return"]),
        ("- A list.\n- Grey colours, at\n  hand.", ["'Grey'", "'colours'", "'at hand'"]),
        ("It lies in `out/`. It needs a whole number.", ["'lies in'"]),
        ("With 95 % confidence.", ["'5 %'"]),
        ("Text. What is not read is\ncounted.", ["'What is not read is counted.'"]),
        ("What is INT8?\n\nWhat you need\n\nThat command prints a line.", []),
        ("`in words`, [told](lessons.md) <!-- anew -->\n\n```text\nanew\n```", ["'told'"]),
        ("`x` is a scalar; the whole graph lets through.", ["'lets'"]),
        ("How long it takes for the first image. 10 %d.", []),
    ],
)
def test_rules_find_what_they_name(text: str, found: list[str]) -> None:
    lines = objections(finder.Text("page.md", 1, text, is_code=False))
    assert len(lines) == len(found)
    assert all(any(part in line for line in lines) for part in found)


def test_a_line_is_that_of_the_word() -> None:
    text = finder.Text("page.md", 1, "---\ndescription: x\n---\n\n```bash\nls\n```\n\nOne\nline anew.", is_code=False)
    assert objections(text) == ["page.md:10: 'anew': write again"]


def test_vale_agrees() -> None:
    """The program itself, where it is installed; pip installs a package of this name that downloads the program."""
    vale = shutil.which("vale")
    if vale is None or Path(vale).read_bytes()[:2] == b"#!":
        pytest.skip("Vale is not installed")
    pages = [text.file for text in finder.texts() if text.file.endswith(".md")]
    ended = subprocess.run([vale, "--output=line", *pages], cwd=finder.ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
