"""Finds every example that a user can read: in README and docs, docstrings, help texts and error messages.

`texts` gives what users read, `found` the examples in it, `strays` what looks like an example and was not found, and
`problems` the blocks on pages that no test could check.

On pages a comment directly above a fence changes what happens to the block: with ``<!-- not run: REASON -->`` it is
only parsed, with ``<!-- slow -->`` it runs in the slow suite. A page of ``docs/tutorials`` is a script: its blocks run
in their order in the slow suite (test_tutorials.py), and are only parsed here.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

import edgewright
from edgewright.cli.application import VERBS

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md")
TEMPLATES = ("bench/*.j2",)
CODE = ("src/edgewright", "export", "quantize", "runtimes", "bench", "targets")
VERB = rf"(?:{'|'.join(VERBS)})\b"
SHOWN = ("text", "json", "yaml", "dockerfile", "diff", "ini", "csv", "html", "xml", "cpp", "makefile", "mermaid")
"""Languages of blocks that show something: they are no examples; JSON and YAML must be valid."""
MARK = "mark it with <!-- not run: why -->"


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
    `way`: ``run``, ``parse`` (only that), or ``slow`` (parse, and run in the slow suite).
    """

    kind: str
    source: str
    where: str
    span: tuple[int, int]
    way: str = "run"


@dataclass(frozen=True)
class Fence:
    """A fenced block: its language, where its content is, the content without margin, and the comment above it.

    `mark`: ``not run``, ``slow`` or empty. `reason`: what the comment gives as the reason.
    """

    language: str
    span: tuple[int, int]
    body: str
    mark: str
    reason: str


@dataclass(frozen=True)
class Command:
    """A command of a shell block: its words without redirections and assignments, and where it is in the text."""

    words: tuple[str, ...]
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
    """The examples in `text`."""
    fences = fenced(text)
    made = [example for fence in fences for example in _of_fence(text, fence)]
    blocks: list[Span] = [fence.span for fence in fences]
    loose = [span for span in (*_dim(text), *_indented(text)) if not _inside(span, blocks)]
    made += [example for span in loose for example in _block(text, span)]
    blocks += loose
    prose = [span for span in _spans(text) if not _inside(span, blocks)]
    made += [example for span in prose for example in _mention(text, span)]
    if text.is_code:
        taken = [example.span for example in made]
        word = r"[^\s`'\",;:()<\[\]]*[^\s`'\",;:.()<\[\]]"
        bare = (match.span() for match in re.finditer(rf"edgewright {VERB}(?: {word})*", text.body))
        made += [_example("mention", text, span) for span in bare if not _inside(span, taken)]
    return made


def fenced(text: Text) -> list[Fence]:
    """The fenced blocks of `text`, those inside lists and tabs included."""
    pattern = re.compile(
        r"(?:^ *<!-- (?P<mark>not run|slow)(?:: *(?P<reason>[^>]*?))? *-->\n\n?)?"
        r"^(?P<margin> *)(?P<fence>`{3,}) *(?P<language>[\w+-]*)[^\n`]*\n(?P<body>.*?)^(?P=margin)(?P=fence) *$",
        re.MULTILINE | re.DOTALL,
    )
    return [
        Fence(one["language"], one.span("body"), textwrap.dedent(one["body"]), one["mark"] or "", one["reason"] or "")
        for one in pattern.finditer(text.body)
    ]


def commands(text: Text, fence: Fence) -> Iterator[Command]:
    """The commands of a shell block in their order, each of a pipe or list on its own. Raises `ValueError` (quotes)."""
    begin, end = fence.span
    line, until, start = "", "", begin
    for match in re.finditer(r"[^\n]*(?:\n|\Z)", text.body[begin:end]):
        if until:
            until = "" if match[0].strip() == until else until
            continue
        start = start if line else begin + match.start()
        line += match[0]
        if line.endswith("\\\n"):
            line = line[:-2]
            continue
        try:
            words = _words(line)
        except ValueError:  # a quotation over several lines
            if begin + match.end() < end:
                continue
            raise
        if heredoc := re.search(r"<<-? *['\"]?(\w+)", line):
            until = heredoc[1]
        yield from (Command(tuple(one), (start, begin + match.end())) for one in _split(words) if one)
        line = ""


def _words(line: str) -> list[str]:
    reader = shlex.shlex(line, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    return list(reader)


def _split(words: list[str]) -> Iterator[list[str]]:
    """The commands in a line of a shell, without what surrounds them."""
    command: list[str] = []
    skip = False
    for word in [*words, ";"]:
        if word and set(word) <= set("();|&"):
            while command and re.match(r"\w+=|(?:do|then|else|if|!|time)\Z", command[0]):
                command.pop(0)
            if command:
                command[0] = re.sub(r"^\S*bin/edgewright$", "edgewright", command[0])
            yield command
            command = []
        elif word and set(word) <= set("<>&"):
            if command and command[-1] in ("1", "2"):
                command.pop()
            skip = True
        elif skip:
            skip = False
        else:
            command.append(word)


def problems(text: Text) -> list[str]:
    """What no test could check in the fenced blocks of a page, one clear line each."""
    wrong = []
    fences = fenced(text)
    marks = len(re.findall(r"^ *<!-- ?(?:not run|slow)\b", text.body, re.MULTILINE))
    if marks != sum(bool(fence.mark) for fence in fences):
        wrong.append(f"{text.file}: a comment `not run: why` or `slow` must be directly above a fence")
    for fence in fences:
        at = text.at(fence.span[0])
        if not fence.body.strip():
            wrong.append(f"{at}: the block is empty")
        if fence.mark == "not run" and not fence.reason:
            wrong.append(f"{at}: say why: <!-- not run: why -->")
        if fence.language == "bash":
            wrong += [f"{at}: {one}" for one in _shell_problems(text, fence)]
        elif fence.language in ("json", "yaml") and not fence.mark:
            try:
                (json.loads if fence.language == "json" else yaml.safe_load)(fence.body)
            except (ValueError, yaml.YAMLError) as error:
                wrong.append(f"{at}: no valid {fence.language}: {' '.join(str(error).split())}; correct it, or {MARK}")
        elif fence.language not in ("python", "toml", *SHOWN):
            wrong.append(f"{at}: no block is in '{fence.language}': take bash, python, toml or {', '.join(SHOWN)}")
    return wrong


def _shell_problems(text: Text, fence: Fence) -> Iterator[str]:
    try:
        every = list(commands(text, fence))
    except ValueError as error:
        yield f"no valid shell: {error}"
        return
    if re.search(r"^\$ ", fence.body, re.MULTILINE):
        yield "a prompt: write commands without it, and their output in a ```text fence below"
        return
    if fence.mark or _is_script(text):
        return
    for words in (command.words for command in every if command.words[0] != "edgewright"):
        if why := unknown(words):
            yield f"`{shlex.join(words)}`: {why}; {MARK}"


def unknown(words: tuple[str, ...]) -> str:
    """Why a command that is not ours is unknown here; empty where it is right: make, pip install, an environment."""
    line = " ".join(words)
    if words[0] == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        named = {word for word in words[1:] if "=" not in word}
        return "" if named <= targets else f"the Makefile has no target {' '.join(sorted(named - targets))}"
    if install := re.match(r"(?:(?:\S*python3? -m |uv |\S*/)?pip3?) install (.*)", line):
        project = (ROOT / "pyproject.toml").read_text()
        for name, extras in re.findall(r"(?<!\S)(\.|[A-Za-z][\w-]*)(?:\[([\w,-]+)\])?", install[1]):
            if name in (".", "edgewright"):
                missing = [e for e in extras.split(",") if e and not re.search(rf"^{e} = \[", project, re.MULTILINE)]
                if missing:
                    return f"pyproject.toml has no extra {missing[0]}"
            elif f'"{name}' not in project:
                return f"{name} is no dependency in pyproject.toml"
        return ""
    known = r"(?:python3? -m venv|uv venv) \S+|(?:\.|source) \S+/bin/activate|git clone \S+|cd [\w-]+|echo .*"
    return "" if re.fullmatch(known, line) else "only edgewright, make and pip install run here"


def _is_script(text: Text) -> bool:
    return text.file.startswith("docs/tutorials/") and not text.file.endswith("index.md")


def strays(text: Text) -> list[str]:
    """Places in `text` that look like an example and belong to none that was found.

    The front matter of a page, headings, the texts of links and pictures, and the lists of pages may name a verb.
    """
    spans = [example.span for example in examples(text)]
    spans += [fence.span for fence in fenced(text) if fence.language in ("bash", *SHOWN)]
    if not text.is_code:
        names = r"\A---\n.*?\n---\n|^#+ [^\n]*|\[[^\]]*\]\(|<img\b[^>]*>"
        names += r"|^[^\n]*\]\([\w-]+\.md\)[^\n]*" if re.fullmatch(r"docs/.*/index\.md", text.file) else ""
        spans += [match.span() for match in re.finditer(names, text.body, re.MULTILINE | re.DOTALL)]
    public = "|".join(edgewright.__all__)
    looks = rf"edgewright\s+(?:{VERB}|--?\w)|import edgewright\b|from edgewright\S* import|edgewright\.(?:{public})\("
    return [
        f"{text.at(match.start())}: {match.group()!r}"
        for match in re.finditer(looks, text.body)
        if not _inside(match.span(), spans)
    ]


def options() -> list[tuple[str, str]]:
    """Every option that a sentence or a block names, with its place, but those in command lines of other programs.

    Blocks of pages are left out: their commands are parsed, and the rest of them is of other programs.
    """
    programs = r"pip|uv|pytest|docker|nvidia-smi|python -m|ssh|scp|rsync|trtexec|yolo|git|make|apt|apt-get|sudo|curl"
    other = re.compile(rf"\b(?:{programs})\b(?:(?!`|\n\n).)*\Z", re.DOTALL)
    blocks = {id(text): [fence.span for fence in fenced(text) if fence.language] for text in texts()}
    return [
        (match.group(), text.at(match.start()))
        for text in texts()
        if not (text.is_code and text.body.startswith("-"))  # an argument that the code hands to a program
        if not text.file.endswith(".j2")  # styles have names of this form
        for match in re.finditer(r"(?<![\w-])--[a-z][a-z0-9-]+", text.body)
        if not _inside(match.span(), blocks[id(text)])
        if not other.search(text.body[: match.start()].rpartition("\n\n")[2])
    ]


def sources() -> list[tuple[str, str]]:
    """Every source of a library that is named, with its place."""
    return _all(r"\b(?:timm|torchvision|ultralytics):[a-z][\w./]*\w(?:\?[\w=&,\[\].-]*\w)?")


def modules() -> list[tuple[str, str]]:
    """Every module of ours that a ``python -m`` runs, with its place."""
    return [(name.removeprefix("python -m "), where) for name, where in _all(r"python -m edgewright[\w.]*")]


def _all(pattern: str) -> list[tuple[str, str]]:
    """Matches outside of the tags of pictures, whose text is HTML."""
    bodies = ((text, re.sub(r"<img\b[^>\n]*>", lambda tag: " " * len(tag[0]), text.body)) for text in texts())
    every = ((text, match) for text, body in bodies for match in re.finditer(pattern, body))
    return [(match.group(), text.at(match.start())) for text, match in every]


Span = tuple[int, int]


def _inside(span: Span, blocks: list[Span]) -> bool:
    return any(begin <= span[0] and span[1] <= end for begin, end in blocks)


def _example(kind: str, text: Text, span: Span, source: str | None = None, way: str = "run") -> Example:
    source = text.body[slice(*span)] if source is None else source
    source = " ".join(source.split()) if kind in ("command", "mention") else source
    return Example(kind, source, text.at(span[0]), span, way)


def _of_fence(text: Text, fence: Fence) -> list[Example]:
    way = "parse" if fence.mark == "not run" or _is_script(text) else fence.mark or "run"
    if fence.language in ("python", "toml"):
        return [_example(fence.language, text, fence.span, fence.body, way)]
    if fence.language == "bash":
        try:
            every = list(commands(text, fence))
        except ValueError:  # `problems` has it
            return []
        ours = (one for one in every if one.words[0] == "edgewright")
        return [_example("command", text, one.span, shlex.join(one.words), way) for one in ours]
    return [] if fence.language else _block(text, fence.span)


def _dim(text: Text) -> list[Span]:
    """The examples below a command's help."""
    return [match.span(1) for match in re.finditer(r"\[dim\](edgewright .*?)\[/\]", text.body, re.DOTALL)]


def _indented(text: Text) -> list[Span]:
    """Blocks of lines four columns deeper than the text, behind an empty line."""
    margin = min((len(line) - len(line.lstrip()) for line in text.body.splitlines()[1:] if line.strip()), default=0)
    deep = rf"(?: {{{margin + 4},}}\S[^\n]*(?:\n|\Z)|[ ]*\n(?= {{{margin + 4}}}))+"
    pattern = re.compile(rf"(?<=\n)[ ]*\n({deep})")
    return [match.span(1) for match in pattern.finditer(text.body)]


def _block(text: Text, span: Span) -> list[Example]:
    """The examples of an indented block, or of one that names no language."""
    body = text.body[slice(*span)]
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
