"""`edgewright targets`: the devices that are known."""

from __future__ import annotations

from typing import Annotated

import typer

from edgewright.cli import options as o

app = typer.Typer(no_args_is_help=False, invoke_without_command=True, help="List, show and detect devices.")


@app.callback()
def default(context: typer.Context) -> None:
    """List, show and detect devices."""
    if context.invoked_subcommand is None:
        list_targets(as_json=False)


@app.command("list")
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


@app.command()
def show(name: Annotated[str, typer.Argument(help="Device name or TOML file.")], as_json: o.JsonOption = False) -> None:
    """Show what a device has and what that means for a model."""
    from edgewright.cli import console
    from edgewright.targets import catalogue
    from edgewright.targets.describe import describe

    found = catalogue.load(name)
    if as_json:
        console.print_json(found)
    else:
        console.output().print(*describe(found).split("\n"), sep="\n")


@app.command()
def detect(as_json: o.JsonOption = False) -> None:
    """Show what this machine is."""
    show("this-machine", as_json=as_json)


@app.command()
def clean(
    device: o.DeviceArgument,
    identity: o.IdentityOption = None,
    python: o.PythonOption = None,
    device_folder: o.FolderOption = None,
    as_json: o.JsonOption = False,
) -> None:
    """Remove all files that `--on` left on a device, and end what still runs there.

    The device's own key, which signs its TensorRT plans, stays in ~/.config/edgewright.
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
