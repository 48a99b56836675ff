"""What a recipe compresses is named apart, built for what can use it, and fails by itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgewright.core.errors import DiskFull, InvalidInput
from edgewright.pipeline.candidates import base as candidates
from edgewright.pipeline.candidates import compression
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.stages.export import Source
from edgewright.pipeline.state import Job
from edgewright.targets import catalogue

STUDENTS = ("timm:mobilenetv3_small_050", "timm:mobilenetv3_small_050?drop_rate=0.1")


def compressed(monkeypatch: pytest.MonkeyPatch, recipe: Recipe, target: str, **fails: Exception) -> Any:
    """What is made of `recipe` where cutting and teaching give a folder at once, or what `fails` says."""

    def make(what: str) -> Any:
        def made(*given: object) -> compression.Smaller:
            if what in fails:
                raise fails[what]
            return compression.Smaller(Source(source=str(given[-1])), 0.7 if what == "pruned" else None)

        return made

    monkeypatch.setattr(compression, "_pruned", make("pruned"))
    monkeypatch.setattr(compression, "_taught", make("taught"))
    monkeypatch.setattr(compression, "export_source", lambda _runner, job, _images: job.source.source)
    job = Job(source=None, data=Path(), split=None, calibration=None, target=None, recipe=recipe, budget=None)
    builder: Any = SimpleNamespace(job=job, runner=None, images=None)
    return compression.compress(builder, candidates.enumerate_candidates(catalogue.load(target), recipe))


def test_each_model_has_a_name_and_sparse_ones_sparse_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(prune=(1.5, "2:4"), distill=STUDENTS)
    found = compressed(monkeypatch, recipe, "jetson-orin-nano-8gb")
    names = ["pruned1.5x", "sparse-2of4", "student-mobilenetv3_small_050", "student-mobilenetv3_small_050-2"]
    assert list(found) == names
    sparse = {(c.options.runtime, c.options.builder.sparse) for c in found["sparse-2of4"].candidates}
    assert sparse == {("tensorrt", True)}
    others = found["pruned1.5x"].candidates
    assert {"tensorrt", "onnxruntime"} <= {c.options.runtime for c in others}
    assert not any(c.options.builder.sparse for c in others if c.options.builder)
    assert str(found["student-mobilenetv3_small_050-2"].model) == STUDENTS[1]


def test_one_that_fails_is_no_end_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    error = InvalidInput("The widths do not do.", "Its depth costs the rest.", "Take blocks out.")
    found = compressed(monkeypatch, Recipe(prune=(9.0,), distill=STUDENTS[:1]), "x86-avx2", pruned=error)
    assert found["pruned9x"].model is error
    assert found["pruned9x"].candidates
    assert found["student-mobilenetv3_small_050"].model == STUDENTS[0]
    full = DiskFull("The disk is full.", "0 bytes are left.", "Free some.")
    with pytest.raises(DiskFull):
        compressed(monkeypatch, Recipe(prune=(2.0,)), "x86-avx2", pruned=full)
