"""The choice: the fastest variant that is confirmed within the budget, or the reason why there is none.

The steps, in order:

1. Keep the measured variants that are within the budget: they meet every term and have no error in the audit.
2. Keep those that are *confirmed* within the budget: the less favorable bound of each score's interval meets its term
   (`budget.standing`). If none is confirmed, keep all of step 1.
3. Keep the fastest, and all that are not measurably slower, by the rounds that both were measured in. A ratio up to
   `TIE` always counts as equal. A ratio above `WORTH` always counts as slower, because a wide interval then shows a
   busy machine and not two equal variants.
4. Remove each variant that another one is measurably more accurate than, image by image.
5. Prefer uniform precision to mixed precision, which is harder to understand and to repeat.
6. If the accuracy is confirmed, choose the variant with less memory. Otherwise, and for equal memory, choose the one
   whose accuracy is closest to confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from edgewright import tasks
from edgewright.core.statistics import Estimate
from edgewright.tasks.scores import Accuracy, unpack

from . import metrics
from .budget import Budget, check, describe, is_proven, judges, standing
from .figures import quantity
from .results import Choice, Finding, Measurement, Reference, Term, Unproven, faster
from .sample_size import images_to_decide

TIE = 1.03
"""Medians within this factor count as equal. Copies of one file, measured in one run, differ as much."""
LIGHTER = 1.05
"""Memory within this factor counts as equal."""
WORTH = 1.05
"""A variant that is faster by more than this factor counts as faster in any case. If it is inconclusive, it is named.
"""

Compare = Callable[[Measurement, Measurement], Estimate | None]
"""Returns how much more accurate the first is than the second, paired. Above zero is better. Each bound is one-sided at
95%."""


def paired(one: Measurement, other: Measurement) -> Estimate | None:
    """A `Compare` with the per-image contributions to both scores. None if they are unknown."""
    ours, theirs = one.accuracy, other.accuracy
    metric = metrics.known().get(ours.primary) if ours else None
    if not (ours and theirs and ours.contributions and theirs.contributions and metric and metric.task):
        return None
    first, second = unpack(ours.contributions), unpack(theirs.contributions)
    if ours.primary != theirs.primary or len(first) != len(second):
        return None
    difference = tasks.get(metric.task).metric.difference
    return difference(first, second) if metric.at_least else difference(second, first)


def choose(
    measurements: Sequence[Measurement],
    reference: Reference | None,
    budget: Budget,
    findings: Sequence[Finding] = (),
    compare: Compare = paired,
) -> Choice:
    """Return the variant to ship by the steps above, and the reason. A pure function on plain data.

    A term with an unknown value is not met. A variant with an error in the audit is not chosen. If no variant is within
    the budget, the choice has no id, but names the nearest variant and the terms that it misses. If one of `findings`
    (on data and reference) is an error, nothing is chosen. `unproven` and `why` report inconclusive accuracy, and the
    number of images that would decide.
    """
    if codes := dict.fromkeys(finding.code for finding in findings if finding.level == "error"):
        return Choice(why=f"Nothing is chosen, because the data or the reference has an error: {', '.join(codes)}.")
    measured = [m for m in measurements if m.status == "ok" and m.latency and m.latency.p50_ms]
    sound = [m for m in measured if not _errors(m)]
    inside = [m for m in sound if all(term.status == "met" for term in check(m, reference, budget))]
    if not inside:
        return _nothing(measured, measurements, reference, budget)
    proven = [m for m in inside if standing(m.accuracy, budget) == "proven"]
    among = proven or inside
    fastest = _fastest(among)
    best = _best([m for m in among if _is_as_fast(m, fastest)], bool(proven) and budget.judges_accuracy, compare)
    unsure = sorted((m for m in inside if m not in among and _ratio(best, m).value > WORTH), key=_p50)
    unproven = [*([] if proven else [best]), *unsure[:1]]
    about = [Unproven(id=m.id, images=_needed(m, reference, budget)) for m in unproven]
    tried = sum(m.status != "skipped" for m in measurements)
    first = _lead(best, fastest, len(among), _of(len(among), tried, bool(proven), budget), compare)
    quicker = [_faster(m, best, one.images) for m, one in zip(unproven, about) if m is not best]
    doubts = _doubts(best, budget, about[0].images if about and not proven else None)
    return Choice(
        id=best.id, why=" ".join([first, *doubts, *quicker]), unproven=tuple(about),
        proven=bool(proven) if budget.judges_accuracy else None,
    )  # fmt: skip


def _best(tied: Sequence[Measurement], by_memory: bool, compare: Compare) -> Measurement:
    """Choose between variants that are equally fast: steps 4 to 6."""
    left = [m for m in tied if not any(_is_better(other, m, compare) for other in tied if other is not m)]
    left = [m for m in left if not m.float_layers] or left
    weights = [_memory(m) for m in left]
    if by_memory and all(weights):
        left = [m for m, weight in zip(left, weights) if weight <= LIGHTER * min(weights)]
    return min(left, key=lambda m: (*_lost(m), _p50(m), m.id))


def _is_better(one: Measurement, other: Measurement, compare: Compare) -> bool:
    """Whether `one` is measurably more accurate than the `other`."""
    return (found := compare(one, other)) is not None and found.low > 0


def _fastest(among: Sequence[Measurement]) -> Measurement:
    """Return the variant that no other is faster than, in paired rounds."""
    best, seen = min(among, key=lambda m: (_p50(m), m.id)), set[str]()
    while best.id not in seen:  # the order of three similar speeds can be circular
        seen.add(best.id)
        best = max(among, key=lambda m: (_ratio(best, m).value, m is best))
    return best


def _ratio(one: Measurement, other: Measurement) -> Estimate:
    """Return how many times faster the `other` is: by the rounds that both were measured in, else by medians."""
    assert one.latency and other.latency
    if found := faster(one.latency, other.latency):
        return found
    value, ours, theirs = _p50(one) / _p50(other), one.latency.p50_interval_ms, other.latency.p50_interval_ms
    if not (ours and theirs):
        return Estimate(value, value, value)
    return Estimate(value, ours.low / theirs.high, ours.high / theirs.low)


def _is_as_fast(one: Measurement, fastest: Measurement) -> bool:
    """Whether `one` is not measurably slower than the `fastest`."""
    ratio = _ratio(one, fastest)
    return one is fastest or ratio.value <= TIE or (ratio.low <= 1 and ratio.value <= WORTH)


def _memory(measurement: Measurement) -> int:
    """Return the peak memory in bytes, or the file size if it was not measured; 0 if both are unknown."""
    return measurement.peak_memory_bytes or measurement.size_bytes or 0


def _lost(measurement: Measurement) -> tuple[float, float]:
    """Sort key of accuracy without a paired comparison; lower is better. First the possible loss against the reference
    (or the score, if the loss is unknown), then the agreement with the reference."""
    accuracy = measurement.accuracy
    if accuracy is None:
        return 0.0, 0.0
    score = accuracy.score or 0.0
    lost = _loss(accuracy)
    if lost is None:
        lost = -score if _is_more_better(accuracy) else score
    return lost, -(accuracy.agreement or 0.0)


def _loss(accuracy: Accuracy) -> float | None:
    """Return the less favorable bound of the difference to the reference, as a loss; None without a difference."""
    if accuracy.delta is None:
        return None
    return -accuracy.delta.low if _is_more_better(accuracy) else accuracy.delta.high


def _is_more_better(accuracy: Accuracy) -> bool:
    metric = metrics.known().get(accuracy.primary)
    return metric is None or metric.at_least


# --- why ----------------------------------------------------------------------------------------------------------


def _lead(best: Measurement, fastest: Measurement, count: int, of: str, compare: Compare) -> str:
    if best is fastest:
        return f"The only {of}." if count == 1 else f"The fastest of {of}."
    times = f"{_p50(fastest):.3g} ms and {_p50(best):.3g} ms"
    against = _against(best, fastest, compare)
    return f"Chosen from {of}. {fastest.id} is equally fast within the uncertainty ({times}) and {against}."


def _against(best: Measurement, fastest: Measurement, compare: Compare) -> str:
    """Return why `best` is preferred to the `fastest`, which is not measurably faster."""
    if (found := compare(best, fastest)) and _is_better(best, fastest, compare):
        return f"is less accurate by {found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    if fastest.float_layers and not best.float_layers:
        return "uses mixed precision"
    if _memory(best) * LIGHTER < _memory(fastest):
        return f"needs more memory ({_memory(fastest) / 1e6:.3g} MB against {_memory(best) / 1e6:.3g} MB)"
    return "is not more accurate"


def _of(count: int, every: int, proven: bool, budget: Budget) -> str:
    if not budget.text:
        return "measured variant" if count == 1 else f"{count} measured variants"
    how = "confirmed within" if proven and budget.judges_accuracy else "within"
    some = "variant" if count == 1 else f"{count} variants"
    return f"{some} {how} the budget '{budget.text}' ({every} tried)"


def _doubts(best: Measurement, budget: Budget, images: int | None) -> Iterator[str]:
    """Yield why the choice is not certain. `images`: the number of images that would decide."""
    accuracy = best.accuracy
    terms = [limit for limit in budget.limits if judges(limit, accuracy) and not is_proven(accuracy, limit)]
    loss = _loss(accuracy) if accuracy else None
    if accuracy and terms:
        yield f"'{terms[0].text}' is met by the measured value, but inconclusive at 95% confidence."
        if loss and not terms[0].absolute:
            yield f"On {accuracy.images} images the loss may be {loss:.2f}."
        yield _would(images)
    elif accuracy and accuracy.delta and accuracy.delta.verdict == "undecided":
        metric = metrics.known().get(accuracy.primary)
        margin = quantity(accuracy.delta.margin, metric.unit if metric else "points").lstrip("+")
        yield (
            f"Accuracy against the reference is inconclusive at {accuracy.delta.confidence:.0%} confidence: "
            f"on {accuracy.images} images the loss may be {loss:.2f}, above the margin of {margin}."
        )
    if best.latency and not best.latency.valid:
        yield f"The latency of {best.id} is unreliable ({best.latency.why})."


def _faster(one: Measurement, best: Measurement, images: int | None) -> str:
    times = f"{_p50(one):.3g} ms against {_p50(best):.3g} ms"
    within = "within the budget by its measured value, but inconclusive"
    return f"{one.id} is faster ({times}). It is {within}. {_would(images)}"


def _would(images: int | None) -> str:
    if images:
        return f"About {images:,} images would decide."
    return "The value is too close to the limit for more images to decide."


def _needed(one: Measurement, reference: Reference | None, budget: Budget) -> int | None:
    return images_to_decide(one.accuracy, reference.accuracy if reference else None, budget)


def _nothing(
    measured: list[Measurement], every: Sequence[Measurement], reference: Reference | None, budget: Budget
) -> Choice:
    if not measured:
        failed, built = (sum(m.status == status for m in every) for status in ("failed", "built"))
        return Choice(why=f"No variant was measured: {failed} failed, {built} were only built.")
    checked = {m.id: check(m, reference, budget) for m in measured}
    nearest = min(measured, key=lambda m: (sum(map(_shortfall, checked[m.id])), _p50(m)))
    missed = (*_errors(nearest), *(describe(term) for term in checked[nearest.id] if term.status != "met"))
    why = f"None of {len(measured)} measured variants is within the budget '{budget.text}'. The closest: {nearest.id}."
    return Choice(why=why, nearest=nearest.id, misses=missed)


def _errors(measurement: Measurement) -> list[str]:
    """Return the errors that the audit found. A variant with an error is not chosen."""
    return [f"{finding.code}: {finding.text}" for finding in measurement.findings if finding.level == "error"]


def _shortfall(term: Term) -> float:
    """Return by how much a term is missed, relative to its limit (a difference in points: relative to one point)."""
    if term.status == "met":
        return 0.0
    if term.by is None or term.limit is None:
        return 10.0
    return abs(term.by) / max(abs(term.limit), 1.0 if term.unit == "points" else 1e-9)


def _p50(measurement: Measurement) -> float:
    assert measurement.latency and measurement.latency.p50_ms
    return measurement.latency.p50_ms
