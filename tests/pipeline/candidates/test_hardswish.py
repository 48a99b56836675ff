"""HardSwish for SiLU: every share is measured, and the largest inside the budget is quantized."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgewright.core.errors import RuntimeFailed
from edgewright.pipeline.candidates import hardswish
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.state import Build
from edgewright.quantize.hardswish import Fitted, Replaceable
from edgewright.targets import catalogue

from ..run_states import all_proposed, built, state

NNCF: Any = {"scheme": "openvino-vnni", "method": "nncf"}
BUILDS = [
    built("onnxruntime"), built("openvino"), built("openvino", "bf16"),
    built("openvino", "bf16", **NNCF), built("openvino", **NNCF),
    built("openvino", "bf16", scheme="openvino-vnni", method="minmax"),
]  # fmt: skip

told: list[str] = []


def tried(
    monkeypatch: pytest.MonkeyPatch, inside: set[str], recipe: Recipe | None = None, builds: list[Build] = BUILDS,
    functions: int = 4, broken: str = "", calibrated: int = 40, outside: str = "",
) -> dict[str, bool]:  # fmt: skip
    """What is tried of `builds`, and whether it was built, where those of `inside` keep the budget."""
    images: Any = SimpleNamespace(calibration=SimpleNamespace(digests=[*map(str, range(calibrated))]))
    runner: Any = SimpleNamespace(watch=lambda *said: told.append(said[-1]))
    told.clear()

    def put(*given: Any) -> str:
        if given[-1] == broken:
            raise RuntimeFailed("It has no gradient.", "", "")
        return str(given[-1])

    silus = tuple(Replaceable(name=f"{k}", values=100, loss=0.0) for k in range(functions))
    plain = {build.candidate.id for build in BUILDS} - {outside}
    monkeypatch.setattr(hardswish, "is_inside", lambda _, one: one.candidate.id in inside | plain)
    monkeypatch.setattr(hardswish, "fit_hardswish", lambda *_: SimpleNamespace(path=None))
    monkeypatch.setattr(hardswish.hardswish, "read_fitted", lambda _: Fitted(images=1, functions=silus))
    monkeypatch.setattr(hardswish, "put_hardswish", put)
    run = state(builds, recipe, catalogue.load("x86-amx"), images=images, runner=runner)
    found = all_proposed(hardswish, run)
    assert {build.candidate.variant.compression for build in found} <= run.models.keys()
    return {build.candidate.id: build.alive for build in found}


def bf16(name: str) -> str:
    return f"openvino-bf16-{name}"


def int8(name: str) -> str:
    return f"openvino-int8-bf16-vnni-nncf-{name}"


def test_all_at_once_where_that_keeps_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"hardswish{share}" for share in (50, 75, 100)]
    found = tried(monkeypatch, {*map(bf16, names), int8(names[2])})
    assert list(found) == [*map(bf16, names), int8(names[2])]


def test_a_smaller_share_where_int8_of_the_largest_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tried(monkeypatch, {bf16("hardswish50"), bf16("hardswish75"), int8("hardswish50")})
    assert list(found)[3:] == [int8("hardswish75"), int8("hardswish50")]


def test_one_that_cannot_be_made_is_a_row_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tried(monkeypatch, {bf16("hardswish50")}, Recipe(hardswish=(0.5, 1.0)), broken="hardswish100")
    assert found[bf16("hardswish100")] is False
    assert found[int8("hardswish50")] is True


def test_it_is_not_tried_where_there_is_nothing_to_gain_or_nothing_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not tried(monkeypatch, set(), functions=0)
    assert not tried(monkeypatch, set(), Recipe(methods=("nncf",)))
    assert not tried(monkeypatch, set(), Recipe(hardswish=()))
    assert not tried(monkeypatch, set(), builds=[BUILDS[0]])
    assert not tried(monkeypatch, set(), calibrated=8)
    assert tried(monkeypatch, set(), Recipe(methods=("nncf",), hardswish=(0.5,)))


def test_shares_that_come_to_the_same_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(tried(monkeypatch, set(), functions=1)) == [bf16("hardswish50")]
    assert list(tried(monkeypatch, set(), Recipe(hardswish=(0.666, 0.67)), functions=1000)) == [
        bf16("hardswish66.6"), bf16("hardswish67"),
    ]  # fmt: skip


def test_float32_where_bf16_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tried(monkeypatch, set(), Recipe(hardswish=(1.0,)), outside="openvino-bf16")
    assert list(found) == ["openvino-f32-hardswish100"]


def test_that_named_shares_cannot_be_tried_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not tried(monkeypatch, set(), calibrated=8)
    assert not told
    assert not tried(monkeypatch, set(), Recipe(hardswish=(0.5,)), calibrated=8)
    assert "skipped" in told[0]
