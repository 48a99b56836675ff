"""Scores as a stage: its bootstrap takes seconds, so it runs once, in a child."""

from __future__ import annotations

import msgspec

from edgewright import tasks
from edgewright.bench.accuracy import SCORES
from edgewright.core.spec import ModelSpec
from edgewright.core.store import Entry
from edgewright.data.sets import ImageSet
from edgewright.pipeline import images as image_sets
from edgewright.pipeline.stages.runner import StageRunner, code_of, made_by
from edgewright.tasks.scores import Accuracy, Paired


class Scoring(msgspec.Struct, frozen=True, kw_only=True):
    """What to score: the outputs `answers` on `images`, paired with those of `reference` (None: of the reference)."""

    answers: Entry
    reference: Entry | None
    images: ImageSet
    spec: ModelSpec
    paired: Paired


def score(runner: StageRunner, what: str, asked: Scoring) -> Entry:
    """``accuracy.json``: the scores by the task's metric."""
    reference, task = asked.reference, tasks.of(asked.spec)
    how = {"spec": msgspec.to_builtins(asked.spec), "paired": msgspec.to_builtins(asked.paired)}
    inputs = {
        "answers": asked.answers.key, "reference": reference.key if reference else None,
        "images": asked.images.digests, "truth": image_sets.truth(asked.images), **how,
        "task": code_of(task.package), "made_by": made_by("score"),
    }  # fmt: skip
    return runner.run(
        "score", what, inputs, "edgewright.bench.accuracy:score",
        request={
            "answers": str(asked.answers.path), "reference": str(reference.path) if reference else None,
            "items": asked.images.items, **how,
        },
    )  # fmt: skip


def read(entry: Entry) -> Accuracy:
    """The result of the stage."""
    return msgspec.json.decode((entry.path / SCORES).read_bytes(), type=Accuracy)
