"""`edgewright cache`: list and prune the store."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from edgewright.cli import options as o
from edgewright.cli.help_page import Command, Group

app = typer.Typer(cls=Group, no_args_is_help=True, help="List and prune the store of finished steps.")


@app.command("list", cls=Command)
def list_entries(as_json: o.JsonOption = False) -> None:
    """List the results in the store."""
    from rich.table import Table

    from edgewright.cli import console
    from edgewright.core.store import Store

    store = Store()
    entries = store.entries()
    if as_json:
        console.print_json([{"path": str(p), "size_bytes": size, "used": used} for p, size, used in entries])
        return
    table = Table("stage", "key", "size", "age", box=None, header_style="bold")
    for path, size, used in entries:
        age = f"{(time.time() - used) / 3600:.1f} h"
        table.add_row(console.line(path.parent.name), console.line(path.name[:12]), f"{size / 1e6:.1f} MB", age)
    screen = console.output()
    screen.print(table)
    screen.print_line(f"{len(entries)} results, {sum(size for _, size, _ in entries) / 1e6:.1f} MB in {store.root}")


@app.command(cls=Command)
def prune(
    days: Annotated[float, typer.Option(min=0, metavar="N", help="Remove results that are older than N days.")] = 30.0,
    everything: Annotated[bool, typer.Option("--all", help="Remove all results.")] = False,
) -> None:
    """Remove old results, and temporary files of interrupted runs."""
    from edgewright.cli import console
    from edgewright.core.store import Store

    limit = time.time() - days * 86400
    freed = Store().prune(lambda path, size, used: not everything and used >= limit)
    console.output().print_line(f"freed {freed / 1e6:.1f} MB")
