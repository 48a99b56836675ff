"""Distillation costs minutes: it is tried where nothing cheaper keeps the budget, and where it can be kept at all."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgewright.bench import budget
from edgewright.pipeline import run
from edgewright.pipeline.candidates.base import Candidate, Variant
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.run import Job, Line, Made, Work
from edgewright.runtimes.options import Options
from edgewright.targets import detect


def work(runtime: str, scheme: str | None = None, method: str | None = None, failed: str | None = None) -> Work:
    variant = Variant(scheme=scheme, method=method)
    options: Any = {"runtime": runtime}
    return Work(candidate=Candidate(variant=variant, options=Options(**options)), failed_in=failed)


def asked(
    monkeypatch: pytest.MonkeyPatch, works: list[Work], inside: list[Work], methods: tuple[str, ...] | None = None
) -> set[str]:
    """The ids of the candidates that are distilled where `works` were made and `inside` of them keep the budget."""
    job: Any = Job(
        source=None, data=Path(), split=None, calibration=None, target=detect.this_machine(),
        recipe=Recipe(methods=methods), budget=budget.parse("top1 >= -1"),
    )  # type: ignore[arg-type]  # fmt: skip
    nothing: Any = None
    line = Line(job=job, shop=nothing, spec=nothing, images=nothing, exported=nothing, place=nothing, measure=True)
    made = Made(
        job=job, spec=nothing, images=nothing, exported=nothing, reference=work("torch"), works=works,
        measured_here=True, place=nothing,
    )  # fmt: skip
    monkeypatch.setattr(run, "is_inside", lambda _, one: any(one is other for other in inside))
    monkeypatch.setattr(Line, "build", lambda _, candidate: Work(candidate=candidate))
    monkeypatch.setattr(Line, "evaluate", lambda *_: None)
    return {found.candidate.id for found in line.distil(made)}


def test_only_where_every_other_method_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = [work("openvino"), work("onnxruntime")]
    tried = [
        work("openvino", "openvino", "minmax"), work("openvino", "openvino", "round"),
        work("onnxruntime", "ort-x86", "minmax"), work("onnxruntime", "ort-x86", "round"),
    ]  # fmt: skip
    assert asked(monkeypatch, [*exact, *tried], [*exact, tried[3]]) == {"openvino-int8-distil"}
    assert asked(monkeypatch, [*exact, *tried], [*exact, tried[0], tried[3]]) == set()


def test_not_where_float_is_outside_nor_where_methods_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    works = [work("openvino"), work("openvino", "openvino", "minmax")]
    assert asked(monkeypatch, works, []) == set()
    assert asked(monkeypatch, works, works[:1]) == {"openvino-int8-distil"}
    assert asked(monkeypatch, works, works[:1], ("minmax",)) == set()


def test_what_failed_is_not_distilled(monkeypatch: pytest.MonkeyPatch) -> None:
    works = [work("openvino"), work("openvino", "openvino", "minmax", failed="quantize")]
    assert asked(monkeypatch, works, works[:1]) == set()


def test_variations_are_of_what_is_inside_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    works = [work("openvino", "openvino", method) for method in ("minmax", "round", "nncf")] + [work("openvino")]
    job: Any = SimpleNamespace(recipe=Recipe(finalists=2))
    nothing: Any = None
    line = Line(job=job, shop=nothing, spec=nothing, images=nothing, exported=nothing, place=nothing, measure=True)
    made: Any = SimpleNamespace(works=works)
    first = {w.candidate.id: SimpleNamespace(latency=SimpleNamespace(p50_ms=1.0 + k)) for k, w in enumerate(works)}
    monkeypatch.setattr(Line, "screen", lambda *_: first)
    monkeypatch.setattr(Line, "build", lambda _, candidate: Work(candidate=candidate))

    def varied(inside: list[Work]) -> list[str]:
        monkeypatch.setattr(run, "is_inside", lambda _, one: any(one is other for other in inside))
        return [found.candidate.id for found in line.vary(made)]

    assert varied(works[1:]) == ["openvino-int8-round+uint8", "openvino-int8-nncf+uint8"]
    assert varied([]) == ["openvino-int8-minmax+uint8", "openvino-int8-round+uint8"]
