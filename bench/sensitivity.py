"""The table of a network's blocks and layers: what each loses in INT8, what each saves. JSON, a page, a terminal."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from edgewright.bench import figures, html
from edgewright.bench.results import Part, Sensitivity
from edgewright.core import files

JSON, PAGE = "sensitivity.json", "sensitivity.html"
WIDEST = 34
"""Characters of a layer's name on a terminal, from its end."""


def write(found: Sensitivity, folder: Path) -> list[Path]:
    """Write ``sensitivity.json``, and where times are known the plot ``sensitivity.html``, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {JSON: msgspec.json.format(msgspec.json.encode(found), indent=1), PAGE: html.sensitivity(found)}
    written = {folder / name: text for name, text in texts.items() if text is not None}
    for path, text in written.items():
        files.write(path, text)
    return list(written)


def show(found: Sensitivity, console: Console) -> None:
    """Print the layers, those that lose most first; blocks where there are no layers."""
    rows = found.layers or found.blocks
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("layer" if found.layers else "block", "kind"):
        table.add_column(name, no_wrap=True)
    for name in ("alone, dB", "alone", "all but it", "float ms", "INT8 ms", "saved ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in sorted(rows, key=lambda row: row.alone.sqnr_db):
        table.add_row(*cells(row))
    whole = found.whole
    console.print(table)
    console.print(
        f"{found.id} against {found.float_id} on {found.images} images; all of it in INT8: {whole.sqnr_db:.1f} dB, "
        f"loss {whole.loss:.3g}", style="dim", soft_wrap=True,
    )  # fmt: skip


def cells(row: Part) -> list[str]:
    """A row of the table: layer, operator, SQNR and loss alone, loss of all but it, milliseconds."""
    name = row.layers[0] if len(row.layers) == 1 else f"{row.layers[0]} +{len(row.layers) - 1}"
    name = name if len(name) <= WIDEST else f"...{name[-WIDEST + 3 :]}"
    saved = row.saved_ms
    return [
        name, ", ".join(row.operators), f"{row.alone.sqnr_db:.1f}", f"{row.alone.loss:.2g}", f"{row.others.loss:.2g}",
        figures.ms(row.float_ms), figures.ms(row.int8_ms), "" if saved is None else f"{saved:+.3f}",
    ]  # fmt: skip
