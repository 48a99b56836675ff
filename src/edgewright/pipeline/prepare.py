"""The begin of a run: read the images, export the model, complete the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgewright.bench import budget as budgets
from edgewright.bench.budget import Budget
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.store import Entry
from edgewright.data.sets import ImageSet
from edgewright.pipeline import images as image_sets
from edgewright.pipeline.candidate import Candidate
from edgewright.pipeline.candidates.base import (
    enumerate_candidates,
    require_as_given,
)
from edgewright.pipeline.hosts import Host
from edgewright.pipeline.images import Images
from edgewright.pipeline.stages.export import export
from edgewright.pipeline.stages.model import spec_of, what_is
from edgewright.pipeline.stages.runner import StageRunner
from edgewright.pipeline.state import Job, RunState
from edgewright.quantize.calibration.images import require_enough
from edgewright.targets.target import matches


def prepare(job: Job, runner: StageRunner, host: Host) -> RunState:
    """The initial state of a run: images read, source exported, budget completed.

    Raises `InvalidInput` if the job lacks what its candidates need, e.g. calibration images.
    """
    count, seed = job.recipe.calibration_images, job.recipe.seed
    images = image_sets.gather(job.data, job.split, job.calibration, count, seed, runner)
    runner.watch(
        "data",
        str(job.data),
        1,
        1,
        f"{len(images.evaluation.items)} evaluation images, {len(images.calibration.items)} calibration images",
    )
    if not job.source.parsed.may_have_any_task:  # such a task may compute labels from the images
        require_labels(images.evaluation, job.budget)
    candidates = enumerate_candidates(job.target, job.recipe)
    may_be_int8 = job.source.parsed.is_graph  # other sources: missing calibration images stop before the export
    if not may_be_int8:
        _require_calibration(candidates, images)
    exported = export_source(runner, job, images)
    found = what_is(exported) if may_be_int8 else None
    given = found.quantized if found and found.operators else None
    if given and found:
        require_as_given(job.recipe, Path(job.source.source).name, found.operators)
        candidates = enumerate_candidates(job.target, job.recipe, given)
    elif may_be_int8:
        _require_calibration(candidates, images)
    spec = spec_of(exported)
    job = replace(job, budget=budget_for(spec, job.budget))
    images = Images(
        evaluation=image_sets.label(images.evaluation, spec, runner),
        calibration=image_sets.as_inputs(images.calibration, spec),
    )
    require_labels(images.evaluation, job.budget, spec)
    return RunState(
        job=job, runner=runner, host=host, spec=spec, images=images, models={"": exported},
        measured_here=matches(job.target, host.machine), given=given,
    )  # fmt: skip


def export_source(runner: StageRunner, job: Job, images: Images) -> Entry:
    """Export the job's source; check the export on the first evaluation images."""
    parity = images.evaluation.only(images.evaluation.items[: job.recipe.parity_images])
    return export(runner, job.source, parity, job.recipe.batch)


def _require_calibration(candidates: Sequence[Candidate], images: Images) -> None:
    if any(candidate.variant.scheme for candidate in candidates):
        require_enough(len(set(images.calibration.digests)))


def budget_for(spec: ModelSpec, budget: Budget | None) -> Budget:
    """`budget`, or the default of the model's task. Raises `UsageError` for a metric of another task."""
    found = budget or budgets.default(spec.task.kind)
    budgets.require_task(found, spec.task.kind)
    return found


def require_labels(images: ImageSet, budget: Budget | None, spec: ModelSpec | None = None) -> None:
    """Raise `InvalidInput` if the budget (None: the task's default) needs labels and `images` have none."""
    if image_sets.has_labels(images, spec):
        return
    wanted = next((x.metric for x in budget.limits if x.compares), None) if budget else "accuracy"
    if wanted:
        raise InvalidInput(
            f"The images of {images.name} have no labels, but the budget limits {wanted}.",
            "Without labels, only the agreement with the float model can be measured.",
            'Label the images (a folder per class, or boxes), or set e.g. --budget "agreement >= 98%".',
        )
