"""HardSwish for SiLU: every share is measured, and the largest inside the budget is quantized."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgewright.bench import budget
from edgewright.core.errors import RuntimeFailed
from edgewright.pipeline.builder import CandidateBuilder
from edgewright.pipeline.candidate import Candidate, Variant
from edgewright.pipeline.candidates import hardswish
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.state import Build, Job, RunState
from edgewright.quantize.hardswish import Fitted, Replaceable
from edgewright.runtimes.options import Options
from edgewright.targets import catalogue


def build(runtime: str, precision: str = "f32", scheme: str | None = None, method: str | None = None) -> Build:
    options: Any = {"runtime": runtime, "precision": precision}
    return Build(candidate=Candidate(variant=Variant(scheme=scheme, method=method), options=Options(**options)))


BUILDS = [
    build("onnxruntime"), build("openvino"), build("openvino", "bf16"),
    build("openvino", "bf16", "openvino-vnni", "nncf"), build("openvino", "f32", "openvino-vnni", "nncf"),
    build("openvino", "bf16", "openvino-vnni", "minmax"),
]  # fmt: skip

told: list[str] = []


def built(
    monkeypatch: pytest.MonkeyPatch, inside: set[str], recipe: Recipe | None = None, builds: list[Build] = BUILDS,
    functions: int = 4, broken: str = "", calibrated: int = 40, outside: str = "",
) -> dict[str, bool]:  # fmt: skip
    """What is tried of `builds`, and whether it was built, where those of `inside` keep the budget."""
    job: Any = Job(
        source=None, data=Path(), split=None, calibration=None, target=catalogue.load("x86-amx"),
        recipe=recipe or Recipe(), budget=budget.parse("top1 >= -1"),
    )  # type: ignore[arg-type]  # fmt: skip
    nothing: Any = None
    images: Any = SimpleNamespace(calibration=SimpleNamespace(digests=[*map(str, range(calibrated))]))
    runner: Any = SimpleNamespace(watch=lambda *said: told.append(said[-1]))
    told.clear()
    builder = CandidateBuilder(
        job=job, runner=runner, spec=nothing, images=images, exported=nothing, host=nothing, measure=True
    )
    state = RunState(
        job=job, spec=nothing, images=images, exported=nothing, reference=build("torch"), builds=builds,
        measured_here=True, host=nothing,
    )  # fmt: skip

    def put(*given: Any) -> str:
        if given[-1] == broken:
            raise RuntimeFailed("It has no gradient.", "", "")
        return str(given[-1])

    silus = tuple(Replaceable(name=f"{k}", values=100, loss=0.0) for k in range(functions))
    plain = {w.candidate.id for w in BUILDS} - {outside}
    monkeypatch.setattr(hardswish, "is_inside", lambda _, one: one.candidate.id in inside | plain)
    monkeypatch.setattr(hardswish, "fit_hardswish", lambda *_: SimpleNamespace(path=None))
    monkeypatch.setattr(
        hardswish.hardswish, "read_fitted", lambda _: Fitted(images=1, functions=silus)
    )  # fmt: skip
    monkeypatch.setattr(hardswish, "put_hardswish", put)
    monkeypatch.setattr(CandidateBuilder, "build", lambda _, candidate: Build(candidate=candidate))
    monkeypatch.setattr(CandidateBuilder, "evaluate", lambda *_: None)
    after, found = hardswish.look(builder, state)
    assert {w.candidate.variant.compression for w in found if w.alive} <= after.compressed.keys()
    return {w.candidate.id: w.alive for w in found}


def bf16(name: str) -> str:
    return f"openvino-bf16-{name}"


def int8(name: str) -> str:
    return f"openvino-int8-bf16-vnni-nncf-{name}"


def test_all_at_once_where_that_keeps_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"hardswish{share}" for share in (50, 75, 100)]
    found = built(monkeypatch, {*map(bf16, names), int8(names[2])})
    assert list(found) == [*map(bf16, names), int8(names[2])]


def test_a_smaller_share_where_int8_of_the_largest_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    found = built(monkeypatch, {bf16("hardswish50"), bf16("hardswish75"), int8("hardswish50")})
    assert list(found)[3:] == [int8("hardswish75"), int8("hardswish50")]


def test_one_that_cannot_be_made_is_a_row_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    found = built(monkeypatch, {bf16("hardswish50")}, Recipe(hardswish=(0.5, 1.0)), broken="hardswish100")
    assert found[bf16("hardswish100")] is False
    assert found[int8("hardswish50")] is True


def test_it_is_not_tried_where_there_is_nothing_to_gain_or_nothing_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not built(monkeypatch, set(), functions=0)
    assert not built(monkeypatch, set(), Recipe(methods=("nncf",)))
    assert not built(monkeypatch, set(), Recipe(hardswish=()))
    assert not built(monkeypatch, set(), builds=[BUILDS[0]])
    assert not built(monkeypatch, set(), calibrated=8)
    assert built(monkeypatch, set(), Recipe(methods=("nncf",), hardswish=(0.5,)))


def test_shares_that_come_to_the_same_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(built(monkeypatch, set(), functions=1)) == [bf16("hardswish50")]
    assert list(built(monkeypatch, set(), Recipe(hardswish=(0.666, 0.67)), functions=1000)) == [
        bf16("hardswish66.6"), bf16("hardswish67"),
    ]  # fmt: skip


def test_float32_where_bf16_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    found = built(monkeypatch, set(), Recipe(hardswish=(1.0,)), outside="openvino-bf16")
    assert list(found) == ["openvino-f32-hardswish100"]


def test_that_named_shares_cannot_be_tried_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not built(monkeypatch, set(), calibrated=8)
    assert not told
    assert not built(monkeypatch, set(), Recipe(hardswish=(0.5,)), calibrated=8)
    assert "not tried" in told[0]
