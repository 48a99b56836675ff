"""The help of a command: usage, text, options by group, examples. It is wrapped to the terminal's width.

A command's docstring is its text. Paragraphs are reflowed; an indented paragraph holds examples, one a line, and a long
example is printed on several lines that end with a backslash, so that it can be copied.
"""

from __future__ import annotations

import enum
import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from rich.text import Text

WIDEST = 100
"""Columns that a help text uses at most: longer lines are hard to read."""
NARROWEST = 24
"""Columns that it uses at least."""
NAMES, NARROW = 26, 56
"""Columns for the names of options; with fewer columns than `NARROW` their help is on the lines below."""
OTHER = "Other options"


class Command(TyperCommand):
    """A command with this help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help on standard output."""
        _print(self, ctx)


class Group(TyperGroup):
    """A command that has commands, with this help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help on standard output."""
        _print(self, ctx)


def _print(command: Any, ctx: Any) -> None:
    from edgewright.cli import console

    screen = console.Screen()
    for line in page(command, ctx, max(NARROWEST, min(screen.width, WIDEST))):
        screen.print(line, soft_wrap=True)


def page(command: Any, ctx: Any, width: int) -> Iterator[Text]:
    """The lines of the help of `command`, none wider than `width` columns."""
    paragraphs, examples = parts(command)
    usage = f"{ctx.command_path} {_usage(command)}".rstrip()
    for number, line in enumerate(textwrap.wrap(usage, width - 7, break_on_hyphens=False, subsequent_indent="    ")):
        yield _text(("bold", "Usage: ") if number == 0 else ("", "       "), line)
    for paragraph in paragraphs:
        yield _text("")
        yield from map(_text, _wrapped(paragraph, width))
    for title, rows in _groups(command, ctx):
        yield _text("")
        yield _text(("bold cyan", title))
        yield from _rows(rows, width)
    if examples:
        yield _text("")
        yield _text(("bold cyan", "Examples" if len(examples) > 1 else "Example"))
        for example in examples:
            yield from map(_text, _example(example, width))
    if command.epilog:
        yield _text("")
        yield from map(_text, _wrapped(command.epilog, width))


def parts(command: Any) -> tuple[list[str], list[str]]:
    """(the paragraphs of a command's docstring, its examples), each on one line."""
    every = re.split(r"\n\s*\n", inspect.cleandoc(command.help or "").partition("\f")[0])
    texts = [" ".join(part.split()) for part in every if part.strip() and not part.startswith(" ")]
    return texts, [line.strip() for part in every if part.startswith(" ") for line in part.splitlines()]


def _usage(command: Any) -> str:
    required = [f"{_longest(p)} {_value(p)}" for p in command.params if _is_option(p) and p.required]
    arguments = [_metavar(p) if p.required else f"[{_metavar(p)}]" for p in command.params if not _is_option(p)]
    commands = ["COMMAND"] if hasattr(command, "commands") else []
    return " ".join([*arguments, *required, "[OPTIONS]", *commands])


def _groups(command: Any, ctx: Any) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(title, rows of names and help) of arguments, options and commands, in the order in which they are declared."""
    found: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        if not parameter.hidden:
            title = getattr(parameter, "rich_help_panel", None) or OTHER
            found.setdefault(title, []).append((_names(parameter), _help(parameter)))
    for name, one in getattr(command, "commands", {}).items():
        title = getattr(one, "rich_help_panel", None) or "Commands"
        found.setdefault(title, []).append((name, parts(one)[0][0]))
    last = found.pop(OTHER, [])
    yield from found.items()
    if last:
        yield OTHER, last


def _names(parameter: Any) -> str:
    if not _is_option(parameter):
        return _metavar(parameter)
    names = sorted([*parameter.opts, *parameter.secondary_opts], key=len)
    return " ".join([", ".join(names), *([] if parameter.is_flag else [_value(parameter)])])


def _help(parameter: Any) -> str:
    text = " ".join((parameter.help or "").split())
    if parameter.required and _is_option(parameter):
        return f"{text} [required]"
    value = parameter.default
    value = value.value if isinstance(value, enum.Enum) else value
    if value is None or value is False or value == "" or callable(value) or getattr(parameter, "is_flag", False):
        return text
    return f"{text} [default:\N{NO-BREAK SPACE}{value}]"


def _value(parameter: Any) -> str:
    """What stands for an option's value: its metavar, else the values that are allowed."""
    kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    if parameter.metavar is None and isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "|".join(str(member.value) for member in kind)
    choices = getattr(getattr(parameter, "type", None), "choices", None)  # before typer 0.20
    return str(parameter.metavar or ("|".join(map(str, choices)) if choices else "TEXT"))


def _metavar(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name.upper())
    return f"{name}..." if parameter.nargs == -1 else name


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def _longest(option: Any) -> str:
    return str(max(option.opts, key=len))


def _rows(rows: Sequence[tuple[str, str]], width: int) -> Iterator[Text]:
    """Names and their help: side by side, or the help below a name that has no room."""
    indent = min(max(len(name) for name, _ in rows), NAMES) + 4 if width >= NARROW else 6
    for name, help_text in rows:
        lines = _wrapped(help_text, width - indent) or [""]
        if width >= NARROW and len(name) + 4 <= indent:
            yield _text("  ", ("bold", name), " " * (indent - len(name) - 2), lines.pop(0))
        else:
            yield _text("  ", ("bold", name))
        yield from (_text(" " * indent, line) for line in lines)


def _example(example: str, width: int) -> Iterator[str]:
    """An example within `width` columns, on several lines where it is longer; a comment behind it goes above it."""
    command, _, comment = example.partition("  # ")
    if comment:
        yield from (f"  # {line}" for line in _wrapped(comment.strip(), width - 4))
    words = re.findall(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+""", command)
    line, more = f"  {words[0]}", words[1:]
    while more:
        is_pair = more[0].startswith("-") and len(more) > 1 and not more[1].startswith("-")
        count = 2 if is_pair and len(" ".join(more[:2])) + 8 <= width else 1
        piece = " ".join(more[:count])
        del more[:count]
        if len(line) + 1 + len(piece) + (2 if more else 0) > width and line.strip() != "edgewright":
            yield f"{line} \\"
            line = f"      {piece}"
        else:
            line = f"{line} {piece}"
    yield line


def _wrapped(text: str, width: int) -> list[str]:
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _text(*parts: str | tuple[str, str]) -> Text:
    from edgewright.cli.console import line

    return line(*parts)
