"""Report progress for the live table: a `Row` for a candidate, whenever there is news of it."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright import tasks
from edgewright.pipeline.candidate import Candidate
from edgewright.pipeline.score import score, standing
from edgewright.pipeline.stages.runner import Row, State
from edgewright.pipeline.state import Build, RunState


def waiting(state: RunState, candidates: Sequence[Candidate]) -> None:
    """Report the candidates that come next."""
    for candidate in candidates:
        report(state, Build(candidate=candidate))


def report(state: RunState, build: Build, p50_ms: float | None = None) -> None:
    """Report the state of `build`; `p50_ms`: its median latency in screening, in ms."""
    if not hasattr(state.runner.watch, "row"):
        return
    accuracy = score(state, build)
    found = tasks.of(state.spec).metric.SCORES[0]
    delta = accuracy.delta if accuracy else None
    latency = build.timing.latency if build.timing else None
    is_reference = build is state.reference
    state.runner.row(
        Row(
            id=build.candidate.id,
            state="reference" if is_reference and build.alive else _state(build),
            title=f"{found.title} {found.unit}".strip(),
            score=accuracy.score if accuracy else None,
            delta=(delta.value, delta.low, delta.high) if delta else None,
            standing=standing(state, build) if accuracy and not is_reference else "",
            p50_ms=latency.p50_ms if latency else p50_ms,
            reason=build.failure.reason if build.failure else build.left_out,
            ahead=_ahead(state, build),
        )
    )


def _state(build: Build) -> State:
    if build.left_out:
        return "skipped"
    if build.failure:
        return "failed"
    if build.timing:
        return "measured"
    return "answered" if build.answers else "built" if build.artifact else "waiting"


def _ahead(state: RunState, build: Build) -> tuple[tuple[str, str], ...]:
    """The stages that are still to come, of those that every candidate passes through."""
    if not build.alive:
        return ()
    id, variant = build.candidate.id, build.candidate.variant
    stages = [("quantize", variant.name)] if variant.scheme else []
    stages += [("compile", id)]
    if state.measured_here or build.answers:
        stages += [("evaluate", id), ("score", id)]
    if state.measured_here and build is not state.reference:
        stages += [("audit", id)]
    left = [(stage, what) for stage, what in stages if stage not in build.results and stage not in build.skipped]
    return (*left, *([("latency", "")] if state.measured_here and not build.timing else []))
