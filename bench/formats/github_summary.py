"""The Markdown report for a job summary of GitHub Actions, which takes up to 1 MiB a step: ``summary.md``."""

from __future__ import annotations

from edgewright.bench import markdown
from edgewright.bench.results import Report

FILE, MOST_BYTES = "summary.md", 1024 * 1024 - 1024


def render(report: Report) -> dict[str, str]:
    """Return the Markdown report, without its details where it would be too long."""
    return {FILE: markdown.within(report, MOST_BYTES)}
