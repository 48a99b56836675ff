"""The report and the table of sensitivities, each as one HTML file with its styles, plots and JavaScript inside.

A page's content security policy forbids all requests and all scripts except ours, which it names by hash. The templates
escape names and reasons from outside.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from edgewright import tasks
from edgewright.core import files
from edgewright.core.errors import EdgewrightError
from edgewright.core.lazy import require, version
from edgewright.core.store import Store
from edgewright.core.text import plain

from . import figures, plots
from .budget import describe
from .gallery import Pair
from .history import Run
from .results import Report, Sensitivity

_SCRIPT = "vega.js"


def write(report: Report, path: Path, gallery: Sequence[Pair] = ()) -> None:
    """Write the report to `path`, atomically, with the pictures of the `gallery`."""
    files.write(path, render(report, gallery))


def render(report: Report, gallery: Sequence[Pair] = ()) -> str:
    """Return the report as a page for light and dark mode and small screens: about 1 MB, mostly plotting code."""
    charts = {"pareto": plots.pareto(report), "latencies": plots.latencies(report)}
    return _page(
        "report.html.j2",
        charts,
        report=report,
        describe=describe,
        rows=figures.by_speed(report),
        doubts=figures.doubts(report),
        gallery=gallery,
        task=tasks.get(report.model.task).report,
    )


def sensitivity(found: Sensitivity) -> str | None:
    """Return a page with the plot and table of sensitivity against saved time, or None without times."""
    plot = plots.sensitivity(found)
    if plot is None:
        return None
    rows = sorted(found.layers or found.blocks, key=lambda row: row.alone.sqnr_db)
    saved = [row.saved_ms for row in rows if row.saved_ms is not None]
    slower = sum(ms < 0 for ms in saved)
    return _page("sensitivity.html.j2", {"sensitivity": plot}, found=found, rows=rows, saved=sum(saved), slower=slower)


def history(runs: Sequence[Run]) -> str:
    """Return a page with a plot of each figure over the runs of a history."""
    charts = plots.history(runs)
    return _page("history.html.j2", charts, runs=runs, charts_of=list(charts))


def _page(template: str, charts: dict[str, dict[str, Any] | None], **values: Any) -> str:
    jinja = require("jinja2", "host")
    environment = jinja.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja.StrictUndefined, finalize=_printable,
        loader=jinja.FunctionLoader(lambda name: resources.files("edgewright.bench").joinpath(name).read_text("utf-8")),
    )  # fmt: skip
    drawn = {name: _inline(spec) for name, spec in charts.items() if spec}
    script = _library() if drawn else ""
    page: str = environment.get_template(template).render(
        **values, figures=figures, charts=drawn, script=script, policy=_policy
    )
    return page


def _printable(value: Any) -> Any:
    """Return a template's value for the page: text from outside without control characters, as on a terminal."""
    return plain(value) if type(value) is str else value


def _policy(*scripts: str) -> str:
    """Return the content security policy of a page with only these scripts.

    Plots need no ``eval`` (vega-embed's option ``ast``), but they set inline styles.
    """
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts if script)
    return "; ".join(
        (
            "default-src 'none'",
            "script-src " + " ".join(f"'sha256-{found}'" for found in hashes),
            "style-src 'unsafe-inline'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


@functools.cache
def _library() -> str:
    """Return Vega, Vega-Lite and vega-embed as one script that needs no network.

    Bundling takes seconds, so the store keeps the result.
    """
    try:
        kept = Store().stage("plots", {"vl-convert": version("vl-convert-python")}, _keep_bundle).path
        return (kept / _SCRIPT).read_text("utf-8")
    except (OSError, EdgewrightError):  # the store is not writable
        return _bundle()


def _keep_bundle(folder: Path) -> None:
    (folder / _SCRIPT).write_text(_bundle(), "utf-8")


def _bundle() -> str:
    script: str = require("vl_convert", "host").javascript_bundle()
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _inline(spec: dict[str, Any]) -> str:
    """Return JSON that cannot end its script element."""
    text = json.dumps(_printable_deep(spec), separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _printable_deep(value: Any) -> Any:
    if isinstance(value, dict):
        return {plain(key): _printable_deep(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_printable_deep(item) for item in value]
    return _printable(value)
