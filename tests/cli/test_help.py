"""Help at every width: no line too long, paragraphs filled, examples that can be copied, every option in a group."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from edgewright.cli import help_page
from edgewright.cli.application import application


def commands() -> Iterator[tuple[str, Any, Any]]:
    """(name, command, context) of every command, those of groups too."""
    program: Any = typer.main.get_command(application())
    yield "edgewright", program, program.make_context("edgewright", [], resilient_parsing=True)
    for name, one in program.commands.items():
        parent = program.make_context("edgewright", [], resilient_parsing=True)
        context = one.make_context(name, [], parent=parent, resilient_parsing=True)
        yield name, one, context
        for word, inner in getattr(one, "commands", {}).items():
            yield f"{name} {word}", inner, inner.make_context(word, [], parent=context, resilient_parsing=True)


EVERY = {name: (command, context) for name, command, context in commands()}


def lines(name: str, width: int) -> list[str]:
    return [line.plain for line in help_page.page(*EVERY[name], width)]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", EVERY)
def test_no_line_is_too_long_and_no_paragraph_is_ragged(name: str, width: int) -> None:
    found = lines(name, width)
    assert max(map(len, found)) <= width, [line for line in found if len(line) > width]
    text = found[: next((place for place, line in enumerate(found) if line.startswith("Example")), len(found))]
    for line, after in itertools.pairwise(text):
        indent = len(after) - len(after.lstrip())
        paragraph = indent == 0 and line.strip() and not line.startswith((" ", "Usage"))
        option = indent >= 6 and len(line) > indent and line[:indent].endswith("  ")
        if after.strip() and (paragraph or option):
            word = after.strip() if after.lstrip().startswith("[default: ") else after.split()[0]
            assert len(line) + 1 + len(word) > width, (line, after)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", EVERY)
def test_examples_can_be_copied(name: str, width: int) -> None:
    text = "\n".join(lines(name, width))
    shown = re.split(r"\n(?=  edgewright |  #)", text.partition("\nExample")[2].partition("\n")[2])
    shown = [one for one in shown if one.strip().startswith("edgewright ")]
    asked = [one.partition("  # ")[0] for one in help_page.parts(EVERY[name][0])[1]]
    assert [shlex.split(one.replace("\\\n", "")) for one in shown] == [shlex.split(one) for one in asked]


@pytest.mark.parametrize("name", [name for name in EVERY if name != "edgewright"])
def test_every_parameter_has_help_and_a_name_for_its_value(name: str) -> None:
    command = EVERY[name][0]
    text = "\n".join(lines(name, 80))
    assert len(help_page.parts(command)[0][0]) > 20
    for parameter in command.params:
        assert parameter.help and parameter.help.endswith((".", ").")), (name, parameter.name)
        assert "<" not in help_page._names(parameter) and "TEXT" not in help_page._names(parameter), parameter.name
        assert f"  {help_page._names(parameter)}" in text
