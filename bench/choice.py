"""The choice: the fastest variant inside the budget, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgewright.core.statistics import ratio_of_rounds

from . import metrics
from .budget import Budget, check, describe
from .figures import quantity
from .results import Choice, Finding, Measurement, Reference, Term

PRECISE = ("f32", "f16", "bf16")
TIE = 1.02
"""Medians closer than this factor count as equal: repeated runs on one machine differ by as much."""


def choose(
    measurements: Sequence[Measurement], reference: Reference | None, budget: Budget, findings: Sequence[Finding] = ()
) -> Choice:
    """The fastest measured variant inside the budget, by median latency (p50, which has the narrowest interval).

    Of those within 2 % of the fastest the more precise is taken, then the one closer to the reference; that a still
    more precise one may be as fast is in `why`. Mixed precision is left out unless it is faster than each uniform
    variant beyond doubt, by the rounds that both were measured in, and by more than 2 %. An unknown term is not met,
    and what the audit found in error is left out. Where nothing is inside, the choice has no id, and names the nearest
    variant and what it misses. With an error among the `findings` on data and reference nothing is chosen.
    """
    if codes := dict.fromkeys(finding.code for finding in findings if finding.level == "error"):
        return Choice(why=f"Nothing is chosen, since the data or the reference is in error: {', '.join(codes)}.")
    measured = [m for m in measurements if m.status == "ok" and m.latency and m.latency.p50_ms]
    sound = [m for m in measured if not _errors(m)]
    inside = [m for m in sound if all(term.status == "met" for term in check(m, reference, budget))]
    if not inside:
        return _nothing(measured, measurements, reference, budget)
    uniform = [m for m in inside if not m.float_layers]
    proven = [m for m in inside if not any(_may_be_as_fast(u, m) for u in uniform if m.float_layers)]
    fastest = min(proven, key=_p50)
    equal = [m for m in proven if _p50(m) <= TIE * _p50(fastest)]
    best = min(equal, key=lambda m: (_rank(m), -_closeness(m), _p50(m), m.id))
    of = f"{len(inside)} of {len(measurements)} variants inside '{budget.text}'"
    why = f"The fastest of {of if budget.text else f'{len(measured)} measured variants'}"
    if best is not fastest:
        times = f"{_p50(fastest):.3g} against {_p50(best):.3g} ms"
        why += f"; {fastest.id} is not faster by more than {TIE - 1:.0%} ({times}) and no more precise"
    passed = min(inside, key=_p50)
    if passed.float_layers and passed not in proven:
        name = f"{passed.id}, in mixed precision ({_p50(passed):.3g} ms)"
        why += f"; {name}, is not faster than a uniform variant beyond doubt"
    rivals = sorted((m for m in proven if _rank(m) < _rank(best) and _may_be_as_fast(m, best)), key=_p50)
    return Choice(id=best.id, why=" ".join([f"{why}.", *_doubts(best, rivals)]))


def _doubts(best: Measurement, rivals: Sequence[Measurement]) -> Iterator[str]:
    """What the choice rests on that is not proven; `rivals` are more precise and may be as fast."""
    if rivals:
        times = f"{_p50(best):.3g} against {_p50(rivals[0]):.3g} ms"
        yield f"That it is faster than {rivals[0].id}, which is more precise, is not beyond doubt ({times})."
    delta = best.accuracy.delta if best.accuracy else None
    if best.accuracy and delta and delta.verdict == "undecided":
        metric = metrics.known().get(best.accuracy.primary)
        margin = quantity(delta.margin, metric.unit if metric else "points").lstrip("+")
        worst = delta.high if metric and not metric.at_least else -delta.low
        yield (
            f"That it loses at most {margin} is not proven with {delta.confidence:.0%} confidence: "
            f"on {best.accuracy.images} images the loss may be {worst:.2f}."
        )
    if best.latency and not best.latency.valid:
        yield f"Its latency is no firm evidence: {best.latency.why}."


def _nothing(
    measured: list[Measurement], every: Sequence[Measurement], reference: Reference | None, budget: Budget
) -> Choice:
    if not measured:
        failed = sum(m.status == "failed" for m in every)
        return Choice(why=f"No variant was measured: {failed} failed, {len(every) - failed} were only built.")
    checked = {m.id: check(m, reference, budget) for m in measured}
    nearest = min(measured, key=lambda m: (sum(map(_shortfall, checked[m.id])), _p50(m)))
    missed = (*_errors(nearest), *(describe(term) for term in checked[nearest.id] if term.status != "met"))
    why = f"None of {len(measured)} measured variants is inside '{budget.text}'; {nearest.id} comes nearest."
    return Choice(why=why, nearest=nearest.id, misses=missed)


def _errors(measurement: Measurement) -> list[str]:
    """What the audit found in error: such a variant is not chosen."""
    return [f"{finding.code}: {finding.text}" for finding in measurement.findings if finding.level == "error"]


def _shortfall(term: Term) -> float:
    """How far a term is missed, relative to its limit (differences in points: to one point)."""
    if term.status == "met":
        return 0.0
    if term.by is None or term.limit is None:
        return 10.0
    return abs(term.by) / max(abs(term.limit), 1.0 if term.unit == "points" else 1e-9)


def _p50(measurement: Measurement) -> float:
    assert measurement.latency and measurement.latency.p50_ms
    return measurement.latency.p50_ms


def _may_be_as_fast(one: Measurement, other: Measurement) -> bool:
    """Whether the median of `one` is within 2 % of the `other`'s, or cannot be told from it."""
    if _p50(one) <= TIE * _p50(other):
        return True
    assert one.latency and other.latency
    ratio = ratio_of_rounds(one.latency.rounds_p50_ms, other.latency.rounds_p50_ms)
    if ratio:
        return ratio.low <= 1
    ours, theirs = one.latency.p50_interval_ms, other.latency.p50_interval_ms  # too few rounds
    return bool(ours and theirs and ours.low <= theirs.high)


def _rank(measurement: Measurement) -> int:
    """0 for float32, 1 for half precisions, 2 for anything quantized, 3 for mixed precision, which must be faster."""
    if measurement.float_layers:
        return 3
    if measurement.scheme or measurement.precision not in PRECISE:
        return 2
    return min(PRECISE.index(measurement.precision), 1)


def _closeness(measurement: Measurement) -> float:
    accuracy = measurement.accuracy
    return (accuracy.agreement if accuracy else None) or 0.0
