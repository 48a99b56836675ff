"""The audit finds problems that mean accuracy does not show. Each check is a pure function that returns one `Finding`.

Outputs are those of `worker.predict`: for a classifier the first output (images, classes), for a detector its boxes
(boxes, 7). The task's metric computes the similarity of two sets of outputs: SQNR (dB) for a classifier, the percentage
of matched boxes for a detector. docs/reference/audit.md lists the checks.
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

DRIFTS = ("classes", "boundary", "offset", "points", "scale", "angle")
"""The codes of `tasks.scores.Drift`: differences from the reference that a task checks."""

KINDS: dict[str, type[EdgewrightError]] = {
    "saturation": GateFailed, "confidence": GateFailed, **dict.fromkeys(DRIFTS, GateFailed),
    "runtime-parity": RuntimeFailed, "batch-rows": RuntimeFailed, "batch-size": RuntimeFailed,
    "calibration-leak": InvalidInput,
}  # fmt: skip
"""The error that the `audit` verb raises if a check has the level "error"."""

Precision = Literal["int8", "f32", "bf16", "f16"]
Level = Literal["ok", "warning", "error"]


class Limits(NamedTuple):
    """Limits of similarity: below `warning` a check warns, below `error` it is an error. In dB and in percent of
    outputs."""

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
"""Limits for a runtime against the exact computation of its graph. In INT8, a value between two quantization steps can
round to either side, and this changes other values. Correct files of the zoo have 26 to 44 dB in INT8 and 19 to 50 dB
in bf16."""

SATURATION = Limits(30.0, 20.0, 97.0, 90.0)
"""Limits for outputs with sums saturated to 16 bits against exact sums. With 7-bit weights both are equal."""

BATCH: dict[Precision, tuple[float, float]] = {
    "f32": (80.0, 60.0),
    "f16": (40.0, 25.0),
    "bf16": (35.0, 20.0),
    "int8": (30.0, 15.0),
}
"""Limits in dB for raw outputs of one image at another position in a batch, or in a batch of another size. In float,
another order of additions changes the last of 24 bits (140 dB). In INT8, the same effect can round a value to the other
side, so that a few of about ten thousand values differ by one step."""


def error(findings: Iterable[Finding]) -> EdgewrightError | None:
    """Return the error of the first finding with the level "error", or None if there is none."""
    wrong = [finding for finding in findings if finding.level == "error"]
    if not wrong:
        return None
    more = f" And {len(wrong) - 1} more." if len(wrong) > 1 else ""
    first = wrong[0]
    fix = "See docs/reference/audit.md for what to do."
    return KINDS[first.code](f"{first.code}: {first.text}{more}", "", fix)


def split(found: Iterable[Finding]) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Split `found` into (findings to report, passed checks)."""
    every = list(found)
    return tuple(f for f in every if f.level != "ok"), tuple(f for f in every if f.level == "ok")


def census(asked: Mapping[str, int], described: Mapping[str, Any]) -> Finding:
    """Check that the quantized layers of a file run in INT8.

    `asked`: the number of layers of each precision in the graph (`graph.census.layers`). `described`: the runtime's
    description of what it runs. If edgewright avoids a runtime's INT8 kernels because they are incorrect, the finding
    has the code `int8-kernels`.
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
    """Check how much 16-bit sums, as on x86 without VNNI, change the outputs. `pairs`: pairs of weights that can
    overflow."""
    if not pairs:
        return Finding(level="ok", code="saturation", text="No sum of two products can overflow 16 bits.")
    text = f"Without VNNI {pairs} pairs of weights can overflow 16 bits. Against exact sums: {{}}."
    return _alike("saturation", saturated, exact, SATURATION, spec, text)


def parity(answered: np.ndarray, expected: np.ndarray, precisions: Sequence[Precision], spec: ModelSpec) -> Finding:
    """Check how similar the runtime's outputs are to the unfused computation of its graph.

    `precisions`: those that the runtime computes in. The lowest limits of them apply.
    """
    limits = min(PARITY[precision] for precision in precisions)
    return _alike("runtime-parity", answered, expected, limits, spec, "Runtime against ONNX graph: {}.")


def batch(
    code: Literal["batch-rows", "batch-size"], pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    precisions: Sequence[Precision], what: str,
) -> Finding:  # fmt: skip
    """Check that each pair of raw outputs, of the same images, is similar. `what`: how they were computed."""
    worst = min(statistics.sqnr_db(found, truth) for truth, found in pairs)
    limits = min(BATCH[precision] for precision in precisions)
    same = "equal" if worst == statistics.MAX_SQNR_DB else f"similar to {worst:.1f} dB"
    return _graded(code, worst, limits, f"{what}: outputs are {same} (limit: {limits[0]:.0f} dB).")


def against_reference(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[Finding]:
    """Check the answers against those of the float reference: the confidence scores, and what the task checks."""
    found = [confidence(answers, reference, spec)]
    for drift in tasks.of(spec).metric.drifts(answers, reference, spec):
        limits = (-drift.limits[0], -drift.limits[1])
        found.append(_graded(drift.code, -drift.value, limits, f"{drift.text} (limit: {drift.limits[0]:g})."))
    return found


def confidence(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Finding:
    """Check the shift of confidence scores: of a classifier's top class, of a detector's matched boxes."""
    moved = tasks.of(spec).metric.confidence(answers, reference, spec)
    if moved is None:
        text = "The reference has no answer with a score high enough to compare."
        return Finding(level="ok", code="confidence", text=text)
    limits, against = moved.limits, f"reference: {moved.before:.3f}; allowed shift: {moved.limits[0]:g}"
    text = f"The mean score of {moved.what} is {moved.after:.3f} ({against})."
    return _graded("confidence", -abs(moved.after - moved.before), (-limits[0], -limits[1]), text)


def _graded(code: str, value: float, limits: tuple[float, float], text: str) -> Finding:
    """A finding on `value`; more is better. From the first of `limits` on it is "ok", below the second an "error"."""
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
