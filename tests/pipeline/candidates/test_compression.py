"""What a recipe compresses is named apart, built for what can use it, and fails by itself."""

from __future__ import annotations

from typing import Any

import pytest

from edgewright.core.errors import DiskFull, InvalidInput
from edgewright.pipeline.candidates import base, compression
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.stages.export import Source
from edgewright.pipeline.state import Build, Failure, RunState
from edgewright.targets import catalogue

from ..run_states import all_proposed, state

STUDENTS = ("timm:mobilenetv3_small_050", "timm:mobilenetv3_small_050?drop_rate=0.1")


def compressed(
    monkeypatch: pytest.MonkeyPatch, recipe: Recipe, target: str, **fails: Exception
) -> tuple[RunState, list[Build]]:
    """What is made of `recipe` where cutting and teaching give a folder at once, or what `fails` says."""

    def make(what: str) -> Any:
        def made(*given: object) -> compression.Smaller:
            if what in fails:
                raise fails[what]
            return compression.Smaller(Source(source=str(given[-1])), 0.7 if what == "pruned" else None)

        return made

    monkeypatch.setattr(compression, "_pruned", make("pruned"))
    monkeypatch.setattr(compression, "_distilled", make("taught"))
    monkeypatch.setattr(compression, "export_source", lambda _runner, job, _images: job.source.source)
    run = state([], recipe, catalogue.load(target))
    all_proposed(base, run)
    return run, all_proposed(compression, run)


def test_each_model_has_a_name_and_sparse_ones_sparse_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(prune=(1.5, "2:4"), distill=STUDENTS)
    run, found = compressed(monkeypatch, recipe, "jetson-orin-nano-8gb")
    names = ["pruned1.5x", "sparse-2of4", "student-mobilenetv3_small_050", "student-mobilenetv3_small_050-2"]
    assert list(dict.fromkeys(build.candidate.variant.compression for build in found)) == names
    options = {name: [b.candidate.options for b in found if b.candidate.variant.compression == name] for name in names}
    assert {(one.runtime, one.builder and one.builder.sparse) for one in options["sparse-2of4"]} == {("tensorrt", True)}
    assert {"tensorrt", "onnxruntime"} <= {one.runtime for one in options["pruned1.5x"]}
    assert not any(one.builder.sparse for one in options["pruned1.5x"] if one.builder)
    assert str(run.models["student-mobilenetv3_small_050-2"]) == STUDENTS[1]
    first = next(build for build in found if build.candidate.variant.compression == "pruned1.5x")
    assert compression.predicted(run, first) == (first.candidate.id.replace("-pruned1.5x", ""), 0.7)
    assert [build for build in found if compression.predicted(run, build)][:1] == [first]


def test_one_that_fails_is_no_end_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    error = InvalidInput("The widths do not do.", "Its depth costs the rest.", "Take blocks out.")
    run, found = compressed(monkeypatch, Recipe(prune=(9.0,), distill=STUDENTS[:1]), "x86-avx2", pruned=error)
    assert run.models["pruned9x"] == Failure("prune", error.what, error.why)
    assert [build.candidate.variant.compression for build in found if not build.alive] == ["pruned9x"]
    assert found[-1].failure and found[-1].failure.reason == f"{error.what} {error.why}", "after what could be made"
    assert str(run.models["student-mobilenetv3_small_050"]) == STUDENTS[0]
    full = DiskFull("The disk is full.", "0 bytes are left.", "Free some.")
    with pytest.raises(DiskFull):
        compressed(monkeypatch, Recipe(prune=(2.0,)), "x86-avx2", pruned=full)
