"""The search on a made-up machine: never slower than the uniform variants, never outside the budget, and it resumes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from edgewright import api
from edgewright.bench.latency import Timing, summarize
from edgewright.bench.results import Ratio, Report
from edgewright.cli import options
from edgewright.core.errors import UsageError
from edgewright.pipeline import hosts, run
from edgewright.pipeline.candidates import mixed_precision
from edgewright.pipeline.recipe import Recipe

RECIPE = Recipe(
    runtimes=("onnxruntime",), methods=("minmax",), normalize=("host",), finalists=0, calibration_images=32,
    search=True, time_budget_s=600.0,
)  # fmt: skip
LAYERS = 6
NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    body = [m for i in range(5) for m in (nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1), nn.ReLU())]
    with torch.no_grad():
        for conv in body[::2]:
            conv.weight.mul_(0.1)
            for c in range(3):
                conv.weight[c, c, 1, 1] += 1.0
    head = nn.Linear(8, 3)
    with torch.no_grad():
        head.weight.mul_(0.05)
        for c in range(3):
            head.weight[c, c] += 4.0
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
"""


def in_int8(artifact: Path) -> list[bool]:
    """Which layers of an ONNX Runtime artifact run in INT8, in the order of the graph."""
    graph = onnx.load(artifact / "model.onnx").graph
    initial = {tensor.name for tensor in graph.initializer}
    weights = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in initial}
    return [node.input[1] in weights for node in graph.node if node.op_type in ("Conv", "Gemm")]


class Machine:
    """Measures with what each layer costs in float and in INT8 (ms); counts what it measured."""

    def __init__(self, exact: list[float], int8: list[float], name: str = "") -> None:
        self.exact, self.int8, self.name = exact, int8, name
        self.measured: list[str] = []
        self.fail_after: int | None = None

    def latency(self, artifact: Path) -> float:
        if not (artifact / "model.onnx").is_file():
            return 50.0  # the reference
        return 1.0 + sum(b if is_int8 else a for a, b, is_int8 in zip(self.exact, self.int8, in_int8(artifact)))

    def __call__(
        self, artifacts: Mapping[str, Path], _images: Any, folder: Path, *, reference: str | None = None, **_: Any
    ) -> dict[str, Timing]:
        if self.fail_after is not None and len(self.measured) >= self.fail_after:
            raise KeyboardInterrupt
        found = {}
        times = {id: self.latency(path) for id, path in artifacts.items()}
        for id, ms in times.items():
            self.measured.append(id)
            samples = np.linspace(0.999, 1.001, 200) * ms / 1e3
            value = times[reference] / ms if reference else None
            ratio = Ratio(value=value, low=value * 0.999, high=value * 1.001) if value else None
            found[id] = Timing(id=id, latency=summarize(samples), speedup=ratio, cold_start_ms=1.0)
        return found


Optimize = Callable[..., Report]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for all tests: what is built of a plan is the same on each made-up machine."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def optimize(tiny: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> Optimize:
    (tiny / "code" / "deep.py").write_text(NETWORK)
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(shared))

    def go(machine: Machine, budget: str = "agreement >= 90%", **changes: Any) -> Report:
        told = itertools.cycle([machine.exact, machine.int8])
        # The profiler finds every layer in INT8 half a millisecond too slow.
        monkeypatch.setattr(
            mixed_precision.profile, "attribute", lambda *_: [ms + 0.5 * (ms in machine.int8) for ms in next(told)]
        )
        monkeypatch.setattr(mixed_precision.profile, "has_profiler", lambda _: True)
        monkeypatch.setattr(mixed_precision.search, "PATIENCE", 1)  # each mixture is really built: few are enough
        monkeypatch.setattr(run, "measure_interleaved", machine)
        monkeypatch.setattr(hosts, "fingerprint", lambda _: f"{machine.name} {machine.exact} {machine.int8}")
        return api.optimize(
            "torch:deep:build", spec=tiny / "tiny.toml", data=tiny / "images", out=tiny / "out", budget=budget,
            recipe=msgspec.structs.replace(RECIPE, **changes),
        ).report  # fmt: skip

    return go


def test_a_faster_mixture_is_found_chosen_and_shipped(optimize: Optimize, tiny: Path) -> None:
    report = optimize(Machine([3.0] * LAYERS, [1.0, 1.0, 8.0, 1.0, 9.0, 1.0]))
    chosen = report.chosen
    assert chosen is not None and report.search is not None
    assert chosen.latency and chosen.latency.p50_ms == pytest.approx(1 + 4 * 1.0 + 2 * 3.0, abs=0.1)
    assert len(chosen.float_layers) == 2 and "-plan" in chosen.id and "-plan" in chosen.variant
    assert chosen.provenance["float_nodes"]
    assert chosen.id in report.search.told
    assert api.read_report(tiny / "out") == report
    bundle = next((tiny / "out").glob("*.edge"))
    assert in_int8(bundle) == [True, True, False, True, False, True]


@pytest.mark.parametrize(
    ("exact", "int8"), [([3.0] * LAYERS, [1.0] * LAYERS), ([1.0] * LAYERS, [3.0] * LAYERS)], ids=["int8", "float"]
)
def test_where_no_mixture_wins_the_uniform_one_is_chosen(
    optimize: Optimize, exact: list[float], int8: list[float]
) -> None:
    report = optimize(Machine(exact, int8))
    assert report.chosen is not None and report.search is not None
    assert not report.chosen.float_layers
    assert not any(m.float_layers for m in report.measurements)
    assert "none faster than" in report.search.told
    fastest = min(m.latency.p50_ms for m in report.measurements if m.latency and m.latency.p50_ms)
    assert report.chosen.latency and report.chosen.latency.p50_ms == fastest


def test_what_is_chosen_is_inside_the_budget(optimize: Optimize) -> None:
    """All in INT8 is fastest but loses too much: the mixture keeps in float what damages most."""
    machine = Machine([3.0] * LAYERS, [1.0] * LAYERS)
    whole = next(m for m in optimize(machine, search=False).measurements if m.scheme)
    assert whole.accuracy and whole.accuracy.sqnr_db
    report = optimize(machine, budget=f"sqnr >= {whole.accuracy.sqnr_db + 2:.1f} dB")
    chosen = report.chosen
    assert chosen is not None and chosen.latency and chosen.accuracy and chosen.float_layers
    assert chosen.accuracy.sqnr_db and chosen.accuracy.sqnr_db >= whole.accuracy.sqnr_db + 2
    assert chosen.latency.p50_ms is not None and chosen.latency.p50_ms < 1 + 3.0 * LAYERS


def test_a_killed_search_goes_on_with_what_was_measured(optimize: Optimize) -> None:
    costs = [3.0] * LAYERS, [1.0, 1.0, 8.0, 1.0, 9.0, 1.0]
    killed, again, third = (Machine(*costs, name="killed") for _ in range(3))
    killed.fail_after = 6
    with pytest.raises(KeyboardInterrupt):
        optimize(killed)
    report = optimize(again)
    assert report.chosen is not None and report.chosen.float_layers
    assert again.measured.count("onnxruntime-f32") < killed.measured.count("onnxruntime-f32") + again.measured.count(
        "onnxruntime-f32"
    ), "what was measured before the kill is in the store"
    assert optimize(third).choice == report.choice
    assert third.measured == [], "asked again, everything is in the store"


def test_the_time_budget_ends_the_search(optimize: Optimize) -> None:
    machine = Machine([3.0] * LAYERS, [1.0, 1.0, 8.0, 1.0, 9.0, 1.0])
    machine.name = "hurried"
    report = optimize(machine, time_budget_s=0.01)
    assert report.search is not None and report.search.mixtures == ()
    assert report.chosen is not None and not report.chosen.float_layers


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400)])
def test_a_time_is_read(text: str, seconds: float) -> None:
    assert options.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-3s", "10 parsecs", "m"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        options.seconds(text)
