"""`edgewright targets`: the known devices, and this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from edgewright.cli import options as o
from edgewright.cli.help_page import Command, Group

app = typer.Typer(cls=Group, no_args_is_help=False, invoke_without_command=True, help="List, show and detect devices.")


@app.callback()
def default(context: typer.Context) -> None:
    """List, show and detect devices."""
    if context.invoked_subcommand is None:
        list_targets(as_json=False)


@app.command("list", cls=Command)
def list_targets(as_json: o.JsonOption = False) -> None:
    """List the devices that edgewright knows."""
    from rich.table import Table

    from edgewright.cli import console
    from edgewright.targets import catalogue

    found = [catalogue.load(name) for name in catalogue.names()]
    if as_json:
        console.print_json(found)
        return
    table = Table("name", "device", "runtimes", box=None, header_style="bold")
    for item in found:
        runtimes = ", ".join(r.name for r in item.runtimes)
        table.add_row(console.line(item.name), console.line(item.title), console.line(runtimes))
    console.output().print(table)


@app.command(cls=Command)
def show(
    name: Annotated[str, typer.Argument(rich_help_panel=o.GOAL, help="Device name or TOML file.")],
    as_json: o.JsonOption = False,
) -> None:
    """Show the hardware and the runtimes of a device, and what they mean for a model."""
    from edgewright.cli import console
    from edgewright.targets import catalogue
    from edgewright.targets.describe import describe

    found = catalogue.load(name)
    if as_json:
        console.print_json(found)
    else:
        screen = console.output()
        screen.print(*describe(found, screen.width).split("\n"), sep="\n")


@app.command(cls=Command)
def detect(as_json: o.JsonOption = False) -> None:
    """Show this machine as a target."""
    show("this-machine", as_json=as_json)


@app.command(cls=Command)
def clean(
    device: o.DeviceArgument,
    identity: o.IdentityOption = None,
    python: o.PythonOption = None,
    device_folder: o.FolderOption = None,
    as_json: o.JsonOption = False,
) -> None:
    """Remove all files that `--on` left on a device, and end its processes there.

    The device keeps its own key, which signs its TensorRT plans, in ~/.config/edgewright.
    """
    from edgewright import api
    from edgewright.cli import console

    found = o.device(device, identity, python, folder=device_folder)
    assert found is not None
    removed = api.clean_device(found)
    if as_json:
        console.print_json({"device": device, "removed": removed})
    else:
        console.output().print_line("removed" if removed else "nothing was there")
