"""Latencies in the file format of pytest-benchmark 5.3: ``pytest-benchmark.json``. Times are in seconds.

``pytest-benchmark compare``, ``--between``, ``--group-by`` and ``--benchmark-compare`` read it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from edgewright.bench.results import Latency, Report
from edgewright.core.lazy import version

from . import values

FILE = "pytest-benchmark.json"
FORMAT = "5.3.1"
"""The version of pytest-benchmark whose fields these are."""


def render(report: Report) -> dict[str, str]:
    """Return one benchmark for each variant with a latency. The group is the model and the target."""
    benchmarks = [
        _benchmark(id, found.latency, report)
        for id, found in values.variants(report)
        if found.latency and found.latency.quantiles_ms
    ]
    machine = report.environment
    content = {
        "machine_info": {
            "node": "", "processor": machine.arch, "machine": machine.arch, "system": machine.os or "",
            "release": machine.release or "", "python_version": machine.python or "", "python_build": [],
            "python_compiler": "", "python_implementation": "CPython", "python_implementation_version": "",
            "cpu": {"brand_raw": machine.cpu, "arch": machine.arch, "count": machine.cores, "flags": list(machine.isa)},
        },
        "commit_info": {
            "id": "unknown", "time": None, "author_time": None, "dirty": False, "project": report.model.name,
            "branch": "(unknown)",
        },
        "benchmarks": benchmarks,
        "datetime": report.created,
        "version": FORMAT,
    }  # fmt: skip
    return {FILE: msgspec.json.format(msgspec.json.encode(content), indent=4).decode() + "\n"}


def _benchmark(id: str, latency: Latency, report: Report) -> dict[str, Any]:
    return {
        "group": values.title(report),
        "name": id,
        "fullname": f"{report.model.name}/{report.target.name}/{id}",
        "params": {"model": report.model.name, "target": report.target.name, "variant": id},
        "param": id,
        "extra_info": {"edgewright": version("edgewright"), "reliable": latency.valid, "why": latency.why},
        "options": {
            "disable_gc": False, "timer": "perf_counter", "min_rounds": 1, "max_time": 1.0, "min_time": 0.0,
            "warmup": True,
        },
        "stats": _stats(latency),
    }  # fmt: skip


def _stats(latency: Latency) -> dict[str, Any]:
    """Return the statistics of a latency. A report has 101 quantiles of the samples: what pytest-benchmark counts and
    squares over all samples is computed over these."""
    quantiles = np.asarray(latency.quantiles_ms) / 1e3
    low, middle, high = np.quantile(quantiles, (0.25, 0.5, 0.75))
    mean = latency.mean_ms / 1e3 if latency.mean_ms else float(quantiles.mean())
    deviation, width = float(quantiles.std(ddof=1)) if len(quantiles) > 1 else 0.0, float(high - low)
    inside = quantiles[(quantiles >= low - 1.5 * width) & (quantiles <= high + 1.5 * width)]
    apart = round((1 - len(inside) / len(quantiles)) * latency.samples)
    far = round(float((np.abs(quantiles - mean) > deviation).mean()) * latency.samples)
    return {
        "min": float(quantiles[0]), "max": float(quantiles[-1]), "mean": mean, "stddev": deviation,
        "rounds": latency.samples, "median": latency.p50_ms / 1e3 if latency.p50_ms else float(middle), "iqr": width,
        "q1": float(low), "q3": float(high),
        "iqr_outliers": apart, "stddev_outliers": far, "outliers": f"{far};{apart}",
        "ld15iqr": float(inside.min()), "hd15iqr": float(inside.max()), "ops": 1 / mean,
        "total": latency.duration_s or mean * latency.samples, "iterations": 1,
    }  # fmt: skip
