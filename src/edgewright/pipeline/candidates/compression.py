"""What a recipe makes of the model before it is quantized: copies with less in them, and students."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from edgewright.core.errors import DiskFull, EdgewrightError
from edgewright.core.store import Entry
from edgewright.export.sources.parse import parse
from edgewright.pipeline.builder import CandidateBuilder, export_source
from edgewright.pipeline.candidate import Candidate
from edgewright.pipeline.jobs import distill, prune
from edgewright.pipeline.jobs.prune_cut import SPARSITY, Wanted
from edgewright.pipeline.stages.export import Source
from edgewright.quantize.distillation.schedule import RECOVERY, STUDENT, replaced


class Compressed(NamedTuple):
    """An exported model that was made of the given one, or why there is none, and what to build of it.

    `stage`: "prune" or "distill". `left`: the share of the latency of ``candidates[0]`` that was to be left, by the
    latency table.
    """

    stage: str
    model: Entry | EdgewrightError
    candidates: Sequence[Candidate]
    left: float | None = None


class Smaller(NamedTuple):
    """A source, and the share of the latency that was to be left of it, where that was told."""

    source: Source
    left: float | None = None


def compress(builder: CandidateBuilder, candidates: Sequence[Candidate]) -> dict[str, Compressed]:
    """What `prune` and `distill` of the recipe make, by the names of their variants."""
    asked: dict[str, tuple[str, Any]] = {_named(amount): ("prune", amount) for amount in builder.job.recipe.prune}
    for student in builder.job.recipe.distill:
        name = _student(student)
        names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
        asked[next(one for one in names if one not in asked)] = ("distill", student)
    return {name: _tried(builder, candidates, stage, what) for name, (stage, what) in asked.items()}


def _tried(builder: CandidateBuilder, candidates: Sequence[Candidate], stage: str, what: Any) -> Compressed:
    """What `stage` made of `what`: if one of several models goes wrong, that is a row of its own in the report."""
    if what == SPARSITY:
        candidates = [prune.sparse(c) for c in candidates if c.traits.builder] or candidates
    counts = prune.first(candidates)
    ordered = [counts, *(c for c in candidates if c is not counts)]
    try:
        source, left = _pruned(builder, counts, what) if stage == "prune" else _taught(builder, what)
        return Compressed(
            stage, export_source(builder.runner, replace(builder.job, source=source), builder.images), ordered, left
        )
    except DiskFull:
        raise
    except EdgewrightError as error:
        return Compressed(stage, error, ordered)


def _pruned(builder: CandidateBuilder, candidate: Candidate, amount: float | str) -> Smaller:
    """The model less `amount` for `candidate`, trained."""
    prune.require_teachable(builder.job)
    wanted = Wanted(sparsity=amount) if isinstance(amount, str) else Wanted(speedup=amount)
    schedule = replaced(RECOVERY, train_time_s=builder.job.recipe.train_time_s)
    made = prune.narrow(builder, candidate, wanted, schedule)
    return Smaller(prune.ours(made.folder), made.cut.left)


def _taught(builder: CandidateBuilder, student: str) -> Smaller:
    """The source `student` after it learned from the model of `builder`."""
    job = builder.job
    prune.require_teachable(job)
    schedule = replaced(STUDENT, train_time_s=job.recipe.train_time_s)
    learner = Source(source=student, trust_checkpoint=job.source.trust_checkpoint)
    made = distill.distil(
        builder.runner, job.source, learner, job.data, job.split, job.calibration, schedule, None, job.recipe.seed
    )[0]
    return Smaller(prune.ours(made.path))


def _named(amount: float | str) -> str:
    return f"sparse-{amount.replace(':', 'of')}" if isinstance(amount, str) else f"pruned{amount:g}x"


def _student(student: str) -> str:
    """E.g. ``student-mobilenetv3_small_050`` for timm:mobilenetv3_small_050?pretrained=false."""
    return "student-" + re.sub(r"[^A-Za-z0-9_.]+", "-", parse(student).name.rstrip("/").rpartition("/")[2])
