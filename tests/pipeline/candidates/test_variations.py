"""Variations are built of the fastest that keep the budget."""

from __future__ import annotations

import pytest

from edgewright.bench.latency import Timing
from edgewright.bench.results import Latency
from edgewright.pipeline import policy
from edgewright.pipeline.candidates import variations
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.state import Build

from ..run_states import all_proposed, built, state


def test_variations_are_of_what_is_inside_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    builds = [built("openvino", scheme="openvino", method=method) for method in ("minmax", "round", "nncf")]
    builds.append(built("openvino"))
    first = {
        build.candidate.id: Timing(id="", latency=Latency(samples=1, p50_ms=1.0 + number))
        for number, build in enumerate(builds)
    }
    monkeypatch.setattr(policy, "screen", lambda *_: first)

    def varied(inside: list[Build]) -> list[str]:
        monkeypatch.setattr(policy, "is_inside", lambda _, one: any(one is other for other in inside))
        return [found.candidate.id for found in all_proposed(variations, state(builds, Recipe(finalists=2)))]

    assert varied(builds[1:]) == ["openvino-int8-round+uint8", "openvino-int8-nncf+uint8"]
    assert varied([]) == ["openvino-int8-minmax+uint8", "openvino-int8-round+uint8"]
