"""The plots of the HTML report as Vega-Lite specifications with their data. The browser draws them.

Colors come from the theme of the page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from edgewright import tasks
from edgewright.core.errors import UsageError
from edgewright.runtimes import registry
from edgewright.tasks.scores import Interval

from . import figures
from . import history as histories
from .budget import parse
from .change_points import Change
from .history import Run
from .results import Latency, Measurement, Report, Sensitivity

LOG_FROM = 6.0
"""Latencies that span more than this factor get a logarithmic axis."""
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.4.1.json"
_TYPES = {"Q": "quantitative", "N": "nominal"}
ROOM_BELOW, ROOM_BELOW_AGREEMENT = 8.0, 20.0
"""Maximum range of the accuracy axis below the reference, in points. Lower values are drawn at the lower edge."""


def pareto(report: Report) -> dict[str, Any] | None:
    """Plot accuracy against median latency, with intervals, frontier, reference, budget and choice; None without
    figures."""
    rows = _points(report)
    if not rows:
        return None
    low, high, outliers = _accuracy_domain(report, rows)
    named = [0.0]
    for row in sorted(rows, key=lambda row: row["x"]):
        row["out"] = row["y"] < low
        if row["out"] and row["x"] < named[-1] * 1.1:
            row["y_text"] = ""  # it would overlap the neighbor's label; the tooltip has it
        elif row["out"]:
            named.append(row["x"])
        row["y_drawn"] = max(row["y"], low)
        row["y_low"], row["y_high"] = max(row["y_low"], low), max(min(row["y_high"], high), low)
    x = _field("x:Q", title="Latency p50 (ms, one image at a time)", scale=_scale([row["x"] for row in rows]))
    axis = _axis(report)
    turned = {} if axis.sign > 0 else {"axis": {"labelExpr": "-datum.value"}}
    y = _field("y_drawn:Q", title=axis.title, scale={"domain": [low, high], "zero": False, "nice": False}, **turned)
    layers = [*_rules(report, low, high), *_frontier(rows), *_intervals(x, y), *_label(x, y, rows), *_marks(x, y)]
    if outliers:
        text = {"x": x, "y": y, "text": _field("y_text:N")}
        layers.append(_layer("text", text, only="datum.out", style="outlier", dy=-12))
    return _spec(layers, rows, "Accuracy against latency of all measured variants", 400)


def latencies(report: Report) -> dict[str, Any] | None:
    """Plot latency distributions: for each variant the middle half, p5 to p95, the median, and quantiles as ticks."""
    found: list[tuple[str, Latency]] = [
        (m.id, m.latency) for m in figures.by_speed(report) if m.latency and len(m.latency.quantiles_ms) >= 21
    ]
    if report.reference and report.reference.latency and len(report.reference.latency.quantiles_ms) >= 21:
        found.append(("reference", report.reference.latency))
    if not found:
        return None
    chosen = report.choice.id if report.choice else None
    boxes = [{"id": id, "chosen": id == chosen, **_quantiles(latency)} for id, latency in found]
    dots = [{"id": id, "ms": value} for id, latency in found for value in latency.quantiles_ms]
    scale = _scale([box["p5"] for box in boxes] + [box["p95"] for box in boxes] + [dot["ms"] for dot in dots])
    y = _field("id:N", sort=[id for id, _ in found], title=None, axis={"labelPadding": 10})
    x = _field("ms:Q", title="Latency (ms)", scale=scale)

    def box(mark: str, low: str, high: str | None = None, **more: Any) -> dict[str, Any]:
        ends = {"x": _field(f"{low}:Q", scale=scale), **({"x2": {"field": high}} if high else {})}
        return _layer(mark, {**ends, "y": y, "tooltip": _box_tooltip()}, **more)

    layers = [
        _layer("tick", {"x": x, "y": y}, dots, style="strip", height=10, thickness=1),
        box("rule", "p5", "p95", style="whisker"),
        box("bar", "p25", "p75", style="box", height=12, cornerRadius=3),
        box("bar", "p25", "p75", only="datum.chosen", style="boxchosen", height=12, cornerRadius=3),
        box("tick", "p50", style="median", height=16, thickness=2),
    ]
    return _spec(layers, boxes, "Latency distributions of all measured variants", 30 * len(found))


def sensitivity(found: Sensitivity) -> dict[str, Any] | None:
    """Plot sensitivity against saved time, one dot per layer (or per block without layers); None without times."""
    rows = [
        {
            "layer": ", ".join(row.layers), "kind": ", ".join(row.operators), "saved": row.saved_ms,
            "sqnr": row.alone.sqnr_db, "loss": f"{row.alone.loss:.3g}", "others": f"{row.others.loss:.3g}",
            "float": f"{figures.ms(row.float_ms)} ms", "int8": f"{figures.ms(row.int8_ms)} ms",
        }
        for row in found.layers or found.blocks
        if row.saved_ms is not None
    ]  # fmt: skip
    if not rows:
        return None
    titles = {
        "layer": "layer", "kind": "operator", "sqnr": "SQNR alone (dB)", "loss": "loss alone",
        "others": "loss, all others", "float": "in float", "int8": "in INT8",
    }  # fmt: skip
    encoding = {
        "x": _field("saved:Q", title="Time saved by INT8 (ms; below 0: slower)"),
        "y": _field("sqnr:Q", title="SQNR with only this in INT8 (dB)", scale={"zero": False}),
        "tooltip": [_field(f"{name}:N", title=title) for name, title in titles.items()],
    }
    zero = _layer("rule", {"x": _field("saved:Q")}, [{"saved": 0}], strokeDash=[4, 4], opacity=0.5)
    dots = _layer("point", encoding, filled=True, size=70, opacity=0.8)
    return _spec([zero, dots], rows, f"Sensitivity against time saved of {found.id}, a dot a layer", 320)


def history(runs: Sequence[Run]) -> dict[str, dict[str, Any] | None]:
    """Plot each figure over the runs of a history, by its name: values with intervals, change points, new machines."""
    new = set(histories.machine_changes(runs))
    return {
        name: _over_runs(name, figure, runs, new, histories.changes(runs, name))
        for name, figure in histories.names(runs).items()
    }


def _over_runs(
    name: str, figure: histories.Figure, runs: Sequence[Run], new: set[int], found: Sequence[Change]
) -> dict[str, Any]:
    factor, unit = (1e-6, "MB") if figure.unit == "bytes" else (1.0, figure.unit)
    rows = [
        {
            "run": number, "value": one.value * factor, "low": factor * (one.value if one.low is None else one.low),
            "high": factor * (one.value if one.high is None else one.high), "commit": run.commit[:12],
            "time": run.time[:16], "machine": run.machine,
        }
        for number, run in enumerate(runs)
        if (one := run.figures.get(name))
    ]  # fmt: skip
    x, y = _field("run:Q", title="Run", scale={"nice": False}), _field("value:Q", title=f"{name} ({unit})")
    y["scale"] = {"zero": False}
    machines = [{"run": number - 0.5, "machine": runs[number].machine} for number in sorted(new)]
    marks = [{"run": change.at - 0.5, "text": histories.describe(change, name, figure, runs)} for change in found]
    tooltip = [_field(f"{one}:N") for one in ("commit", "time", "machine", "value")]
    layers = [
        _layer("rule", {"x": x, "y": _field("low:Q"), "y2": {"field": "high"}}, style="interval"),
        _layer("point", {"x": x, "y": y, "color": _field("machine:N", legend=None), "tooltip": tooltip},
               filled=True, size=50, opacity=1),
        _layer("rule", {"x": x, "tooltip": [_field("machine:N")]}, machines, strokeDash=[2, 4], opacity=0.6),
        _layer("rule", {"x": x, "tooltip": [_field("text:N")]}, marks, style="budget", strokeWidth=2),
    ]  # fmt: skip
    return _spec(layers, rows, f"{name} over {len(rows)} runs", 180)


class Axis(NamedTuple):
    """The vertical axis: the primary score, or agreement if the data has no labels. Up is always better: a score that
    should be low is plotted negated (`sign` -1), with positive tick labels."""

    title: str
    unit: str
    sign: int
    room_below: float
    bounds: tuple[float, float]


def _axis(report: Report) -> Axis:
    if not _labelled(report):
        return Axis("Agreement with the reference (%)", "%", 1, ROOM_BELOW_AGREEMENT, (0.0, 100.0))
    score, title = figures.score(report), tasks.get(report.model.task).report.TITLE
    sign = 1 if score.better == "higher" else -1
    share = score.unit == "%"
    bounds = ((0.0, 100.0) if sign > 0 else (-100.0, 0.0)) if share else (-math.inf, math.inf)
    return Axis(f"{title} ({score.unit})", score.unit, sign, ROOM_BELOW if share else math.inf, bounds)


def _points(report: Report) -> list[dict[str, Any]]:
    chosen = report.choice.id if report.choice else None
    axis = _axis(report)
    rows = []
    for m in report.measurements:
        if m.status == "ok" and m.latency and m.latency.p50_ms and (found := _accuracy(report, m)):
            rows.append({**_point(m, axis, found), "chosen": m.id == chosen})
    for row in rows:
        better = [o for o in rows if o["x"] <= row["x"] and o["y"] >= row["y"] and o is not row]
        row["frontier"] = all(o["x"] == row["x"] and o["y"] == row["y"] for o in better)
    return rows


def _point(m: Measurement, axis: Axis, found: tuple[float, float, float]) -> dict[str, Any]:
    y, y_low, y_high = found
    value = axis.sign * y
    assert m.latency and m.latency.p50_ms
    interval = m.latency.p50_interval_ms or Interval(low=m.latency.p50_ms, high=m.latency.p50_ms)
    quantized = bool(m.scheme) or m.precision not in ("f32", "bf16", "f16")
    return {
        "id": m.id, "runtime": m.runtime, "precision": "int8" if quantized else m.precision,
        "x": m.latency.p50_ms, "x_low": interval.low, "x_high": interval.high, "y": y, "y_low": y_low, "y_high": y_high,
        "y_text": f"\N{DOWNWARDS ARROW} {figures.with_unit(value, axis.unit, 1)}",
        "p50": f"{figures.ms(m.latency.p50_ms)} ms",
        "p90": f"{figures.ms(m.latency.p90_ms)} ms" if m.latency.p90_ms else "too few samples",
        "accuracy": figures.with_unit(value, axis.unit),
        "difference": figures.delta(m.accuracy.delta if m.accuracy else None) or "no labels",
        "size": figures.size(m.size_bytes), "faster": figures.times(m.speedup) or "unknown",
    }  # fmt: skip


def _labelled(report: Report) -> bool:
    return any(m.accuracy and m.accuracy.score is not None for m in report.measurements)


def _reference_score(report: Report) -> float | None:
    """Return the position of the reference's score on the vertical axis."""
    accuracy = report.reference.accuracy if report.reference else None
    return _axis(report).sign * accuracy.score if accuracy and accuracy.score is not None else None


def _accuracy(report: Report, m: Measurement) -> tuple[float, float, float] | None:
    """Return a variant's position on the vertical axis, with its interval: the primary score with the paired bounds of
    its difference, or the agreement."""
    if m.accuracy is None:
        return None
    if not _labelled(report):
        agree = m.accuracy.agreement
        return None if agree is None else (agree, agree, agree)
    score, delta, reference = m.accuracy.score, m.accuracy.delta, _reference_score(report)
    if score is None:
        return None
    sign = _axis(report).sign
    if delta and reference is not None:
        low, high = sorted((sign * delta.low, sign * delta.high))
        return sign * score, reference + low, reference + high
    own = m.accuracy.scores[m.accuracy.primary].interval
    low, high = sorted((sign * own.low, sign * own.high)) if own else (sign * score, sign * score)
    return sign * score, low, high


def _accuracy_domain(report: Report, rows: list[dict[str, Any]]) -> tuple[float, float, bool]:
    top = max(row["y_high"] for row in rows)
    floor = min(row["y_low"] for row in rows)
    level = _budget_level(report)
    if level is not None:
        floor, top = min(floor, level), max(top, level)
    anchor = _reference_score(report) if _labelled(report) else None
    anchor = max(row["y"] for row in rows) if anchor is None else anchor
    axis = _axis(report)
    edge = min(anchor - axis.room_below, (level if level is not None else anchor) - 1)
    low = max(floor, edge)
    room = max(top - low, 1.0) * 0.08
    least, most = axis.bounds
    return max(low - room, least), min(top + room, most + room), any(row["y"] < low - room for row in rows)


def _budget_level(report: Report) -> float | None:
    """Return the position of the budget's accuracy term on the vertical axis."""
    try:
        limits = parse(report.budget).limits
    except UsageError:  # no budget, or one with terms of a later version: draw no line
        return None
    reference = _reference_score(report)
    for limit in limits:
        if limit.compares and _labelled(report):
            at = _axis(report).sign * limit.value
            if limit.absolute:
                return at
            return reference + at if reference is not None else None
        if limit.metric == "agreement" and not _labelled(report):
            return limit.value
    return None


def _rules(report: Report, low: float, high: float) -> Iterable[dict[str, Any]]:
    level, axis = _reference_score(report), _axis(report)
    lines = [("reference", level), ("budget", _budget_level(report))]
    for name, at in lines:
        if at is not None and low <= at <= high:
            data, y = [{"at": at, "label": f"{name} {figures.with_unit(axis.sign * at, axis.unit)}"}], _field("at:Q")
            yield _layer("rule", {"y": y}, data, style=name)
            side: dict[str, Any] = {"align": "left", "x": 0, "dx": 4, "dy": -7 if name == "reference" else 11}
            for style in ("smallhalo", f"{name}label"):
                yield _layer("text", {"y": y, "text": _field("label:N")}, data, style=style, **side)


def _frontier(rows: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    best = sorted((row for row in rows if row["frontier"] and not row["out"]), key=lambda row: row["x"])
    if len(best) > 1:
        values = [{"x": row["x"], "y": row["y"]} for row in best]
        ends = {"x": _field("x:Q"), "y": _field("y:Q")}
        yield _layer("line", ends, values, style="frontier", interpolate="step-after")


def _intervals(x: dict[str, Any], y: dict[str, Any]) -> Iterable[dict[str, Any]]:
    vertical = {"x": x, "y": _field("y_low:Q"), "y2": {"field": "y_high"}}
    level = {"x": _field("x_low:Q"), "x2": {"field": "x_high"}, "y": y}
    for ends in (vertical, level):
        # Clipped, because an interval outside the plot would reduce the plot's width, down to zero.
        yield _layer("rule", ends, only="!datum.out", style="interval", clip=True)


def _marks(x: dict[str, Any], y: dict[str, Any]) -> Iterable[dict[str, Any]]:
    titles = (
        ("id", "variant"), ("accuracy", "accuracy"), ("difference", "difference, points"), ("p50", "p50"),
        ("p90", "p90"), ("faster", "faster than reference"), ("size", "size"),
    )  # fmt: skip
    shapes = {"domain": ["f32", "bf16", "f16", "int8"], "range": ["circle", "diamond", "diamond", "square"]}
    runtimes = {"domain": sorted(registry.names())}
    encoding = {
        "x": x,
        "y": y,
        "color": _field("runtime:N", title=None, scale=runtimes, legend=None),
        "shape": _field("precision:N", title=None, scale=shapes, legend=None),
        "tooltip": [_field(f"{name}:N", title=title) for name, title in titles],
    }
    yield _layer("point", {"x": x, "y": y}, only="datum.chosen", style="ring", shape="circle", size=420)
    yield _layer("point", encoding, style="dot", size=110, filled=True, opacity=1)


def _label(x: dict[str, Any], y: dict[str, Any], rows: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Draw the chosen variant's name up and to the left of it. No variant is both faster and better, so this space is
    free."""
    at = next((row["x"] for row in rows if row["chosen"]), None)
    if at is None:
        return
    low, high = _domain([row["x"] for row in rows])
    share = math.log(at / low) / math.log(high / low) if low > 0 else at / high
    where: dict[str, Any] = (
        {"align": "right", "dx": -14, "dy": -14} if share > 0.25 else {"align": "left", "dx": -4, "dy": -26}
    )
    for style in ("halo", "chosenlabel"):
        yield _layer("text", {"x": x, "y": y, "text": _field("id:N")}, only="datum.chosen", style=style, **where)


def _domain(values: list[float]) -> tuple[float, float]:
    """Return the ends of a latency axis, with room for the lines' names. Logarithmic if the low end is above 0."""
    low, high = min(values), max(values)
    return (low / 1.5, high * 1.15) if low > 0 and high / low > LOG_FROM else (0.0, high * 1.08)


def _scale(values: list[float]) -> dict[str, Any]:
    low, high = _domain(values)
    return {"type": "log" if low > 0 else "linear", "domain": [low, high], "nice": False}


def _quantiles(latency: Latency) -> dict[str, Any]:
    at = latency.quantiles_ms
    named = {f"p{q}": at[round(q / 100 * (len(at) - 1))] for q in (5, 25, 50, 75, 95)}
    middle = f"{figures.ms(named['p25'])} to {figures.ms(named['p75'])} ms"
    wide = f"{figures.ms(named['p5'])} to {figures.ms(named['p95'])} ms"
    return {**named, "median": f"{figures.ms(named['p50'])} ms", "middle": middle, "wide": wide, "n": latency.samples}


def _box_tooltip() -> list[dict[str, Any]]:
    titles = (("id", "variant"), ("median", "median"), ("middle", "middle half"), ("wide", "p5 to p95"))
    return [*(_field(f"{name}:N", title=title) for name, title in titles), _field("n:Q", title="samples")]


def _field(named: str, **more: Any) -> dict[str, Any]:
    """Return a channel of an encoding: "saved:Q" is the field `saved`, a quantity; N is a name."""
    name, _, kind = named.partition(":")
    return {"field": name, "type": _TYPES[kind], **more}


def _layer(
    mark: str, encoding: dict[str, Any], data: list[dict[str, Any]] | None = None, only: str = "", **style: Any
) -> dict[str, Any]:
    """Return marks of one kind for the rows of `data` (default: the plot's own) that meet the expression `only`."""
    layer: dict[str, Any] = {"mark": {"type": mark, **style}, "encoding": encoding}
    if data is not None:
        layer["data"] = {"values": data}
    if only:
        layer["transform"] = [{"filter": only}]
    return layer


def _spec(layers: list[dict[str, Any]], rows: list[dict[str, Any]], description: str, height: int) -> dict[str, Any]:
    """Return the layers over their common `rows`. The page has the colors, for light and dark mode."""
    return {
        "$schema": _SCHEMA, "description": description, "width": "container", "height": height,
        "data": {"values": rows}, "layer": layers,
    }  # fmt: skip
