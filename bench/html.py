"""The report as one HTML file that needs nothing else: styles, plots and their JavaScript are inside.

The page's content security policy forbids every request, so that it cannot load anything even by mistake; names and
reasons from outside are escaped by the template.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from edgewright.bench import figures, plots
from edgewright.bench.budget import describe
from edgewright.bench.gallery import Pair
from edgewright.bench.results import Report, Sensitivity
from edgewright.core import files
from edgewright.core.lazy import require

TEMPLATE = "report.html.j2"


def write(report: Report, path: Path, gallery: Sequence[Pair] = ()) -> None:
    """Write the report to `path`, atomically; with the pictures of a detector's `gallery`, if there are some."""
    files.write(path, render(report, gallery))


def render(report: Report, gallery: Sequence[Pair] = ()) -> str:
    """The report as a page, in light and dark, readable on a phone; about 1 MB, nearly all of it the plots' library."""
    jinja = require("jinja2", "host")
    template = resources.files("edgewright.bench").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = jinja.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja.StrictUndefined
    )
    charts = {"pareto": plots.pareto(report), "latencies": plots.latencies(report)}
    for number, found in enumerate(report.search.tables if report.search else ()):
        charts[f"blocks{number}"] = plots.sensitivity(found)
    page: str = environment.from_string(template).render(
        report=report,
        figures=figures,
        describe=describe,
        rows=figures.by_speed(report),
        doubts=figures.doubts(report),
        gallery=gallery,
        charts={name: _inline(spec) for name, spec in charts.items() if spec},
        script=_library() if any(charts.values()) else "",
    )
    return page


def sensitivity(found: Sensitivity) -> str | None:
    """The plot of damage against time saved as a page of its own, which needs no network; None without times."""
    spec = plots.sensitivity(found)
    if spec is None:
        return None
    spec["title"] = f"{found.id} against {found.float_id}: damage against time saved"
    page: str = require("vl_convert", "host").vegalite_to_html(spec, bundle=True)
    return page


@functools.cache
def _library() -> str:
    """Vega, Vega-Lite and vega-embed in one script that needs no network."""
    script: str = require("vl_convert", "host").javascript_bundle()
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _inline(spec: dict[str, Any]) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(spec, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
