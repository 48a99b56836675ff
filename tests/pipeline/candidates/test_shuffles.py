"""Which candidates are built again without shuffles."""

from __future__ import annotations

from typing import Any

import pytest

from edgewright.bench.latency import Timing
from edgewright.bench.results import Latency
from edgewright.core.errors import RuntimeFailed
from edgewright.pipeline import policy
from edgewright.pipeline.candidates import shuffles
from edgewright.pipeline.state import Build, RunState

from ..run_states import all_proposed, built, state

INT8: Any = {"scheme": "openvino-vnni", "method": "nncf"}
BUILDS = [
    built("onnxruntime"), built("openvino"), built("openvino", "bf16"), built("openvino", **INT8),
    built("openvino", "bf16", **INT8), built("openvino", **INT8 | {"method": "distil"}),
    built("openvino", **INT8 | {"method": "qat"}), built("openvino", float_blocks=1, **INT8),
    built("openvino", compression="pruned1.5x"),
    built("openvino", failed_in="quantize", **INT8 | {"method": "minmax"}),
    built("onnxruntime", scheme="ort-x86-vnni", method="round"),
]  # fmt: skip
MS = {"openvino-f32": 2.0, "openvino-f32-unshuffled": 2.1, "openvino-bf16": 1.6, "openvino-bf16-unshuffled": 1.2}


def again(
    monkeypatch: pytest.MonkeyPatch, has: bool = True, outside: str = "", measure: bool = True, broken: bool = False,
    builds: list[Build] = BUILDS, ms: dict[str, float] = MS,
) -> dict[str, bool]:  # fmt: skip
    """What is built again, and whether it could be."""

    def take_out(*_: Any) -> str | None:
        if broken:
            raise RuntimeFailed("It has no order.", "", "")
        return "model" if has else None

    def look(_: RunState, some: list[Build]) -> dict[str, Timing]:
        ids = [build.candidate.id for build in some]
        return {id: Timing(id="", latency=Latency(samples=1, p50_ms=ms[id])) for id in ids}

    monkeypatch.setattr(policy, "is_inside", lambda _, one: one.candidate.id != outside)
    monkeypatch.setattr(policy, "screen", look)
    monkeypatch.setattr(shuffles, "unshuffle", take_out)
    run = state(builds, measured_here=measure)
    found = all_proposed(shuffles, run)
    assert {build.candidate.variant.compression for build in found} <= run.models.keys()
    return {build.candidate.id: build.alive for build in found}


def test_openvinos_plain_candidates_are_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert again(monkeypatch) == {
        "openvino-f32-unshuffled": True,
        "openvino-bf16-unshuffled": True,
        "openvino-int8-vnni-nncf-unshuffled": True,
        "openvino-int8-bf16-vnni-nncf-unshuffled": True,
    }


def test_int8_is_built_again_only_where_float_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    found = again(monkeypatch, ms={**MS, "openvino-bf16-unshuffled": 1.7})
    assert [*found] == ["openvino-f32-unshuffled", "openvino-bf16-unshuffled"]


def test_without_float_candidates_int8_is_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    only = [w for w in BUILDS if w.candidate.variant.scheme]
    assert len(again(monkeypatch, builds=only)) == 2


def test_what_is_outside_the_budget_is_not_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "openvino-bf16-unshuffled" not in again(monkeypatch, outside="openvino-bf16")


@pytest.mark.parametrize("given", [{"has": False}, {"measure": False}])
def test_nothing_is_built_for_a_model_without_shuffles_or_without_a_device(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, bool]
) -> None:
    assert again(monkeypatch, **given) == {}


def test_a_pass_that_fails_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    assert again(monkeypatch, broken=True) == {"openvino-f32-unshuffled": False}
