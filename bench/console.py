"""The report as a table for a terminal of any width. Marks and words carry all information that colors carry.

Each line around the table begins with a word, such as ``skipped:`` or ``chosen:`` (`bench.lines`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from edgewright.core.text import one_line
from edgewright.tasks.scores import Delta

from . import figures
from .budget import describe
from .lines import Lines, Row
from .results import Finding, Measurement, Report

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

SCORE = "score"
COLUMNS = {
    SCORE: 5, "difference": 17, "agree": 5, "p50 ms": 6, "p90 ms": 6, "faster": 7, "size": 7,
}  # fmt: skip
"""Columns of figures and their minimum width in characters."""
DROPPED = ("p90 ms", "agree", "size", "difference", "faster")
"""The columns that a narrow terminal omits, in this order."""
WIDE = 100
"""From this width on, no column is omitted. Names that are too long are shortened."""
LEAST_NAME = 24
"""Minimum width of the column of names in a wide terminal."""
MARKS = {"chosen": ">", "built": "-", "worse": "!", "undecided": "?", "unreliable": "~"}
MEANINGS = {
    "chosen": "chosen",
    "built": "built, not measured",
    "worse": "loses more than the budget allows",
    "undecided": "inconclusive: the interval includes the limit",
    "unreliable": "unreliable latency",
}
"""The explanation of each mark below the table."""
COLORS = {"not_worse": "green", "worse": "red", "undecided": "yellow"}


def show(report: Report, console: Console) -> None:
    """Print the report on `console`."""
    console.print(render(report))


def render(report: Report) -> RenderableType:
    """Return the report as a rich renderable: heading, table, notes and choice."""
    parts: list[RenderableType] = [Lines(_heading(report)), _Figures(report)]
    if figures.paced(report):
        parts.append(_pace(report))
    return Group(*parts, Lines(_after_table(report)))


def _after_table(report: Report) -> Iterable[Row]:
    """Yield the rows after the table, about figures and choice: (word, text)."""
    for found, names, reason in figures.unmeasured(report):
        where = f" in {found.stage}" if found.stage else ""
        text = _text(names, "bold" if found.status == "failed" else "")
        yield found.status, text.append(one_line(f"{where}: {reason}" if reason else where), style="default")
    for finding in (*figures.alarms(report), *figures.of_variants(report), *figures.about_data(report)):
        yield finding.level, _finding(finding)
    for note in figures.doubts(report):
        yield "note", _text(note)
    yield from _choice(report)


def _finding(found: Finding) -> Text:
    return _text(f"{found.code}: {figures.sentence(found)}")


def _choice(report: Report) -> Iterable[Row]:
    choice = report.choice
    if choice is None:
        return
    if choice.id:
        yield "chosen", _text(choice.id, "bold green")
        yield "", _text(choice.why)
        for term in report.measurement(choice.id).budget:
            yield "", _text(describe(term))
        return
    yield "chosen", _text("nothing", "bold red").append(one_line(f". {choice.why}"), style="default")
    for miss in choice.misses:
        yield "", _text(miss)


def _heading(report: Report) -> Iterable[Row]:
    yield "model", _text(report.model.source or report.model.name)
    yield "target", _text(report.target.title or report.target.name)
    if report.data:
        split = f" ({report.data.split})" if report.data.split else ""
        yield "data", _text(f"{report.data.images} images of {report.data.name}{split}")
    if report.budget:
        yield "budget", _text(report.budget)


# --- the table --------------------------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """A variant in the table: its mark, its name, and its figures by column."""

    mark: Text
    name: Text
    cells: dict[str, Text]
    style: str = ""


class _Figures:
    """The table of all variants with figures. A narrow terminal gets fewer columns. A very narrow one also gets a line
    of its own for each name."""

    def __init__(self, report: Report) -> None:
        self._rows = list(_rows(report))
        self._titles = {name: figures.metric(report) if name == SCORE else name for name in COLUMNS}
        self._marks = _used(report)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        longest = max((row.name.cell_len for row in self._rows), default=0)
        columns = self._fitting(width, longest)
        if columns is not None:
            yield self._table(columns, width)
        else:
            columns = self._fitting(width, 0) or (SCORE, "p50 ms")
            yield from self._stacked(columns)
        left_out = [self._titles[name] for name in COLUMNS if name not in columns]
        if left_out and self._rows:
            yield Lines([("hidden", _text(f"{', '.join(left_out)} (too few columns in this terminal)"))])
        if self._marks:
            yield Lines([("marks", _text("   ".join(f"{MARKS[name]} {MEANINGS[name]}" for name in self._marks)))])

    def _fitting(self, width: int, name: int) -> tuple[str, ...] | None:
        """Return the columns that fit next to names of this width, or None if too few fit."""
        columns = list(COLUMNS)
        if width >= WIDE:
            return tuple(columns)
        for dropped in (None, *DROPPED):
            if dropped is not None:
                columns.remove(dropped)
            if sum(self._width(one) + 1 for one in columns) + 2 + (name + 1 if name else 0) <= width:
                return tuple(columns) if not name or "difference" in columns else None
        return None

    def _width(self, column: str) -> int:
        cells = [row.cells[column].cell_len for row in self._rows if column in row.cells]
        return max(COLUMNS[column], len(self._titles[column]), *cells, 0)

    def _table(self, columns: Sequence[str], width: int) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        room = width - 3 - sum(self._width(name) + 1 for name in columns)
        table.add_column("", width=1, min_width=1)
        table.add_column("variant", overflow="ellipsis", no_wrap=True, max_width=max(room, LEAST_NAME))
        for name in columns:
            table.add_column(_text(self._titles[name]), justify="right", no_wrap=True, min_width=COLUMNS[name])
        for row in self._rows:
            table.add_row(row.mark, row.name, *(row.cells.get(name, Text()) for name in columns), style=row.style)
        return table

    def _stacked(self, columns: Sequence[str]) -> Iterable[Text]:
        """Yield each name on a line of its own, with its figures below."""
        widths = {name: self._width(name) for name in columns}
        yield _text("  " + " ".join(f"{self._titles[name]:>{widths[name]}}" for name in columns), "bold")
        for row in self._rows:
            yield Text(" ").join([row.mark if row.mark.plain else Text(" "), row.name])
            line = Text("  ", style=row.style)
            for name in columns:
                cell = row.cells.get(name, Text())
                line.append(" " * (widths[name] - cell.cell_len)).append_text(cell).append(" ")
            line.rstrip()
            yield line


def _used(report: Report) -> list[str]:
    """Return the marks that the table of `report` shows."""
    shown = [found for found in report.measurements if figures.has_figures(found)]
    verdicts = {found.accuracy.delta.verdict for found in shown if found.accuracy and found.accuracy.delta}
    used = {
        "chosen": bool(report.choice and report.choice.id),
        "built": any(found.status == "built" for found in shown),
        "worse": "worse" in verdicts,
        "undecided": "undecided" in verdicts,
        "unreliable": any(found.latency and not found.latency.valid for found in shown),
    }
    return [name for name in MARKS if used[name]]


def _rows(report: Report) -> Iterable[_Row]:
    reference = report.reference
    if reference:
        accuracy, latency = reference.accuracy, reference.latency
        cells = {
            SCORE: figures.percent(accuracy.score) if accuracy else "",
            "p50 ms": figures.ms(latency.p50_ms) if latency else "",
            "p90 ms": figures.ms(latency.p90_ms) if latency else "",
            "size": figures.size(reference.size_bytes),
        }
        name = _text(f"{reference.runtime} {reference.precision}, reference")
        yield _Row(Text(), name, {column: Text(cell) for column, cell in cells.items()}, "dim")
    for found in figures.by_speed(report):
        if figures.has_figures(found):
            yield _row(found, chosen=bool(report.choice and report.choice.id == found.id))


def _row(found: Measurement, chosen: bool) -> _Row:
    accuracy, latency = found.accuracy, found.latency
    doubt = "" if latency is None or latency.valid else MARKS["unreliable"]
    mark = _text(MARKS["chosen"], "bold green") if chosen else Text()
    cells = {
        SCORE: Text(figures.percent(accuracy.score) if accuracy else ""),
        "difference": _difference(accuracy.delta if accuracy else None),
        "agree": Text(figures.percent(accuracy.agreement, 1) if accuracy else ""),
        "p50 ms": Text(doubt + figures.ms(latency.p50_ms) if latency and latency.p50_ms else ""),
        "p90 ms": Text(figures.ms(latency.p90_ms) if latency else ""),
        "faster": Text(doubt * bool(found.speedup) + figures.times(found.speedup)),
        "size": Text(figures.size(found.size_bytes)),
    }
    return _Row(
        _text(MARKS["built"], "dim") if found.status == "built" and not chosen else mark,
        _text(found.id, "bold" if chosen else ""), cells,
    )  # fmt: skip


def _difference(delta: Delta | None) -> Text:
    """Return a difference to the reference with its interval, and the mark of its verdict."""
    if delta is None:
        return Text()
    mark = MARKS.get(delta.verdict, "")
    return _text(mark + figures.delta(delta, 1).replace(", ", ","), COLORS[delta.verdict])


def _pace(report: Report) -> Table:
    """Return the table of latency at a camera's rate and of energy."""
    rate, source = figures.rate(report), figures.energy_source(report)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("", width=1, min_width=1)
    table.add_column(f"at {rate} frames/s" if rate else "energy", overflow="fold")
    for name in [*(("p50 ms", "p90 ms", "missed") if rate else ()), *(("mJ each",) if source else ())]:
        table.add_column(name, justify="right", no_wrap=True)
    for name, found in figures.paced(report):
        pace = figures.pace(found.camera) if rate else ()
        table.add_row("", _text(name), *pace, *([figures.energy(found.energy_mj)] if source else []))
    if source:
        table.caption = _text(f"mJ each: energy of one inference, measured at {source}")
        table.caption_justify = "left"
    return table


def _text(text: str, style: str = "") -> Text:
    """Return `text` as literal text on one line, because names and reasons come from outside."""
    return Text(one_line(text), style=style)
