"""Distillation costs minutes: it is tried where nothing cheaper keeps the budget, and where it can be kept at all."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgewright.bench import budget
from edgewright.pipeline import builder as building
from edgewright.pipeline.builder import CandidateBuilder
from edgewright.pipeline.candidate import Candidate, Variant
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.state import Build, Job, RunState
from edgewright.runtimes.options import Options
from edgewright.targets import detect


def build(runtime: str, scheme: str | None = None, method: str | None = None, failed: str | None = None) -> Build:
    variant = Variant(scheme=scheme, method=method)
    options: Any = {"runtime": runtime}
    return Build(candidate=Candidate(variant=variant, options=Options(**options)), failed_in=failed)


def asked(
    monkeypatch: pytest.MonkeyPatch, builds: list[Build], inside: list[Build], methods: tuple[str, ...] | None = None
) -> set[str]:
    """The ids of the candidates that are distilled where `builds` were made and `inside` of them keep the budget."""
    job: Any = Job(
        source=None, data=Path(), split=None, calibration=None, target=detect.this_machine(),
        recipe=Recipe(methods=methods), budget=budget.parse("top1 >= -1"),
    )  # type: ignore[arg-type]  # fmt: skip
    nothing: Any = None
    builder = CandidateBuilder(
        job=job, runner=nothing, spec=nothing, images=nothing, exported=nothing, host=nothing, measure=True
    )
    state = RunState(
        job=job, spec=nothing, images=nothing, exported=nothing, reference=build("torch"), builds=builds,
        measured_here=True, host=nothing,
    )  # fmt: skip
    monkeypatch.setattr(building, "is_inside", lambda _, one: any(one is other for other in inside))
    monkeypatch.setattr(CandidateBuilder, "build", lambda _, candidate: Build(candidate=candidate))
    monkeypatch.setattr(CandidateBuilder, "evaluate", lambda *_: None)
    return {found.candidate.id for found in builder.distil(state)}


def test_only_where_every_other_method_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = [build("openvino"), build("onnxruntime")]
    tried = [
        build("openvino", "openvino", "minmax"), build("openvino", "openvino", "round"),
        build("onnxruntime", "ort-x86", "minmax"), build("onnxruntime", "ort-x86", "round"),
    ]  # fmt: skip
    assert asked(monkeypatch, [*exact, *tried], [*exact, tried[3]]) == {"openvino-int8-distil"}
    assert asked(monkeypatch, [*exact, *tried], [*exact, tried[0], tried[3]]) == set()


def test_not_where_float_is_outside_nor_where_methods_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    builds = [build("openvino"), build("openvino", "openvino", "minmax")]
    assert asked(monkeypatch, builds, []) == set()
    assert asked(monkeypatch, builds, builds[:1]) == {"openvino-int8-distil"}
    assert asked(monkeypatch, builds, builds[:1], ("minmax",)) == set()


def test_what_failed_is_not_distilled(monkeypatch: pytest.MonkeyPatch) -> None:
    builds = [build("openvino"), build("openvino", "openvino", "minmax", failed="quantize")]
    assert asked(monkeypatch, builds, builds[:1]) == set()


def test_variations_are_of_what_is_inside_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    builds = [build("openvino", "openvino", method) for method in ("minmax", "round", "nncf")] + [build("openvino")]
    job: Any = SimpleNamespace(recipe=Recipe(finalists=2))
    nothing: Any = None
    builder = CandidateBuilder(
        job=job, runner=nothing, spec=nothing, images=nothing, exported=nothing, host=nothing, measure=True
    )
    state: Any = SimpleNamespace(builds=builds)
    first = {w.candidate.id: SimpleNamespace(latency=SimpleNamespace(p50_ms=1.0 + k)) for k, w in enumerate(builds)}
    monkeypatch.setattr(CandidateBuilder, "screen", lambda *_: first)
    monkeypatch.setattr(CandidateBuilder, "build", lambda _, candidate: Build(candidate=candidate))

    def varied(inside: list[Build]) -> list[str]:
        monkeypatch.setattr(building, "is_inside", lambda _, one: any(one is other for other in inside))
        return [found.candidate.id for found in builder.vary(state)]

    assert varied(builds[1:]) == ["openvino-int8-round+uint8", "openvino-int8-nncf+uint8"]
    assert varied([]) == ["openvino-int8-minmax+uint8", "openvino-int8-round+uint8"]
