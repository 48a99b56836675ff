"""The gate checks a report against a budget and against an earlier report, with statistics."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgewright.core.errors import InvalidInput, UsageError

from . import baseline as baselines
from . import budget as budgets
from . import chance
from .baseline import Comparison, Part, Reason
from .budget import Budget
from .figures import sentence
from .results import Finding, Measurement, Report, Term

Verdict = Literal["passed", "failed", "not compared"]
BOTH: tuple[Part, ...] = ("accuracy", "latency")


class Gate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of a gate; `id` is the variant that was checked.

    "failed": `failures` has the missed terms and the losses. "not compared": no check failed, but a requested
    comparison has no evidence. `not_compared` has the reasons and what to do. `passed` is true only for "passed".
    """

    verdict: Verdict
    passed: bool
    id: str | None = None
    terms: tuple[Term, ...] = ()
    failures: tuple[str, ...] = ()
    not_compared: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()


def gate(
    report: Report,
    budget: Budget,
    baseline: Report | None = None,
    *,
    id: str | None = None,
    compare: Part | None = None,
) -> Gate:
    """Check the chosen variant of `report` (or `id`) against `budget`, and against the chosen one of `baseline`.

    A term of the budget that cannot be checked fails. A report with an error in its data or reference also fails.
    Against the baseline, the gate fails in two cases:

    - The variant is less accurate: by more points than the budget allows, or, paired image by image, by more than
      chance. "More than chance" means that the 95% one-sided upper bound of the change is below zero.
    - The variant is slower: p50 or p90 is beyond both intervals and 5%, on the same machine with the same threads.

    The gate never passes without evidence. If a part is not compared and no check failed, the verdict is "not
    compared". `compare`: the part to compare (default: both). Raises `UsageError` if there is nothing to check, and
    `InvalidInput` for an unknown `id`.
    """
    _require_something(report, budget, baseline, compare)
    found = _checked(report, id)
    unsound = [f"{finding.code}: {sentence(finding)}" for finding in report.findings if _is_error(finding, budget)]
    if found is None:
        why = report.choice.why if report.choice else "The report has no choice."
        misses = report.choice.misses if report.choice else ()
        return _verdict(None, (), [*unsound, f"There is nothing to check. {why}", *misses], Comparison())
    terms = budgets.check(found, report.reference, budget)
    failures = [*unsound]
    failures += [budgets.describe(term) for term in terms if term.status != "met"]
    if found.status != "ok":
        failures.append(f"{found.id} was not measured: {found.reason or found.status}")
    compared = Comparison()
    if baseline is not None and found.status == "ok":
        parts = (compare,) if compare else BOTH
        compared = baselines.compare(report, baseline, found, budget.margin(), parts)
    return _verdict(found.id, terms, failures, compared)


def _verdict(id: str | None, terms: tuple[Term, ...], failures: list[str], compared: Comparison) -> Gate:
    every = (*failures, *compared.failures)
    verdict: Verdict = "failed" if every else "not compared" if compared.not_compared else "passed"
    return Gate(
        verdict=verdict, passed=verdict == "passed", id=id, terms=terms, failures=every,
        not_compared=compared.not_compared, notes=compared.notes,
    )  # fmt: skip


def _is_error(finding: Finding, budget: Budget) -> bool:
    """Whether a finding on data or reference is an error under `budget`, which may not be the report's own."""
    return finding.level == "error" or (finding.code == chance.CODE and budget.judges_accuracy)


def _require_something(report: Report, budget: Budget, baseline: Report | None, compare: Part | None) -> None:
    if compare not in (None, *BOTH):
        raise UsageError(f"'{compare}' cannot be compared.", f"Allowed: {', '.join(BOTH)}.", "Use one of them.")
    if compare and baseline is None:
        raise UsageError(
            f"There is no baseline to compare {compare} with.", "--compare needs a baseline.", "Add --baseline."
        )
    if not budget.limits and baseline is None:
        raise UsageError(
            "There is nothing to check.", "The report has no budget, and you gave none.", "Add --budget or --baseline."
        )
    budgets.require_task(budget, report.model.task)


def _checked(report: Report, id: str | None) -> Measurement | None:
    try:
        return report.measurement(id) if id is not None else report.chosen
    except KeyError:
        name = id if id is not None else report.choice and report.choice.id
        known = ", ".join(m.id for m in report.measurements)
        raise InvalidInput(f"The report has no variant '{name}'.", f"It has: {known}.", "Use one of these.") from None
