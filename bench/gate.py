"""The gate: a report against a budget, and against an earlier report, with statistics rather than bare numbers."""

from __future__ import annotations

import msgspec

from edgewright.bench import budget as budgets
from edgewright.bench import statistics
from edgewright.bench.accuracy import unpack
from edgewright.bench.budget import Budget
from edgewright.bench.results import Accuracy, Latency, Measurement, Report, Term
from edgewright.core.errors import GateFailed, InvalidInput

SLOWER = 1.05
"""A latency counts as changed when the intervals are apart by more than this factor: other days differ by as much."""


class Gate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a gate found. `id` is the variant that was checked; `failures` are the reasons why it did not pass."""

    passed: bool
    id: str | None = None
    terms: tuple[Term, ...] = ()
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def gate(report: Report, budget: Budget, baseline: Report | None = None, *, id: str | None = None) -> Gate:
    """Check the chosen variant of `report` (or `id`) against `budget`, and against the chosen one of `baseline`.

    Against the baseline it fails where the variant is slower (p50 or p90 beyond both intervals and 5 %) or less
    accurate (paired, image by image, where both reports hold the same images; 95 % one-sided). A term that cannot be
    checked fails: no evidence, no pass.
    """
    found = _checked(report, id)
    if found is None:
        why = report.choice.why if report.choice else "the report holds no choice"
        misses = report.choice.misses if report.choice else ()
        return Gate(passed=False, failures=(f"nothing to check: {why}", *misses))
    terms = budgets.check(found, report.reference, budget)
    failures = [budgets.describe(term) for term in terms if term.status != "met"]
    if found.status != "ok":
        failures.append(f"{found.id} was not measured: {found.reason or found.status}")
    notes: list[str] = []
    if baseline is not None and found.status == "ok":
        _regressions(report, baseline, found, _baseline_of(baseline, found), failures, notes)
    return Gate(passed=not failures, id=found.id, terms=terms, failures=tuple(failures), notes=tuple(notes))


def enforce(result: Gate) -> None:
    """Raise `GateFailed` (exit code 1) where the gate did not pass."""
    if not result.passed:
        what = f"The gate failed for {result.id}." if result.id else "The gate failed."
        raise GateFailed(
            what, "\n".join(result.failures), "See the report; change the model, the recipe or the budget."
        )


def _checked(report: Report, id: str | None) -> Measurement | None:
    if id is None:
        return report.chosen
    try:
        return report.measurement(id)
    except KeyError:
        known = ", ".join(m.id for m in report.measurements)
        raise InvalidInput(f"The report has no variant '{id}'.", f"It has: {known}.", "Name one of these.") from None


def _baseline_of(baseline: Report, found: Measurement) -> Measurement:
    """What the baseline shipped: its choice, else the variant of the same id."""
    before = baseline.chosen or next((m for m in baseline.measurements if m.id == found.id), None)
    if before is None or before.status != "ok":
        raise InvalidInput(
            "The baseline report holds nothing to compare with.",
            f"It chose no variant, and has no measured '{found.id}'.",
            "Use a report of a run that chose a variant as baseline.",
        )
    return before


def _regressions(
    report: Report, baseline: Report, now: Measurement, before: Measurement, failures: list[str], notes: list[str]
) -> None:
    if report.environment.cpu != baseline.environment.cpu:
        notes.append(
            f"latency not compared: measured on {report.environment.cpu}, before on {baseline.environment.cpu}"
        )
    elif now.latency and before.latency:
        _slower(now.latency, before.latency, failures, notes)
    same_images = bool(
        report.data and baseline.data and report.data.digest and report.data.digest == baseline.data.digest
    )
    if now.accuracy and before.accuracy:
        _less_accurate(now.accuracy, before.accuracy, same_images, failures, notes)


def _slower(now: Latency, before: Latency, failures: list[str], notes: list[str]) -> None:
    if not (now.valid and before.valid):
        notes.append(f"latency not compared: {now.why if not now.valid else f'the baseline: {before.why}'}")
        return
    for name in ("p50", "p90"):
        ours, theirs = getattr(now, f"{name}_interval_ms"), getattr(before, f"{name}_interval_ms")
        if ours and theirs:
            change = f"{name} {getattr(before, f'{name}_ms'):.3g} -> {getattr(now, f'{name}_ms'):.3g} ms"
            if ours.low > theirs.high * SLOWER:
                failures.append(f"slower than the baseline: {change}, intervals apart by more than {SLOWER - 1:.0%}")
            elif ours.high * SLOWER < theirs.low:
                notes.append(f"faster than the baseline: {change}")


def _less_accurate(now: Accuracy, before: Accuracy, same_images: bool, failures: list[str], notes: list[str]) -> None:
    if now.score is None or before.score is None:
        notes.append("accuracy not compared: the images have no labels")
        return
    change = f"{'mAP' if now.map is not None else 'top-1'} {before.score:.2f} -> {now.score:.2f} %"
    if same_images and now.right and before.right and now.images == before.images:
        ours, theirs = unpack(now.right, now.images), unpack(before.right, before.images)
        found = statistics.paired_difference(ours, theirs)
        low, high = found.low * 100, found.high * 100
        how = f"paired on {now.images} images, 95 % bounds {low:+.2f} to {high:+.2f} points"
    elif now.top1_interval and before.top1_interval and now.top1 is not None and before.top1 is not None:
        # Newcombe's hybrid score interval for independent samples (Statistics in Medicine 17, 1998).
        a, b, value = now.top1_interval, before.top1_interval, now.top1 - before.top1
        high = value + ((a.high - now.top1) ** 2 + (before.top1 - b.low) ** 2) ** 0.5
        how = f"other images, 95 % bound {high:+.2f} points"
    else:
        notes.append("accuracy not compared: a report holds no intervals")
        return
    if high < 0:
        failures.append(f"less accurate than the baseline: {change} ({how})")
    else:
        notes.append(f"not proven less accurate than the baseline: {change} ({how})")
