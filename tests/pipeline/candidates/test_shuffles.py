"""Which candidates are built again without shuffles."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgewright.bench.latency import Timing
from edgewright.bench.results import Latency
from edgewright.core.errors import RuntimeFailed
from edgewright.pipeline.builder import CandidateBuilder
from edgewright.pipeline.candidate import Candidate, Variant
from edgewright.pipeline.candidates import shuffles
from edgewright.pipeline.state import Build, RunState
from edgewright.runtimes.options import Options


def build(runtime: str, failed_in: str | None = None, precision: str = "f32", **variant: Any) -> Build:
    options: Any = {"runtime": runtime, "precision": precision}
    return Build(candidate=Candidate(variant=Variant(**variant), options=Options(**options)), failed_in=failed_in)


INT8: Any = {"scheme": "openvino-vnni", "method": "nncf"}
BUILDS = [
    build("onnxruntime"), build("openvino"), build("openvino", precision="bf16"), build("openvino", **INT8),
    build("openvino", precision="bf16", **INT8), build("openvino", **INT8 | {"method": "distil"}),
    build("openvino", **INT8 | {"method": "qat"}), build("openvino", float_blocks=1, **INT8),
    build("openvino", compression="pruned1.5x"),
    build("openvino", failed_in="quantize", **INT8 | {"method": "minmax"}),
    build("onnxruntime", scheme="ort-x86-vnni", method="round"),
]  # fmt: skip


evaluated: list[str] = []
MS = {"openvino-f32": 2.0, "openvino-f32-unshuffled": 2.1, "openvino-bf16": 1.6, "openvino-bf16-unshuffled": 1.2}


def built(
    monkeypatch: pytest.MonkeyPatch, has: bool = True, outside: str = "", measure: bool = True, broken: bool = False,
    builds: list[Build] = BUILDS, ms: dict[str, float] = MS,
) -> dict[str, bool]:  # fmt: skip
    evaluated.clear()
    nothing: Any = None
    runner: Any = SimpleNamespace(watch=lambda *_: None)
    exported: Any = SimpleNamespace(path=Path())
    builder = CandidateBuilder(
        job=nothing, runner=runner, spec=nothing, images=nothing, exported=exported, host=nothing, measure=measure,
        compressed={"pruned1.5x": nothing},
    )  # fmt: skip
    state: Any = RunState(
        job=nothing, spec=nothing, images=nothing, exported=exported, reference=build("torch"), builds=builds,
        measured_here=True, host=nothing,
    )  # fmt: skip

    def take_out(*_: Any) -> str | None:
        if broken:
            raise RuntimeFailed("It has no order.", "", "")
        return "model" if has else None

    def screen(_: CandidateBuilder, some: list[Build]) -> dict[str, Timing]:
        return {w.candidate.id: Timing(id="", latency=Latency(samples=1, p50_ms=ms[w.candidate.id])) for w in some}

    monkeypatch.setattr(shuffles, "is_inside", lambda _, one: one.candidate.id != outside)
    monkeypatch.setattr(shuffles, "unshuffle", take_out)
    monkeypatch.setattr(CandidateBuilder, "build", lambda _, candidate: Build(candidate=candidate))
    monkeypatch.setattr(CandidateBuilder, "evaluate", lambda _, one: evaluated.append(one.candidate.id))
    monkeypatch.setattr(CandidateBuilder, "screen", screen)
    after, found = shuffles.look(builder, state)
    assert "pruned1.5x" in after.compressed
    assert {w.candidate.variant.compression for w in found if w.alive} <= after.compressed.keys()
    return {w.candidate.id: w.alive for w in found}


def test_openvinos_plain_candidates_are_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert built(monkeypatch) == {
        "openvino-f32-unshuffled": True,
        "openvino-bf16-unshuffled": True,
        "openvino-int8-vnni-nncf-unshuffled": True,
        "openvino-int8-bf16-vnni-nncf-unshuffled": True,
    }
    assert len(evaluated) == 4, "what is chosen next must be inside the budget"


def test_int8_is_built_again_only_where_float_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    found = built(monkeypatch, ms={**MS, "openvino-bf16-unshuffled": 1.7})
    assert [*found] == ["openvino-f32-unshuffled", "openvino-bf16-unshuffled"]


def test_without_float_candidates_int8_is_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    only = [w for w in BUILDS if w.candidate.variant.scheme]
    assert len(built(monkeypatch, builds=only)) == 2


def test_what_is_outside_the_budget_is_not_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "openvino-bf16-unshuffled" not in built(monkeypatch, outside="openvino-bf16")


@pytest.mark.parametrize("given", [{"has": False}, {"measure": False}])
def test_nothing_is_built_for_a_model_without_shuffles_or_without_a_device(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, bool]
) -> None:
    assert built(monkeypatch, **given) == {}


def test_a_pass_that_fails_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    assert built(monkeypatch, broken=True) == {"openvino-f32-unshuffled": False}
