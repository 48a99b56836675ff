"""OpenMetrics text for GitLab's ``artifacts:reports:metrics``: ``metrics.txt``.

GitLab compares the lines of a merge request with those of its target branch, as text.
"""

from __future__ import annotations

from edgewright.bench.results import Report
from edgewright.core.text import one_line

from . import values

FILE = "metrics.txt"
_UNITS = {
    "ms": ("seconds", 1e-3),
    "%": ("ratio", 1e-2),
    "bytes": ("bytes", 1.0),
    "mJ": ("joules", 1e-3),
    "1/s": ("", 1),
}
"""OpenMetrics' base units, and the factor to them."""


def render(report: Report) -> dict[str, str]:
    """Return one gauge for each figure, with a sample for each variant."""
    gauges: dict[str, list[str]] = {}
    for id, found in values.variants(report):
        labels = {"model": report.model.name, "target": report.target.name, "variant": id}
        text = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
        for value in values.of(found, report):
            unit, factor = _UNITS.get(value.unit, (value.unit, 1.0))
            name = "_".join(["edgewright", value.name, *([_word(unit)] if unit else [])])
            unit_line = [f"# UNIT {name} {_word(unit)}"] if unit else []
            lines = gauges.setdefault(name, [f"# TYPE {name} gauge", *unit_line])
            lines.append(f"{name}{{{text}}} {value.value * factor:.6g}")
    return {FILE: "\n".join([*(line for lines in gauges.values() for line in lines), "# EOF", ""])}


def _word(unit: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in unit)


def _escaped(text: str) -> str:
    return one_line(text).replace("\\", "\\\\").replace('"', '\\"')
