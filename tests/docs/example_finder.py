"""Finds every example that a user can read: in README and docs, docstrings, help texts and error messages.

`texts` gives what users read, `found` the examples in it, `strays` what looks like an example and was not found.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import edgewright
from edgewright.cli.application import VERBS

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md")
TEMPLATES = ("bench/*.j2",)
CODE = ("src/edgewright", "export", "quantize", "runtimes", "bench", "targets")
VERB = rf"(?:{'|'.join(VERBS)})\b"


@dataclass(frozen=True)
class Text:
    """A page, or a string in the code (`is_code`; `{...}` stands for what an f-string puts in), and where it begins.

    In the latter a command need not stand between backquotes.
    """

    file: str
    line: int
    body: str
    is_code: bool

    def at(self, offset: int) -> str:
        """Where that is, for messages."""
        return f"{self.file}:{self.line + self.body.count(chr(10), 0, offset)}"


@dataclass(frozen=True)
class Example:
    """One example and where it stands in its text.

    `kind`: ``command`` (a line of its own, complete), ``mention`` (a command or a part of one inside a sentence or
    shortened), ``python`` (a block), ``call`` (a Python call inside a sentence), ``toml`` (a block), ``budget``.
    """

    kind: str
    source: str
    where: str
    span: tuple[int, int]


@cache
def texts() -> tuple[Text, ...]:
    """All that users read."""
    pages = (path for pattern in PAGES for path in sorted(ROOT.glob(pattern)))
    found = [Text(str(p.relative_to(ROOT)), 1, p.read_text(encoding="utf-8"), False) for p in pages]
    templates = (path for pattern in TEMPLATES for path in sorted(ROOT.glob(pattern)))
    found += [Text(str(p.relative_to(ROOT)), 1, p.read_text(encoding="utf-8"), True) for p in templates]
    for path in (path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py"))):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [Text(str(path.relative_to(ROOT)), line, body, True) for line, body in _strings(tree)]
    return tuple(found)


def _strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(v.value if isinstance(v, ast.Constant) else "{...}" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        else:
            yield from _strings(node)


@cache
def found() -> tuple[Example, ...]:
    """The examples of all texts, in their order."""
    return tuple(example for text in texts() for example in examples(text))


def examples(text: Text) -> list[Example]:
    """The examples in `text`. Raises `ValueError` for a fenced block in a language that is not known here."""
    blocks = [*_fenced(text), *_dim(text)]
    blocks += [block for block in _indented(text) if not _inside(block[1], blocks)]
    made = [example for language, span in blocks for example in _block(text, language, span)]
    prose = [span for span in _spans(text) if not _inside(span, blocks)]
    made += [example for span in prose for example in _mention(text, span)]
    if text.is_code:
        taken: list[Block] = [(None, example.span) for example in made]
        word = r"[^\s`'\",;:()<\[\]]*[^\s`'\",;:.()<\[\]]"
        bare = (match.span() for match in re.finditer(rf"edgewright {VERB}(?: {word})*", text.body))
        made += [_example("mention", text, span) for span in bare if not _inside(span, taken)]
    return made


def strays(text: Text) -> list[str]:
    """Places in `text` that look like an example and belong to none that was found."""
    spans: list[Block] = [(None, example.span) for example in examples(text)]
    public = "|".join(edgewright.__all__)
    looks = rf"edgewright\s+(?:{VERB}|--?\w)|import edgewright\b|from edgewright\S* import|edgewright\.(?:{public})\("
    return [
        f"{text.at(match.start())}: {match.group()!r}"
        for match in re.finditer(looks, text.body)
        if not _inside(match.span(), spans)
    ]


def options() -> list[tuple[str, str]]:
    """Every option that a sentence or a block names, with its place, but those in command lines of other programs."""
    other = re.compile(r"\b(?:pip|uv|pytest|docker|nvidia-smi|python -m)\b(?:(?!`|\n\n).)*\Z", re.DOTALL)
    return [
        (match.group(), text.at(match.start()))
        for text in texts()
        if not (text.is_code and text.body.startswith("-"))  # an argument that the code hands to a program
        if not text.file.endswith(".j2")  # styles have names of this form
        for match in re.finditer(r"(?<![\w-])--[a-z][a-z0-9-]+", text.body)
        if not other.search(text.body[: match.start()].rpartition("\n\n")[2])
    ]


def sources() -> list[tuple[str, str]]:
    """Every source of a library that is named, with its place."""
    return _all(r"\b(?:timm|torchvision|ultralytics):[a-z][\w./]*\w(?:\?[\w=&,\[\].-]*\w)?")


def modules() -> list[tuple[str, str]]:
    """Every module of ours that a ``python -m`` runs, with its place."""
    return [(name.removeprefix("python -m "), where) for name, where in _all(r"python -m edgewright[\w.]*")]


def _all(pattern: str) -> list[tuple[str, str]]:
    every = ((text, match) for text in texts() for match in re.finditer(pattern, text.body))
    return [(match.group(), text.at(match.start())) for text, match in every]


Span = tuple[int, int]
Block = tuple[str | None, Span]


def _inside(span: Span, blocks: list[Block]) -> bool:
    return any(begin <= span[0] and span[1] <= end for _, (begin, end) in blocks)


def _example(kind: str, text: Text, span: Span, source: str | None = None) -> Example:
    source = text.body[slice(*span)] if source is None else source
    return Example(kind, " ".join(source.split()) if kind in ("command", "mention") else source, text.at(span[0]), span)


def _fenced(text: Text) -> list[Block]:
    pattern = re.compile(r"^(<!-- not run: .*-->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [("text" if match[1] else match[2], match.span(3)) for match in pattern.finditer(text.body)]


def _dim(text: Text) -> list[Block]:
    """The examples below a command's help."""
    return [("", match.span(1)) for match in re.finditer(r"\[dim\](edgewright .*?)\[/\]", text.body, re.DOTALL)]


def _indented(text: Text) -> list[Block]:
    """Blocks of lines four columns deeper than the text, behind an empty line."""
    margin = min((len(line) - len(line.lstrip()) for line in text.body.splitlines()[1:] if line.strip()), default=0)
    deep = rf"(?: {{{margin + 4},}}\S[^\n]*(?:\n|\Z)|[ ]*\n(?= {{{margin + 4}}}))+"
    pattern = re.compile(rf"(?<=\n)[ ]*\n({deep})")
    return [(None, match.span(1)) for match in pattern.finditer(text.body)]


def _block(text: Text, language: str | None, span: Span) -> list[Example]:
    body = text.body[slice(*span)]
    if language in ("python", "toml"):
        return [_example(language, text, span)]
    if language in ("text", "json", "yaml"):
        return []
    if language not in (None, "", "bash"):
        raise ValueError(f"{text.at(span[0])}: nobody knows what to do with a block of '{language}'")
    if "import edgewright" in body or re.search(r"^\s*\w+ = edgewright\.", body, re.MULTILINE):
        return [_example("python", text, span, textwrap.dedent(body))]
    lines = re.compile(rf"^[ ]*(?:\$ )?(edgewright |(?={VERB} .*--))((?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)
    made = []
    for match in lines.finditer(body):
        source = match[0].replace("\\\n", " ").strip().removeprefix("$ ")
        whole = source.startswith("edgewright ")
        if not whole:  # shortened, with what came of it in a column of its own
            source = re.split(r" {2,}", source)[0]
        place = (span[0] + match.start(), span[0] + match.end())
        made.append(_example("command" if whole else "mention", text, place, source))
    return made


def _spans(text: Text) -> list[Span]:
    """What stands between backquotes, over at most one line break."""
    return [match.span(1) for match in re.finditer(r"(?<!`)`{1,2}([^`\n]+(?:\n[^`\n]+)?)`{1,2}(?!`)", text.body)]


def _mention(text: Text, span: Span) -> list[Example]:
    source = " ".join(text.body[slice(*span)].split())
    if re.match("edgewright [a-z-]", source) or re.match(rf"{VERB} (?:.* )?--", source):
        return [_example("mention", text, span)]
    if re.match(r"edgewright\.\w+\(|import edgewright$", source):
        return [_example("call", text, span, source)]
    if re.match(r"(?:top1|top5|map|agreement|confidence|sqnr|p\d\d) [<>]=", source):
        return [_example("budget", text, span, source)]
    return []
