"""Compressed copies of the model that the recipe asks for: pruned copies and distilled students."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from edgewright.core.errors import DiskFull, EdgewrightError
from edgewright.core.store import Entry
from edgewright.export.sources.parse import parse
from edgewright.pipeline.candidate import Candidate, compressed
from edgewright.pipeline.jobs import distill, prune
from edgewright.pipeline.jobs.prune_cut import SPARSITY, Wanted
from edgewright.pipeline.prepare import export_source
from edgewright.pipeline.stages.export import Source
from edgewright.pipeline.state import Build, Failure, RunState
from edgewright.quantize.distillation.schedule import RECOVERY, STUDENT, replaced


class Smaller(NamedTuple):
    """A source, and for a pruned one the intended share of the latency, if known."""

    source: Source
    left: float | None = None


def propose(state: RunState) -> list[Candidate]:
    """Every base candidate of each model that `prune` and `distill` of the recipe create, the most relevant first.

    If a model cannot be created, one candidate remains for it: a row with the reason.
    """
    base = [build.candidate for build in state.builds]
    found, failed = list[Candidate](), list[Candidate]()
    for name, (stage, what) in _asked(state).items():
        if name in state.models:
            continue
        candidates = _for(base, what)
        model = state.models[name] = _create(state, candidates[0], name, stage, what)
        named = [compressed(candidate, name) for candidate in candidates]
        if isinstance(model, Failure):
            failed.append(named[0])
        else:
            found += named
    return found + failed


def predicted(state: RunState, build: Build) -> tuple[str, float] | None:
    """For a pruned artifact: the id of the artifact that predicted its latency, and the intended share of that."""
    name = build.candidate.variant.compression
    same = [one for one in state.builds if one.candidate.variant.compression == name]
    if name not in state.left or same[0] is not build:
        return None
    return compressed(build.candidate, "").id, state.left[name]


def _asked(state: RunState) -> dict[str, tuple[str, Any]]:
    """The entries of `prune` and `distill` in the recipe, by the names of the models."""
    asked: dict[str, tuple[str, Any]] = {_named(amount): ("prune", amount) for amount in state.job.recipe.prune}
    for student in state.job.recipe.distill:
        name = _student(student)
        names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
        asked[next(one for one in names if one not in asked)] = ("distill", student)
    return asked


def _for(base: Sequence[Candidate], what: Any) -> list[Candidate]:
    """The candidates of `base` that suit `what`, the one whose latency counts first."""
    if what == SPARSITY:
        base = [prune.sparse(c) for c in base if c.traits.builder] or base
    counts = prune.first(base)
    return [counts, *(c for c in base if c is not counts)]


def _create(state: RunState, counts: Candidate, name: str, stage: str, what: Any) -> Entry | Failure:
    """Create the model by `stage`. An error becomes a `Failure`, so that other models can follow."""
    try:
        source, left = _pruned(state, counts, what) if stage == "prune" else _distilled(state, what)
        exported = export_source(state.runner, replace(state.job, source=source), state.images)
    except DiskFull:
        raise
    except EdgewrightError as error:
        return Failure(stage, error.what, error.why)
    if left is not None:
        state.left[name] = left
    return exported


def _pruned(state: RunState, candidate: Candidate, amount: float | str) -> Smaller:
    """The model pruned by `amount` for `candidate`, and trained."""
    prune.require_trainable(state.job)
    wanted = Wanted(sparsity=amount) if isinstance(amount, str) else Wanted(speedup=amount)
    schedule = replaced(RECOVERY, train_time_s=state.job.recipe.train_time_s)
    pruned = prune.narrow(state, candidate, wanted, schedule)
    return Smaller(prune.ours(pruned.folder), pruned.cut.left)


def _distilled(state: RunState, student: str) -> Smaller:
    """The source `student` after training on the outputs of the run's model."""
    job = state.job
    prune.require_trainable(job)
    schedule = replaced(STUDENT, train_time_s=job.recipe.train_time_s)
    learner = Source(source=student, trust_checkpoint=job.source.trust_checkpoint)
    asked = distill.DistillRequest(
        teacher=job.source, student=learner, data=job.data, split=job.split, train_data=job.calibration,
        schedule=schedule, seed=job.recipe.seed,
    )  # fmt: skip
    student_model = distill.train_student(state.runner, asked)[0]
    return Smaller(prune.ours(student_model.path))


def _named(amount: float | str) -> str:
    return f"sparse-{amount.replace(':', 'of')}" if isinstance(amount, str) else f"pruned{amount:g}x"


def _student(student: str) -> str:
    """E.g. ``student-mobilenetv3_small_050`` for timm:mobilenetv3_small_050?pretrained=false."""
    return "student-" + re.sub(r"[^A-Za-z0-9_.]+", "-", parse(student).name.rstrip("/").rpartition("/")[2])
