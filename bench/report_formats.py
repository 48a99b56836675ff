"""The formats of reports for CI systems and benchmark tools, by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import NamedTuple

from edgewright.core.errors import UsageError

from .formats import (
    bencher,
    benchmark_action,
    github_annotations,
    github_summary,
    gitlab_codequality,
    gitlab_metrics,
    junit,
    pull_request,
    pytest_benchmark,
)
from .results import Report


class Format(NamedTuple):
    """The function of a format, and its description."""

    render: Callable[[Report], dict[str, str]]
    about: str


FORMATS = {
    "junit": Format(junit.render, "JUnit XML: a test case for each variant and term of the budget"),
    "github-summary": Format(github_summary.render, "Markdown for a job summary of GitHub Actions, below 1 MiB"),
    "github-annotations": Format(
        github_annotations.render, "commands that show errors and warnings in a run of GitHub"
    ),
    "pull-request": Format(pull_request.render, "Markdown for a comment on a pull request, below 64 kB"),
    "gitlab-metrics": Format(gitlab_metrics.render, "OpenMetrics text for GitLab's artifacts:reports:metrics"),
    "gitlab-codequality": Format(gitlab_codequality.render, "findings of the audit for artifacts:reports:codequality"),
    "pytest-benchmark": Format(pytest_benchmark.render, "latencies as pytest-benchmark stores them"),
    "benchmark-action": Format(
        benchmark_action.render, "two files for github-action-benchmark: smaller and bigger is better"
    ),
    "bencher": Format(bencher.render, "Bencher Metric Format: JSON"),
}
"""The formats by their names on the command line."""


def render(report: Report, names: Iterable[str]) -> dict[str, str]:
    """Return the content of each file of the formats `names`. Raises `UsageError` for an unknown name."""
    found: dict[str, str] = {}
    for name in names:
        if name not in FORMATS:
            near = get_close_matches(name, FORMATS, 1)
            fix = f"Did you mean {near[0]}?" if near else "Name one of them."
            raise UsageError(f"There is no report format '{name}'.", f"Formats: {', '.join(FORMATS)}.", fix)
        found |= FORMATS[name].render(report)
    return found
