"""`edgewright doctor`: what is installed, what is missing, how to get it."""

from __future__ import annotations

import platform

from edgewright.cli import options as o


def doctor(as_json: o.JsonOption = False) -> None:
    """Say what this machine has, which runtimes work, and what is missing."""
    from edgewright import __version__
    from edgewright.cli import console
    from edgewright.core.lazy import version
    from edgewright.runtimes import registry
    from edgewright.targets import target

    machine = target.load("this-machine")
    probes = {name: registry.module(name).probe() for name in registry.names()}
    host = {name: version(name) for name in ("torch", "timm", "torchvision", "onnx", "nncf", "scipy", "altair")}
    if as_json:
        console.print_json(
            {
                "edgewright": __version__,
                "python": platform.python_version(),
                "machine": machine,
                "runtimes": probes,
                "host": host,
            }
        )
        return
    screen = console.output()
    screen.print(f"[bold]edgewright[/] {__version__}, Python {platform.python_version()}\n")
    screen.print(target.describe(machine), markup=False)
    screen.print("\n[bold]runtimes[/]")
    for name, probe in probes.items():
        state = (
            f"[green]{probe.version}[/] on {probe.device}: {', '.join(probe.precisions)}"
            if probe.available
            else f"[yellow]missing[/] {probe.why}"
        )
        screen.print(f"  {name:<12} {state}", soft_wrap=True)
    missing = [name for name, found in host.items() if found is None]
    screen.print("\n[bold]building and measuring[/]")
    screen.print(
        "  everything is installed"
        if not missing
        else f"  missing: {', '.join(missing)}; pip install 'edgewright[host]'"
    )
