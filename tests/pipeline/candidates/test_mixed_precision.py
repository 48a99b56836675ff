"""Mixed precision on a made-up machine: only where INT8 is outside the budget, until it is inside or too slow."""

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
from edgewright.pipeline import hosts
from edgewright.pipeline.candidates.mixed_precision import STEPS
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.stages import measure

RECIPE = Recipe(
    runtimes=("onnxruntime",), methods=("minmax",), normalize=("host",), finalists=0, calibration_images=32,
    mixed_precision=True,
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
    """Measures with what a layer costs in float and in INT8 (ms), and what mixing costs; keeps what it measured."""

    def __init__(self, exact: float, int8: float, mixing: float = 0.0) -> None:
        self.exact, self.int8, self.mixing = exact, int8, mixing
        self.measured: list[str] = []

    def latency(self, artifact: Path) -> float:
        if not (artifact / "model.onnx").is_file():
            return 50.0  # the reference
        layers = in_int8(artifact)
        mixing = self.mixing if len(set(layers)) > 1 else 0.0
        return 1.0 + mixing + sum(self.int8 if is_int8 else self.exact for is_int8 in layers)

    def __call__(
        self,
        artifacts: Mapping[str, Path],
        _images: Any,
        folder: Path,
        _setup: Any,
        *,
        reference: str | None = None,
        **_: Any,
    ) -> dict[str, Timing]:
        found = {}
        times = {id: self.latency(path) for id, path in artifacts.items()}
        for id, ms in times.items():
            self.measured.append(id)
            samples = np.linspace(0.999, 1.001, 200) * ms / 1e3
            value = times[reference] / ms if reference else None
            ratio = Ratio(value=value, low=value * 0.999, high=value * 1.001) if value else None
            found[id] = Timing(id=id, latency=summarize([samples]), speedup=ratio, cold_start_ms=1.0)
        return found


Optimize = Callable[..., Report]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for all tests: what is built is the same on each made-up machine."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def optimize(tiny: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> Optimize:
    (tiny / "code" / "deep.py").write_text(NETWORK)
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(shared))

    def go(machine: Machine, budget: str, **changes: Any) -> Report:
        monkeypatch.setattr(measure, "measure_interleaved", machine)
        monkeypatch.setattr(hosts, "fingerprint", lambda _: f"{machine.exact} {machine.int8} {machine.mixing}")
        return api.optimize(
            "torch:deep:build", spec=tiny / "tiny.toml", data=tiny / "images", out=tiny / "out", budget=budget,
            recipe=msgspec.structs.replace(RECIPE, **changes),
        ).report  # fmt: skip

    return go


@pytest.fixture
def budget(optimize: Optimize) -> str:
    """One that the whole network in INT8 misses by 2 dB."""
    whole = next(m for m in optimize(Machine(3.0, 1.0), "sqnr >= 0 dB", mixed_precision=False).measurements if m.scheme)
    assert whole.accuracy and whole.accuracy.sqnr_db
    return f"sqnr >= {whole.accuracy.sqnr_db + 2:.1f} dB"


def test_the_most_sensitive_blocks_stay_in_float_until_it_is_inside(
    optimize: Optimize, budget: str, tiny: Path
) -> None:
    machine = Machine(3.0, 1.0)
    report = optimize(machine, budget)
    chosen = report.chosen
    assert chosen is not None and chosen.latency and chosen.accuracy and chosen.float_layers
    assert chosen.accuracy.sqnr_db and chosen.accuracy.sqnr_db >= float(budget.split()[2])
    assert chosen.latency.p50_ms is not None and chosen.latency.p50_ms < 1 + 3.0 * LAYERS
    assert chosen.provenance["float_nodes"]
    mixed = [m for m in report.measurements if m.float_layers]
    assert [m.id.rpartition("-")[2] for m in mixed] == [f"mixed{count}" for count in STEPS[: len(mixed)]]
    assert mixed[-1] is chosen and all(set(a.float_layers) < set(b.float_layers) for a, b in itertools.pairwise(mixed))
    bundle = next((tiny / "out").glob("*.edge"))
    assert in_int8(bundle).count(False) == len(chosen.float_layers)
    machine.measured.clear()
    assert optimize(machine, budget).choice == report.choice
    assert machine.measured == [], "asked again, everything is in the store"


@pytest.mark.parametrize(("exact", "budget"), [(3.0, "sqnr >= 0 dB"), (1.0, "")], ids=["inside", "slower"])
def test_nothing_is_tried_where_int8_is_inside_or_slower(optimize: Optimize, exact: float, budget: str) -> None:
    report = optimize(Machine(exact, 4.0 - exact), budget or "sqnr >= 150 dB")
    assert report.measurements and not any(m.float_layers for m in report.measurements)


def test_it_ends_where_float_is_as_fast(optimize: Optimize, budget: str) -> None:
    report = optimize(Machine(3.0, 1.0, mixing=20.0), budget)
    mixed = [m.id for m in report.measurements if m.float_layers]
    assert [id.rpartition("-")[2] for id in mixed] == ["mixed1"]
    assert report.chosen is not None and report.chosen.id == "onnxruntime-f32"


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400)])
def test_a_time_is_read(text: str, seconds: float) -> None:
    assert options.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-3s", "10 parsecs", "m"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        options.seconds(text)
