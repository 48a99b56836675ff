"""Parity: compares the outputs of the exported model with those of the original, with the worst image of each
measure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from edgewright import tasks
from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import ModelSpec

COSINE = 0.9999
RELATIVE = 1e-3
"""Float32 with reordered sums stays below 1e-5; at 1e-3 a layer computes something else."""
AGREEMENT = 1.0
EQUAL = 0.99
"""The smallest share of equal integers: where two values are nearly equal, rounding decides an ArgMax."""
_AT_MOST = ("max_abs", "max_relative")
HALF_COSINE = 0.999
HALF_RELATIVE = 2e-2
"""The limit for an original in FP16 or BF16, which rounds every tensor to 11 or 8 bits; the exported model does not."""


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One measure: the worst value over all images, its limit, and the image with that value."""

    value: float
    limit: float
    worst: str


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """The content of parity.json; `measures` are from `measure`. `reference_batch` None: dynamic, or no reference."""

    schema_version: int = 1
    reference: str
    candidate: str
    weights: str
    images: str | tuple[str, ...]
    measures: dict[str, Measure]
    reference_batch: int | None = None
    notes: tuple[str, ...] = ()


def measure(
    reference: np.ndarray, candidate: np.ndarray, names: Sequence[str], spec: ModelSpec, half: bool = False
) -> dict[str, Measure]:
    """Compare two arrays of outputs (images, values): cosine, max_abs, max_relative, and the measures of the task (for
    class scores top1_agreement). Outputs without a fixed order are first sorted as in `reference`.

    `max_relative` is the largest difference divided by the same image's largest score. `max_abs` may reach 1e-3 of the
    largest score of all images. Two classes closer than twice that are a tie: either counts as the same top-1. `half`:
    the reference computes in FP16 or BF16, so the limits are wider. Raises `InvalidInput` if the reference is not
    finite.
    """
    at_least, at_most = (HALF_COSINE, HALF_RELATIVE) if half else (COSINE, RELATIVE)
    loss = tasks.of(spec).loss
    a, b = (np.asarray(x, np.float64) for x in (reference, loss.align(reference, candidate, spec)))
    if a.shape != b.shape:
        raise RuntimeFailed(
            f"The exported model gives scores of shape {list(b.shape)}, the original {list(a.shape)}.",
            "The export changed the computation.",
            "Report it with the source's name.",
        )
    if not np.isfinite(a).all():
        bad = names[int(np.argmin(np.isfinite(a).all(1)))]
        raise InvalidInput(
            f"The original model gives NaN or infinity for {bad}.",
            "An exported model cannot be compared with it.",
            "Check the checkpoint and the preprocessing.",
        )
    gap = np.where(np.isfinite(b), np.abs(a - b), np.inf).max(1)
    b = np.where(np.isfinite(b), b, 0.0)
    largest = np.abs(a).max(1)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = np.where(norms > 0, (a * b).sum(1) / np.maximum(norms, 1e-300), (gap == 0).astype(float))
    limit = max(at_most * float(largest.max()), 1e-6)
    relative = gap / np.maximum(largest, 1e-6)
    found = {
        "cosine": _measure(cosine, int(cosine.argmin()), at_least, names),
        "max_abs": _measure(gap, int(gap.argmax()), limit, names),
        "max_relative": _measure(relative, int(relative.argmax()), at_most, names),
    }
    for name, same in loss.same(a, b, 2 * limit).items():
        found[name] = Measure(value=float(same.mean()), limit=AGREEMENT, worst=names[int(same.argmin())])
    return found


def measure_each(
    reference: Sequence[np.ndarray], candidate: Sequence[np.ndarray], names: Sequence[str], spec: ModelSpec,
    half: bool = False,
) -> dict[str, Measure]:  # fmt: skip
    """Compare lists of outputs, each (images, values), as `measure` does for all of them together.

    For a task of any outputs each one is compared alone, because a large output would hide a small one; the worst
    values count. Integers must be equal: `equal` is the share of equal values.
    """
    if not spec.task.ANY:
        return measure(np.concatenate(reference, axis=1), np.concatenate(candidate, axis=1), names, spec, half)
    found: dict[str, Measure] = {}
    for output, a, b in zip(spec.outputs, reference, candidate, strict=True):
        labels = [f"{name}, output {output}" for name in names]
        if a.dtype.kind == "f":
            measures = measure(a, b, labels, spec, half)
        else:
            same = (a == b).mean(1) if a.shape == b.shape else np.zeros(len(a))
            measures = {"equal": _measure(same, int(same.argmin()), EQUAL, labels)}
        for name, one in measures.items():
            known = found.get(name)
            # Limits of differences depend on the output, so the ratio to the limit decides.
            if known is None or _badness(name, one) > _badness(name, known):
                found[name] = one
    return found


def _badness(name: str, one: Measure) -> float:
    return one.value / one.limit if name in _AT_MOST else -one.value


def require(measures: dict[str, Measure], what: str) -> None:
    """Raise `RuntimeFailed`, which names every measure beyond its limit, its value and the worst image."""
    failed = [
        f"{name} {m.value:.6g} (limit {m.limit:.6g}, worst at {m.worst})"
        for name, m in measures.items()
        if not (m.value <= m.limit if name in _AT_MOST else m.value >= m.limit)
    ]
    if failed:
        raise RuntimeFailed(
            f"The outputs of {what} differ from those of the original: {'; '.join(failed)}.",
            "An exported model must give the same outputs up to float rounding.",
            "Try --batch 1, and report the source's name.",
        )


def _measure(values: np.ndarray, worst: int, limit: float, names: Sequence[str]) -> Measure:
    value = float(values[worst])
    return Measure(value=value if np.isfinite(value) else 1e308, limit=limit, worst=names[worst])
