"""docs/reference/cli.md: every command with its options, from the commands themselves."""

from __future__ import annotations

import enum
import inspect
import re
from pathlib import Path
from typing import Any

import text
import typer

from edgewright.cli.application import PANELS, application

TYPES = {Path: "path", str: "text", int: "integer", float: "number", bool: "flag"}
INTRODUCTION = """
Every command prints its help with `--help`. You can write options in any order. Commands print results on standard
output, and progress and errors on standard error. [Exit codes](exit-codes.md) lists the exit codes.
"""


def page() -> str:
    """The whole page."""
    program: Any = typer.main.get_command(application())
    parts = [INTRODUCTION, _overview(program), "## Options of every command", _options(program.params)]
    for panel, verbs in PANELS.items():
        for verb in verbs:
            parts += _command(program.commands[verb], f"edgewright {verb}", panel)
    return text.page("Command line", "Every edgewright command with its options, defaults and examples.", *parts)


def _overview(program: Any) -> str:
    parts = []
    for panel, verbs in PANELS.items():
        rows = [(f"[`{verb}`](#edgewright-{verb})", _sentences(program.commands[verb])[0]) for verb in verbs]
        parts.append(text.table((panel, "Use"), rows))
    return "\n\n".join(parts)


def _command(command: Any, name: str, panel: str = "") -> list[str]:
    about, examples = _help(command)
    parts = [f"{'##' if panel else '###'} {name}", about]
    if subcommands := getattr(command, "commands", None):
        for word, one in subcommands.items():
            parts += _command(one, f"{name} {word}")
        return parts
    parts.append(text.fence("text", f"{name} {_usage(command)}".rstrip()))
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    if arguments:
        rows = [(f"{text.code(_metavar(p))} {_type(p)}", _meaning(p)) for p in arguments]
        parts.append(text.table(("Argument", "Meaning"), rows))
    options = [p for p in command.params if p.param_type_name == "option"]
    groups = dict.fromkeys(p.rich_help_panel for p in options)
    for group in groups:
        if group:
            parts.append(f"**{group}**")
        parts.append(_options([p for p in options if p.rich_help_panel == group]))
    if examples:
        parts += ["**Examples**" if len(examples) > 1 else "**Example**", text.fence("bash", "\n".join(examples))]
    return parts


def _options(options: list[Any]) -> str:
    rows = []
    for option in options:
        names = ", ".join(text.code(name) for name in sorted([*option.opts, *option.secondary_opts], key=len))
        kind = _type(option)
        if not option.hidden:
            rows.append((names if kind == "flag" else f"{names} {kind}", _meaning(option)))
    return text.table(("Option", "Meaning"), rows) if rows else ""


def _meaning(parameter: Any) -> str:
    """What a parameter does, whether it is required, its default."""
    about = re.sub(r"(?<![\w`-])--[a-z][a-z-]*\w", r"`\g<0>`", _plain(parameter.help or ""))
    if parameter.required and parameter.param_type_name == "option":
        return f"{about} **Required.**"
    default = _default(parameter)
    return f"{about} Default: {default}." if default else about


def _usage(command: Any) -> str:
    required = [f"{_long(p)} {_metavar(p)}" for p in command.params if p.param_type_name == "option" and p.required]
    words = [
        _metavar(p) if p.required else f"[{_metavar(p)}]" for p in command.params if p.param_type_name == "argument"
    ]
    return " ".join([*words, *required, "[OPTIONS]" if len(required) < len(command.params) else ""])


def _long(option: Any) -> str:
    return max(option.opts, key=len)


def _metavar(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return name + ("..." if parameter.nargs == -1 and not name.endswith("...") else "")


def _type(parameter: Any) -> str:
    kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    if parameter.param_type_name == "option" and parameter.is_flag:
        return "flag"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return " or ".join(text.code(str(member.value)) for member in kind)
    name = TYPES.get(kind, "text")
    if parameter.param_type_name == "option" and parameter.metavar:
        name = text.code(parameter.metavar)
    return f"{name}, repeatable" if parameter.multiple or parameter.nargs == -1 else name


def _default(parameter: Any) -> str:
    value = parameter.default
    if value is None or value is False or value == "" or callable(value) or parameter.is_flag:
        return ""
    if isinstance(value, enum.Enum):
        value = value.value
    return text.code(", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value))


def _plain(help_text: str) -> str:
    """Help without rich's markup, on one line."""
    return " ".join(re.sub(r"\[/?(?:bold|dim|italic|cyan|green|red|yellow)?\]", "", help_text).split())


def _help(command: Any) -> tuple[str, list[str]]:
    """What the help of a command says, and its examples."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc((command.help or "").replace("\b", "").replace("\f", "")))
    paragraphs += re.split(r"\n\s*\n", inspect.cleandoc(command.epilog or ""))
    about, examples = [], []
    for paragraph in paragraphs:
        lines = [_plain(line) for line in re.sub(r"\\\n\s*", "", paragraph).splitlines() if line.strip()]
        if any(line.startswith("edgewright ") for line in lines):
            examples += [line for line in lines if line.startswith("edgewright ")]
        elif lines:
            about.append("\n".join(lines))
    return "\n\n".join(about), examples


def _sentences(command: Any) -> list[str]:
    return [" ".join(part.split()) for part in _help(command)[0].split("\n\n")]
