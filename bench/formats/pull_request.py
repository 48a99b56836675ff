"""The Markdown report for a comment on a pull request, which takes up to 64 kB: ``comment.md``."""

from __future__ import annotations

from edgewright.bench import markdown
from edgewright.bench.results import Report

FILE, MOST_BYTES = "comment.md", 64_000
MARK = "<!-- edgewright -->"
"""The first line, by which a later run finds its comment and replaces it."""


def render(report: Report) -> dict[str, str]:
    """Return the Markdown report after a mark, without its details where it would be too long."""
    return {FILE: f"{MARK}\n{markdown.within(report, MOST_BYTES - len(MARK) - 1)}"}
