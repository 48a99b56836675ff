"""What a recipe makes of the model before it is quantized: copies with less in them, and students."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from edgewright.core.errors import DiskFull, EdgewrightError
from edgewright.export.sources.parse import parse
from edgewright.pipeline.candidates.base import Candidate
from edgewright.pipeline.jobs import distill, prune
from edgewright.pipeline.jobs.prune_cut import SPARSITY, Wanted
from edgewright.pipeline.run import Compressed, Line, export
from edgewright.pipeline.stages import Source
from edgewright.quantize.distillation.schedule import RECOVERY, STUDENT, replaced


class Made(NamedTuple):
    """A source, and the share of the latency that was to be left of it, where that was told."""

    source: Source
    left: float | None = None


def compress(line: Line, candidates: Sequence[Candidate]) -> dict[str, Compressed]:
    """What `prune` and `distill` of the recipe make, by the names of their variants."""
    asked: dict[str, tuple[str, Any]] = {_named(amount): ("prune", amount) for amount in line.job.recipe.prune}
    for student in line.job.recipe.distill:
        name = _student(student)
        names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
        asked[next(one for one in names if one not in asked)] = ("distill", student)
    return {name: _tried(line, candidates, stage, what) for name, (stage, what) in asked.items()}


def _tried(line: Line, candidates: Sequence[Candidate], stage: str, what: Any) -> Compressed:
    """What `stage` made of `what`: if one of several models goes wrong, that is a row of its own in the report."""
    if what == SPARSITY:
        candidates = [prune.sparse(c) for c in candidates if c.options.runtime == "tensorrt"] or candidates
    counts = prune.first(candidates)
    ordered = [counts, *(c for c in candidates if c is not counts)]
    try:
        source, left = _pruned(line, counts, what) if stage == "prune" else _taught(line, what)
        return Compressed(stage, export(line.shop, replace(line.job, source=source), line.images), ordered, left)
    except DiskFull:
        raise
    except EdgewrightError as error:
        return Compressed(stage, error, ordered)


def _pruned(line: Line, candidate: Candidate, amount: float | str) -> Made:
    """The model less `amount` for `candidate`, trained."""
    prune.require_teachable(line.job)
    wanted = Wanted(sparsity=amount) if isinstance(amount, str) else Wanted(speedup=amount)
    schedule = replaced(RECOVERY, train_time_s=line.job.recipe.train_time_s)
    made = prune.narrow(line, candidate, wanted, schedule)
    return Made(prune.ours(made.folder), made.cut.left)


def _taught(line: Line, student: str) -> Made:
    """The source `student` after it learned from the model of `line`."""
    job = line.job
    prune.require_teachable(job)
    schedule = replaced(STUDENT, train_time_s=job.recipe.train_time_s)
    learner = Source(source=student, trust_checkpoint=job.source.trust_checkpoint)
    made = distill.distil(
        line.shop, job.source, learner, job.data, job.split, job.calibration, schedule, None, job.recipe.seed
    )[0]
    return Made(prune.ours(made.path))


def _named(amount: float | str) -> str:
    return f"sparse-{amount.replace(':', 'of')}" if isinstance(amount, str) else f"pruned{amount:g}x"


def _student(student: str) -> str:
    """E.g. ``student-mobilenetv3_small_050`` for timm:mobilenetv3_small_050?pretrained=false."""
    return "student-" + re.sub(r"[^A-Za-z0-9_.]+", "-", parse(student).name.rstrip("/").rpartition("/")[2])
