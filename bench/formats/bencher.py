"""Bencher Metric Format: ``bencher.json``. Names of measures are those of Bencher where it has them."""

from __future__ import annotations

import msgspec

from edgewright.bench.results import Report

from . import values

FILE = "bencher.json"


def render(report: Report) -> dict[str, str]:
    """Return each figure of each variant with the ends of its interval. Latency is in nanoseconds, as Bencher's."""
    found = {}
    for id, measured in values.variants(report):
        name = f"{report.model.name}/{report.target.name}/{id}"
        found[name] = {_measure(value): _metric(value) for value in values.of(measured, report)}
    return {FILE: msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n"}


def _measure(value: values.Value) -> str:
    return {"p50": "latency", "size": "file-size"}.get(value.name, value.name.replace("_", "-"))


def _metric(value: values.Value) -> dict[str, float]:
    factor = 1e6 if value.unit == "ms" else 1.0
    found = {"value": value.value * factor}
    if value.low is not None and value.high is not None:
        found |= {"lower_value": value.low * factor, "upper_value": value.high * factor}
    return found
