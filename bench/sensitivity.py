"""The table of a network's blocks and layers with the loss and the saved time of each in INT8: JSON, HTML, terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.table import Table
from rich.text import Text

from edgewright.core import files
from edgewright.core.text import one_line

from . import figures, html
from .results import Part, Sensitivity

if TYPE_CHECKING:
    from rich.console import Console

JSON, PAGE = "sensitivity.json", "sensitivity.html"
WIDEST, KIND = 30, 12
"""Characters of a layer's name (from its end) and of its operators on a terminal: 100 columns with the figures."""


def write(found: Sensitivity, folder: Path) -> list[Path]:
    """Write ``sensitivity.json`` to `folder`, and the plot ``sensitivity.html`` if times are known."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {JSON: msgspec.json.format(msgspec.json.encode(found), indent=1), PAGE: html.sensitivity(found)}
    written = {folder / name: text for name, text in texts.items() if text is not None}
    for path, text in written.items():
        files.write(path, text)
    return list(written)


def show(found: Sensitivity, console: Console) -> None:
    """Print the layers, or blocks if there are no layers, the most sensitive first."""
    rows = found.layers or found.blocks
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("layer" if found.layers else "block", no_wrap=True)
    table.add_column("kind", no_wrap=True, max_width=KIND)
    for name in ("alone, dB", "alone", "all others", "float ms", "INT8 ms", "saved ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in sorted(rows, key=lambda row: row.alone.sqnr_db):
        table.add_row(*map(Text, cells(row)))
    whole = found.whole
    console.print(table)
    text = (
        f"{found.id} against {found.float_id} on {found.images} images. All layers in INT8: {whole.sqnr_db:.1f} dB, "
        f"loss {whole.loss:.3g}."
    )
    console.print(Text(one_line(text), style="dim"), soft_wrap=True)


def cells(row: Part) -> list[str]:
    """A row of the table: layer, operator, SQNR and loss alone, loss of all others, milliseconds."""
    name = one_line(row.layers[0] if len(row.layers) == 1 else f"{row.layers[0]} +{len(row.layers) - 1}")
    name = name if len(name) <= WIDEST else f"...{name[-WIDEST + 3 :]}"
    saved = row.saved_ms
    return [
        name, one_line(", ".join(row.operators)),
        f"{row.alone.sqnr_db:.1f}", f"{row.alone.loss:.2g}", f"{row.others.loss:.2g}",
        figures.ms(row.float_ms), figures.ms(row.int8_ms), "" if saved is None else f"{saved:+.3f}",
    ]  # fmt: skip
