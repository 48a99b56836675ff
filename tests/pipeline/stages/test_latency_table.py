"""The latency table is measured once a layer, whichever model has it, and tells that a narrower net is faster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgewright.core import child
from edgewright.core.errors import TimedOut, Unavailable
from edgewright.core.store import Store
from edgewright.graph.layers import Layer, narrowed
from edgewright.pipeline.stages import latency_table
from edgewright.pipeline.stages.runner import StageRunner
from edgewright.runtimes.options import Options

OPTIONS = Options(runtime="onnxruntime", threads=1)
FIRST = Layer(kind="conv", cin=3, cout=16, kernel=(3, 3), pads=(1, 1, 1, 1), height=24, width=24, activation="relu")
SECOND = Layer(kind="conv", cin=16, cout=64, kernel=(3, 3), pads=(1, 1, 1, 1), height=24, width=24, activation="relu")


def test_a_layer_is_measured_once_for_all_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = child.call

    def call(target: str, **kwargs: Any) -> Any:
        asked.append(len(kwargs["layers"]))
        return real(target, **kwargs)

    monkeypatch.setattr(child, "call", call)
    monkeypatch.setattr(latency_table, "CHUNK", 4)
    steps: list[str] = []
    runner = StageRunner(store=Store(tmp_path), watch=lambda *step: steps.append(step[4]))
    first = latency_table.measure(runner, [FIRST, FIRST], OPTIONS, "ort-x86", "here")
    assert asked == [2], "sixteen and eight outputs"
    both = latency_table.measure(runner, [FIRST, SECOND], OPTIONS, "ort-x86", "here")
    assert asked == [2, 4, 4], "of the second model only the eight layers that the first one had not"
    assert both.costs[FIRST] == first.costs[FIRST]
    assert all(cost.is_int8 for cost in both.costs.values())
    again = latency_table.measure(runner, [FIRST, SECOND], OPTIONS, "ort-x86", "here")
    assert list(again.costs.items()) == list(both.costs.items()), "the order is part of what is kept of a cut by it"
    assert latency_table.measure(runner, [SECOND, FIRST], OPTIONS, "ort-x86", "here").costs == both.costs
    assert asked == [2, 4, 4] and steps[-1] == "10 of 10 layers from the store"
    before, after = [FIRST, SECOND], [narrowed(FIRST, 3, 8), narrowed(SECOND, 8, 24)]
    assert sum(map(both.microseconds, after, before)) < sum(map(both.microseconds, before))
    latency_table.measure(runner, [FIRST], OPTIONS, "ort-x86", "another machine")
    assert asked == [2, 4, 4, 2]


def test_a_killed_table_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def call(target: str, **kwargs: Any) -> Any:
        asked.append(len(kwargs["layers"]))
        if len(asked) == 2:
            raise TimedOut("Stopped.", "", "")
        return [{"microseconds": 1.0, "kernel": "Conv f32", "is_int8": False}] * len(kwargs["layers"])

    monkeypatch.setattr(child, "call", call)
    monkeypatch.setattr(latency_table, "CHUNK", 4)
    runner = StageRunner(store=Store(tmp_path))
    with pytest.raises(TimedOut):
        latency_table.measure(runner, [SECOND], OPTIONS, None, "here")
    assert len(latency_table.measure(runner, [SECOND], OPTIONS, None, "here").costs) == 8
    assert asked == [4, 4, 4]


def test_a_runtime_without_a_profiler_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="tensorrt reports no kernel times"):
        latency_table.measure(StageRunner(store=Store(tmp_path)), [FIRST], Options(runtime="tensorrt"), None, "here")
