"""`edgewright doctor`: what is installed, what is missing and how to get it."""

from __future__ import annotations

import platform
import textwrap
from typing import TYPE_CHECKING

from edgewright.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.text import Text

    from edgewright.cli.console import Screen
    from edgewright.runtimes.options import Probe
    from edgewright.targets.checkup import Check

COLORS = {"ok": "green", "missing": "yellow", "note": "cyan"}


def doctor(as_json: o.JsonOption = False) -> None:
    """Show what this machine has, which runtimes work and what is missing."""
    from edgewright import __version__
    from edgewright.cli import console
    from edgewright.core.lazy import version
    from edgewright.runtimes import registry
    from edgewright.targets import catalogue
    from edgewright.targets.checkup import checkup
    from edgewright.targets.describe import describe

    machine = catalogue.load("this-machine")
    probes = {name: registry.module(name).probe() for name in registry.names()}
    checks = (*checkup(machine), *_kernels(probes))
    host = {name: version(name) for name in ("torch", "timm", "torchvision", "onnx", "nncf", "scipy", "jinja2")}
    if as_json:
        console.print_json(
            {
                "edgewright": __version__,
                "python": platform.python_version(),
                "machine": machine,
                "device": checks,
                "runtimes": probes,
                "host": host,
            }
        )
        return
    screen = console.output()
    screen.print_line(("bold", "edgewright"), f" {__version__}, Python {platform.python_version()}")
    screen.print()
    screen.print(*describe(machine).split("\n"), sep="\n")
    _show_checks(screen, checks)
    _head(screen, "runtimes")
    for name, probe in probes.items():
        state = f"{probe.version} on {probe.device}: {', '.join(probe.precisions)}"
        screen.print(_line(name, "green" if probe.available else "yellow", state if probe.available else probe.why))
    missing = [name for name, found in host.items() if found is None]
    _head(screen, "building and measuring")
    install = f"missing: {', '.join(missing)}; pip install 'edgewright[host]'"
    screen.print_line(f"  {install if missing else 'everything is installed'}")


def _kernels(probes: Mapping[str, Probe]) -> Iterator[Check]:
    """The result of the self-test of each available runtime that has one."""
    from edgewright.core.errors import EdgewrightError
    from edgewright.runtimes import registry
    from edgewright.targets.checkup import Check

    for name, probe in probes.items():
        test = getattr(registry.module(name), "fault", None)
        if not probe.available or test is None:
            continue
        try:
            fault = test()
        except EdgewrightError as error:
            yield Check(state="note", what=f"{error.what} {error.why}", fix=error.fix)
            continue
        if fault:
            what = f"{name} runs INT8 models in float, which is slower but not less accurate. {fault}"
            yield Check(state="note", what=what, fix=f"pip install --upgrade {name}")
        else:
            yield Check(state="ok", what=f"INT8 kernels of {name} {probe.version} pass the self-test")


def _head(screen: Screen, title: str) -> None:
    screen.print()
    screen.print_line(("bold", title))


def _show_checks(screen: Screen, checks: tuple[Check, ...]) -> None:
    if checks:
        _head(screen, "this device")
    for check in checks:
        screen.print(_line(check.state, COLORS[check.state], check.what, width=8))
        if check.fix:
            screen.print(_line("", "", f"do: {check.fix}", width=8))


def _line(label: str, color: str, content: str, width: int = 12) -> Text:
    """A label and its text within `width`, with later lines below the text."""
    from rich.text import Text

    from edgewright.core.text import one_line

    indent = " " * (width + 3)
    text = textwrap.fill(
        one_line(content), 100, initial_indent=indent, subsequent_indent=indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return Text(f"  {label:<{width}} ", style=color) + Text(text[len(indent) :], style="default")
