"""`edgewright doctor`: what is installed, what is missing and how to get it."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from edgewright.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgewright.cli.console import Screen
    from edgewright.runtimes.options import Probe
    from edgewright.targets.checkup import Check


def doctor(as_json: o.JsonOption = False) -> None:
    """Show what this machine has, which runtimes work and what is missing."""
    from edgewright import __version__
    from edgewright.bench.lines import Lines
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
    screen.print(*describe(machine, screen.width).split("\n"), sep="\n")
    _show_checks(screen, checks)
    _head(screen, "runtimes")
    screen.print(Lines([(name, console.line(_state(probe))) for name, probe in probes.items()]))
    missing = [name for name, found in host.items() if found is None]
    _head(screen, "building and measuring")
    install = f"{', '.join(missing)}. Run: pip install 'edgewright[host]'"
    row = ("missing", install) if missing else ("ok", "all libraries are installed")
    screen.print(Lines([(row[0], console.line(row[1]))]))


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
    from edgewright.bench.lines import Lines
    from edgewright.cli import console

    if checks:
        _head(screen, "this device")
    for check in checks:
        rows = [(check.state, check.what), *([("do", check.fix)] if check.fix else [])]
        screen.print(Lines([(word, console.line(text)) for word, text in rows]))


def _state(probe: Probe) -> str:
    """Version, device and precisions of an available runtime; else why it is not available."""
    return f"{probe.version} on {probe.device}: {', '.join(probe.precisions)}" if probe.available else probe.why
