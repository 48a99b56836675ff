"""The report as a table on a terminal, within 100 columns; colours only where there is a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgewright.core.text import one_line

from . import figures
from .budget import describe
from .results import Measurement, Report

if TYPE_CHECKING:
    from rich.console import Console

SCORE = "score"
COLUMNS = {
    SCORE: 5, "difference": 17, "agree": 5, "p50 ms": 6, "p90 ms": 6, "faster": 6, "size": 7,
}  # fmt: skip
"""Columns of figures and the width below which they are never squeezed: the variant's name gives way."""

NAME = 100 - 1 - sum(COLUMNS.values()) - len(COLUMNS) - 2
"""What 100 columns leave for the name, each column taking one more for the gap behind it."""

ALARMS = {"error": "bold red", "warning": "yellow"}
COLOURS = {"not_worse": "green", "worse": "red", "undecided": "yellow"}


def show(report: Report, console: Console) -> None:
    """Print the report on `console`."""
    console.print(render(report))


def render(report: Report) -> RenderableType:
    """The report as something that rich can print: a heading, the table, the choice and what to know about it."""
    parts: list[RenderableType] = [_heading(report), _table(report)]
    if figures.paced(report):
        parts.append(_pace(report))
    parts += _failures(report)
    parts += [
        _text(f"{found.level}: {found.code}: {figures.sentence(found)}", ALARMS[found.level])
        for found in figures.alarms(report)
    ]
    parts += [_text(f"note: {found.code}: {figures.sentence(found)}", "dim") for found in figures.about_data(report)]
    parts += [_text(f"note: {text}", "yellow") for text in figures.doubts(report)]
    parts += _choice(report)
    return Group(*parts)


def _heading(report: Report) -> Text:
    parts = [report.model.source or report.model.name, f"for {report.target.title or report.target.name}"]
    if report.data:
        split = f" ({report.data.split})" if report.data.split else ""
        parts.append(f"on {report.data.images} images of {report.data.name}{split}")
    if report.budget:
        parts.append(f"budget: {report.budget}")
    return _text(" · ".join(parts), "dim")


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("", width=1, min_width=1)
    table.add_column("variant", overflow="ellipsis", no_wrap=True, max_width=NAME)
    for name, width in COLUMNS.items():
        table.add_column(
            figures.metric(report) if name == SCORE else name, justify="right", no_wrap=True, min_width=width
        )
    reference = report.reference
    if reference:
        accuracy, latency = reference.accuracy, reference.latency
        table.add_row(
            "", _text(f"{reference.runtime} {reference.precision}, reference"),
            figures.percent(accuracy.score) if accuracy else "", "", "",
            figures.ms(latency.p50_ms) if latency else "", figures.ms(latency.p90_ms) if latency else "", "",
            figures.size(reference.size_bytes), style="dim",
        )  # fmt: skip
    for found in figures.by_speed(report):
        if figures.has_figures(found):
            table.add_row(*_row(found, chosen=bool(report.choice and report.choice.id == found.id)))
    return table


def _row(found: Measurement, chosen: bool) -> list[Text | str]:
    accuracy, latency = found.accuracy, found.latency
    delta = accuracy.delta if accuracy else None
    colour = COLOURS[delta.verdict] if delta else "default"
    doubt = "" if latency is None or latency.valid else "~"
    return [
        _text(">", "bold green") if chosen else _text("-", "dim") if found.status == "built" else "",
        _text(found.id, "bold" if chosen else ""),
        figures.percent(accuracy.score) if accuracy else "",
        _text(figures.delta(delta, 1).replace(", ", ","), colour) if delta else "",
        figures.percent(accuracy.agreement, 1) if accuracy else "",
        doubt + figures.ms(latency.p50_ms) if latency and latency.p50_ms else "",
        figures.ms(latency.p90_ms) if latency else "",
        figures.times(found.speedup),
        figures.size(found.size_bytes),
    ]


def _pace(report: Report) -> Table:
    """Latency at a camera's rate and energy, where they were measured."""
    rate, source = figures.rate(report), figures.energy_source(report)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("", width=1, min_width=1)
    table.add_column(f"at {rate} frames/s" if rate else "energy", overflow="ellipsis", no_wrap=True, max_width=NAME)
    for name in [*(("p50 ms", "p90 ms", "missed") if rate else ()), *(("mJ each",) if source else ())]:
        table.add_column(name, justify="right", no_wrap=True)
    for name, found in figures.paced(report):
        pace = figures.pace(found.camera) if rate else ()
        table.add_row("", _text(name), *pace, *([figures.energy(found.energy_mj)] if source else []))
    if source:
        table.caption = _text(f"mJ each: one inference back to back, measured at {source}")
        table.caption_justify = "left"
    return table


def _failures(report: Report) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for found, names, reason in figures.unmeasured(report):
        text = Text("x " if found.status == "failed" else "- ", style="red" if found.status == "failed" else "dim")
        where = f" in {found.stage}" if found.stage else ""
        text.append(one_line(f"{names} {found.status}{where}"), style="default")
        lines.append(text.append(one_line(f": {reason}") if reason else "", style="dim"))
    return lines


def _choice(report: Report) -> list[RenderableType]:
    choice = report.choice
    if choice is None:
        return []
    if choice.id:
        chosen = _text(f"> {choice.id}", "bold green").append_text(_text(f"  {choice.why}", "default"))
        return [chosen, *(_text(f"  {describe(term)}", "dim") for term in report.measurement(choice.id).budget)]
    return [_text(choice.why, "bold red"), *(_text(f"  {miss}") for miss in choice.misses)]


def _text(text: str, style: str = "") -> Text:
    """Literal text on one line: names and reasons come from outside."""
    return Text(one_line(text), style=style)
