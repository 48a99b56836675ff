"""Scores as a stage: those of the metric to the bit, computed once for the same answers and the same truth."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from edgewright.bench.accuracy import OUTPUTS
from edgewright.core.spec import ModelSpec, decode
from edgewright.core.store import Entry, Store
from edgewright.data.items import ImageSet, Item
from edgewright.pipeline.stages import score
from edgewright.pipeline.stages.runner import StageRunner
from edgewright.tasks.classify import metric
from edgewright.tasks.scores import Paired

SPEC = decode(
    """{"name": "classes", "input": {"height": 8, "width": 8}, "classes": 10,
    "preprocess": {"resize": "exact", "resize_to": [8, 8]}}""",
    ModelSpec,
    "spec",
)
PAIRED = Paired(margin=2.0, seed=3)


def test_scores_are_those_of_the_metric_and_computed_once(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    reference = random.normal(size=(12, 10)).astype(np.float32)
    found = reference + random.normal(0, 0.7, reference.shape).astype(np.float32)
    entries = []
    for name, outputs in (("reference", reference), ("found", found)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / OUTPUTS, outputs)
        entries.append(Entry(tmp_path / name, name, False, 0.0))
    items = []
    for number in range(len(reference)):
        path = tmp_path / f"{number}.png"
        Image.new("L", (8, 8), number).save(path)
        items.append(Item(str(path), number % 10))
    runner = StageRunner(store=Store(tmp_path / "store"))
    images = ImageSet(name="images", split="val", items=tuple(items), classes=())
    asked = score.Scoring(answers=entries[1], reference=entries[0], images=images, spec=SPEC, paired=PAIRED)

    first, again = (score.score(runner, "found", asked) for _ in range(2))
    assert score.read(first) == metric.compare(found, reference, items, SPEC, PAIRED)
    assert again.reused

    alone = msgspec.structs.replace(asked, answers=entries[0], reference=None)
    assert score.read(score.score(runner, "reference", alone)) == metric.score(reference, items, SPEC)

    items[0] = msgspec.structs.replace(items[0], label=5)
    other = msgspec.structs.replace(asked, images=images.only(items))
    assert score.read(score.score(runner, "found", other)) == metric.compare(found, reference, items, SPEC, PAIRED)
