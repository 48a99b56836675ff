"""`edgewright bundle`: look into a bundle, check that it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o

app = typer.Typer(no_args_is_help=True, help="Inspect and verify bundles.")
Bundle = Annotated[Path, typer.Argument(help="A bundle (.edge folder).")]


@app.command()
def inspect(path: Bundle, as_json: o.JsonOption = False) -> None:
    """Show what a bundle holds: model, runtime, precision, preprocessing, provenance."""
    from edgewright.cli import console
    from edgewright.runtimes import artifact, bundle

    manifest = bundle.inspect(path)
    if as_json:
        console.print_json(manifest)
        return
    from rich.table import Table

    from edgewright.core import files

    spec, options = manifest.spec, manifest.artifact
    rows = {
        "model": f"{manifest.name} ({spec.task.kind}, {spec.classes} classes)",
        "source": spec.source,
        "input": f"{spec.input.dtype} {spec.input.layout} {spec.input.height}x{spec.input.width}",
        "runtime": f"{options.runtime}, {artifact.read(path).precision}, threads {options.threads or 'all'}",
        "size": f"{files.size(path) / 1e6:.2f} MB in {len(manifest.files)} files",
        "created": manifest.created,
    }
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, console.line(value))
    console.output().print(table)


@app.command()
def verify(path: Bundle) -> None:
    """Check every file of a bundle against its manifest; exit 4 where a byte differs."""
    from edgewright.cli import console
    from edgewright.runtimes import bundle

    manifest = bundle.verify(path)
    console.output().print_line(("green", "whole"), f"  {path}: {len(manifest.files)} files as they were written")
