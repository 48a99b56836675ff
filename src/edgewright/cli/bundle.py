"""`edgewright bundle`: inspect and verify bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o
from edgewright.cli.help_page import Command, Group

app = typer.Typer(cls=Group, no_args_is_help=True, help="Inspect and verify bundles.")
Bundle = Annotated[Path, typer.Argument(rich_help_panel=o.IN, help="A bundle (.edge folder).")]


@app.command(cls=Command)
def inspect(path: Bundle, as_json: o.JsonOption = False) -> None:
    """Show the contents of a bundle: model, runtime, precision, preprocessing, provenance."""
    from edgewright.cli import console
    from edgewright.runtimes import artifact, bundle

    manifest = bundle.inspect(path)
    if as_json:
        console.print_json(manifest)
        return
    from edgewright.bench import figures
    from edgewright.core import files

    spec, options = manifest.spec, manifest.artifact
    rows = {
        "model": f"{manifest.name} ({spec.task.kind}, {spec.classes} classes)",
        "source": spec.source,
        "input": f"{spec.input.dtype} {spec.input.layout} {spec.input.height}x{spec.input.width}",
        "prepares": str(spec.input.preprocess),
        "classes": ", ".join(spec.labels[:6]) + (" ..." if len(spec.labels) > 6 else "") or "without names",
        "runtime": f"{options.runtime}, {artifact.read(path).precision}, {options.threads or 'all'} threads",
        "size": f"{figures.size(files.size(path))} in {len(manifest.files)} files",
        "created": manifest.created,
    }
    console.print_rows(console.output(), [(name, console.line(value)) for name, value in rows.items()])


@app.command(cls=Command)
def verify(path: Bundle) -> None:
    """Check every file of a bundle against its manifest. Exits with 4 if a byte differs."""
    from edgewright.cli import console
    from edgewright.runtimes import bundle

    manifest = bundle.verify(path)
    text = f"{path} is intact: all {len(manifest.files)} files match the manifest."
    console.print_rows(console.output(), [("ok", console.line(text))])
