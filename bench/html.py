"""The report and the table of sensitivities, each as one HTML file that needs nothing else: styles, plots and their
JavaScript are inside.

A page's content security policy forbids every request and every script but ours, which it names by hash. Names and
reasons from outside are escaped by the templates.
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
from .results import Report, Sensitivity

_SCRIPT = "vega.js"


def write(report: Report, path: Path, gallery: Sequence[Pair] = ()) -> None:
    """Write the report to `path`, atomically; with the pictures of the `gallery`, if there are some."""
    files.write(path, render(report, gallery))


def render(report: Report, gallery: Sequence[Pair] = ()) -> str:
    """The report as a page, in light and dark, readable on a phone; about 1 MB, nearly all of it the plots' library."""
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
    """The plot and table of sensitivity against time saved as a page of its own; None without times."""
    plot = plots.sensitivity(found)
    if plot is None:
        return None
    rows = sorted(found.layers or found.blocks, key=lambda row: row.alone.sqnr_db)
    saved = [row.saved_ms for row in rows if row.saved_ms is not None]
    slower = sum(ms < 0 for ms in saved)
    return _page("sensitivity.html.j2", {"sensitivity": plot}, found=found, rows=rows, saved=sum(saved), slower=slower)


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
    """What a template prints: text from outside without control characters, as on a terminal."""
    return plain(value) if type(value) is str else value


def _policy(*scripts: str) -> str:
    """The content security policy of a page with these scripts and no others.

    Plots need no ``eval`` (vega-embed's option ``ast``), but set their styles inline.
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
    """Vega, Vega-Lite and vega-embed in one script that needs no network.

    To bundle them takes seconds: that is done once, and kept in the store.
    """
    try:
        kept = Store().stage("plots", {"vl-convert": version("vl-convert-python")}, _keep_bundle).path
        return (kept / _SCRIPT).read_text("utf-8")
    except (OSError, EdgewrightError):  # nowhere to keep it
        return _bundle()


def _keep_bundle(folder: Path) -> None:
    (folder / _SCRIPT).write_text(_bundle(), "utf-8")


def _bundle() -> str:
    script: str = require("vl_convert", "host").javascript_bundle()
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _inline(spec: dict[str, Any]) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(_printable_deep(spec), separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _printable_deep(value: Any) -> Any:
    if isinstance(value, dict):
        return {plain(key): _printable_deep(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_printable_deep(item) for item in value]
    return _printable(value)
