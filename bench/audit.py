"""The audit: what a mean accuracy does not show. Each check is a pure function that returns one `Finding`.

Answers are what `worker.predict` writes: of a classifier the first output (images, classes), of a detector its boxes
(boxes, 7). How alike two sets of answers are the task's metric says: in SQNR (dB) for a classifier, for a detector in
percent of the boxes that are found again. docs/reference/audit.md lists the checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from edgewright import tasks
from edgewright.core import statistics
from edgewright.core.errors import EdgewrightError, GateFailed, InvalidInput, RuntimeFailed
from edgewright.core.spec import ModelSpec

from .results import Finding

KINDS: dict[str, type[EdgewrightError]] = {
    "saturation": GateFailed, "confidence": GateFailed, "runtime-parity": RuntimeFailed, "batch-rows": RuntimeFailed,
    "batch-size": RuntimeFailed, "calibration-leak": InvalidInput,
}  # fmt: skip
"""What an "error" of a check ends the `audit` verb with."""

Precision = Literal["int8", "f32", "bf16", "f16"]
Level = Literal["ok", "warning", "error"]


class Limits(NamedTuple):
    """From which likeness on a check warns, and from which on it is an error: in dB, and in percent of the answers."""

    warning_db: float
    error_db: float
    warning_percent: float
    error_percent: float


PARITY: dict[Precision, Limits] = {
    "f32": Limits(60.0, 40.0, 99.0, 97.0),
    "f16": Limits(25.0, 12.0, 90.0, 75.0),
    "bf16": Limits(12.0, 6.0, 90.0, 75.0),
    "int8": Limits(18.0, 12.0, 85.0, 70.0),
}
"""A runtime against the exact computation of its graph. In INT8 values that stand between two steps of a grid fall to
either side, and one that fell differently moves others: healthy files of the zoo keep 26 to 44 dB, bf16 19 to 50."""

SATURATION = Limits(30.0, 20.0, 97.0, 90.0)
"""Answers with the sums cut to 16 bits against the exact ones; of a file with 7-bit weights they are equal."""

BATCH: dict[Precision, tuple[float, float]] = {
    "f32": (80.0, 60.0),
    "f16": (40.0, 25.0),
    "bf16": (35.0, 20.0),
    "int8": (30.0, 15.0),
}
"""dB: raw outputs of one image in another place or size of a batch. In float another order of additions costs the last
of its 24 bits (140 dB); in INT8 the same may let a value between two steps fall to the other side, so that a few of
some ten thousand values are one step off."""


def error(findings: Iterable[Finding]) -> EdgewrightError | None:
    """What the gravest of `findings` ends a command with; None where none is an error."""
    wrong = [finding for finding in findings if finding.level == "error"]
    if not wrong:
        return None
    more = f" And {len(wrong) - 1} more." if len(wrong) > 1 else ""
    first = wrong[0]
    fix = "See docs/reference/audit.md for what to do."
    return KINDS[first.code](f"{first.code}: {first.text}{more}", "", fix)


def split(found: Iterable[Finding]) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """`found` as (what a reader should know, checks that were passed)."""
    every = list(found)
    return tuple(f for f in every if f.level != "ok"), tuple(f for f in every if f.level == "ok")


def census(asked: Mapping[str, int], described: Mapping[str, Any]) -> Finding:
    """Whether the layers that a file quantizes run in INT8.

    `asked`: layers by precision as the graph has them (`graph.census.layers`); `described`: the runtime's own account.
    Where a runtime's INT8 kernels are wrong and none was used, that is the finding (`int8-kernels`).
    """
    ran: Mapping[str, int] = described.get("layers", {})
    if fault := described.get("unfused"):
        text = f"{asked.get('int8', 0)} quantized layers run in float, which is slower but not less accurate. {fault}"
        return Finding(level="warning", code="int8-kernels", text=text)
    words = ", ".join(f"{count} {kind}" for kind, count in sorted(ran.items())) or "none"
    reorders = f"{described.get('reorders', 0)} reorders or conversions"
    lost, every = asked.get("int8", 0) - ran.get("int8", 0), sum(asked.values())
    if asked.get("int8") and 2 * ran.get("int8", 0) < every:
        run = f"{ran.get('int8', 0)} of {every} layers run in INT8; the file quantizes {asked['int8']}."
        text = f"{run} Executed: {words}; {reorders}."
        return Finding(level="warning", code="census", text=text)
    if lost > 0:
        text = f"{lost} of {asked['int8']} quantized layers do not run in INT8. Executed: {words}; {reorders}."
        return Finding(level="warning", code="census", text=text)
    return Finding(level="ok", code="census", text=f"All layers run in the precision of the file: {words}; {reorders}.")


def saturation(saturated: np.ndarray, exact: np.ndarray, pairs: int, spec: ModelSpec) -> Finding:
    """How much 16-bit sums, as on x86 without VNNI, change the answers against exact sums."""
    if not pairs:
        return Finding(level="ok", code="saturation", text="No sum of two products can overflow 16 bits.")
    text = f"Without VNNI {pairs} pairs of weights can overflow 16 bits. Against exact sums: {{}}."
    return _alike("saturation", saturated, exact, SATURATION, spec, text)


def parity(answered: np.ndarray, expected: np.ndarray, precisions: Sequence[Precision], spec: ModelSpec) -> Finding:
    """How near the runtime's answers are to what its graph says, computed without any fusion; in what it computes."""
    limits = min(PARITY[precision] for precision in precisions)
    return _alike("runtime-parity", answered, expected, limits, spec, "Runtime against ONNX graph: {}.")


def batch(
    code: Literal["batch-rows", "batch-size"], pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    precisions: Sequence[Precision], what: str,
) -> Finding:  # fmt: skip
    """Whether raw outputs of the same images agree, each a pair; `what` says how they were made."""
    worst = min(statistics.sqnr_db(found, truth) for truth, found in pairs)
    limits = min(BATCH[precision] for precision in precisions)
    same = "equal" if worst == statistics.MAX_SQNR_DB else f"similar to {worst:.1f} dB"
    return _graded(code, worst, limits, f"{what}: outputs are {same} (limit: {limits[0]:.0f} dB).")


def confidence(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Finding:
    """How the confidence moved: of a classifier in its first answer, of a detector in the boxes found again."""
    moved = tasks.of(spec).metric.confidence(answers, reference, spec)
    if moved is None:
        text = "The reference has no answer with a score high enough to compare."
        return Finding(level="ok", code="confidence", text=text)
    limits, against = moved.limits, f"reference: {moved.before:.3f}; allowed shift: {moved.limits[0]:g}"
    text = f"The mean score of {moved.what} is {moved.after:.3f} ({against})."
    return _graded("confidence", -abs(moved.after - moved.before), (-limits[0], -limits[1]), text)


def _graded(code: str, value: float, limits: tuple[float, float], text: str) -> Finding:
    """A finding on `value`, of which more is better: fine from the first of `limits` on, an error below the second."""
    level: Level = "ok" if value >= limits[0] else "warning" if value >= limits[1] else "error"
    return Finding(level=level, code=code, text=text)


def _alike(
    code: str, answers: np.ndarray, reference: np.ndarray, limits: Limits, spec: ModelSpec, text: str
) -> Finding:
    same, what, db = tasks.of(spec).metric.likeness(answers, reference, spec)
    if db is None:
        text = text.format(f"{same:.1f}% of {what} match")
        return _graded(code, same, (limits.warning_percent, limits.error_percent), text)
    near = "equal scores" if db == statistics.MAX_SQNR_DB else f"SQNR {db:.1f} dB"
    text = text.format(f"same answer for {same:.1f}% of {what}, {near}")
    return _graded(code, db, (limits.warning_db, limits.error_db), text)
