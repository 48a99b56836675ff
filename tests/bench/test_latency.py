"""Interleaved latency: what survives failing neighbours, what is reported, and conditions that make it no evidence."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgewright.bench import environment, latency
from edgewright.bench.environment import Sample
from edgewright.bench.results import Load
from edgewright.core.child import Limits

QUICK = latency.Rules(min_duration_s=0.4, min_count=130, rounds=4, launches=1, warm_up_s=0.2)


@pytest.fixture
def stubbed(monkeypatch):
    """Children are served by serving_stub.py, which behaves as the artifact's name says."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(latency, "WORKER", "serving_stub")


def test_a_failing_artifact_is_a_reason_and_the_others_go_on(stubbed, tmp_path):
    names = ("slow", "crashes", "hangs", "eats", "refuses", "fast")
    steps = []
    found = latency.measure_interleaved(
        {name: Path("/artifacts", name) for name in names},
        ["image.png"],
        tmp_path,
        latency.Setup(rules=QUICK, limits=Limits(wall_s=6, memory_bytes=1 << 30)),
        reference="slow",
        progress=lambda *step: steps.append(step),
    )
    assert {name: found[name].stage for name in names} == {
        "slow": None, "crashes": "latency", "hangs": "latency", "eats": "latency", "refuses": "load", "fast": None,
    }  # fmt: skip
    assert "SIGSEGV" in found["crashes"].reason
    assert "longer than 6 s" in found["hangs"].reason
    assert "memory" in found["eats"].reason.lower()
    assert "unsupported operator Foo" in found["refuses"].reason
    assert found["fast"].speedup.value == pytest.approx(4, rel=0.05)
    assert found["fast"].latency.p50_ms == pytest.approx(5, rel=0.05)
    assert found["fast"].latency.steady
    assert (found["fast"].cold_start_ms, found["fast"].peak_memory_bytes) == (12.5, 50_000_000)
    assert len(np.load(tmp_path / found["fast"].samples)) == found["fast"].latency.samples >= 130
    assert steps[-1][:2] == (100, 100)


def test_contenders_are_those_that_may_be_the_fastest():
    rng = np.random.default_rng(0)
    machine = np.where(np.arange(12) < 5, 1.0, 1.3)
    fast, close, slow = ([each * m * rng.uniform(1, 1.04) for m in machine] for each in (1.0, 1.005, 1.4))
    found = latency.contenders({"slow": slow, "close": close, "fast": fast})
    assert set(found) == {"fast", "close"}
    assert sorted(found.values())[0] == 0
    assert 0 < max(found.values()) < 0.1
    assert list(latency.contenders({"only": fast})) == ["only"]


def test_contenders_alone_are_measured_on_in_new_processes(stubbed, tmp_path):
    rules = latency.Rules(min_duration_s=2.5, min_count=20, rounds=4, slice_s=0.02, within=0.0, warm_up_s=0.1)
    artifacts = {name: Path("/artifacts", name) for name in ("slow", "one", "two", "left")}

    def measured(rules):
        found = latency.measure_interleaved(artifacts, ["i.png"], tmp_path, latency.Setup(rules=rules))
        return {name: (timing.latency.rounds, timing.latency.launches) for name, timing in found.items()}

    assert measured(rules) == {"slow": (4, 1), "one": (8, 2), "two": (8, 2), "left": (8, 2)}
    inside = msgspec.structs.replace(rules, inside=("one", "two"))
    assert measured(inside) == {"slow": (4, 1), "one": (8, 2), "two": (8, 2), "left": (4, 1)}
    few = msgspec.structs.replace(rules, min_count=400, enough=20, inside=("one",), min_duration_s=1.0)
    assert measured(few) == {"slow": (4, 1), "one": (12, 1), "two": (4, 1), "left": (4, 1)}
    settled = msgspec.structs.replace(rules, within=0.05, min_duration_s=30.0)
    assert measured(settled)["one"] == (8, 2), "the interval of the ratio is narrow enough"


def test_percentiles_only_where_the_samples_support_them():
    found = latency.summarize([np.linspace(0.001, 0.002, 100)])
    assert found.p90_ms == pytest.approx(1.9, abs=0.02)
    assert (found.p95_ms, found.p99_ms) == (None, None)
    assert found.p90_interval_ms.low < found.p90_ms < found.p90_interval_ms.high
    assert found.throughput_per_s == pytest.approx(667, abs=1)


def sample(busy, total, **more):
    figures = {"steal_s": 0.0, "throttled_ms": 0.0, "frequency_mhz": None, "load_average": 0.0, **more}
    return Sample(busy_s=busy, total_s=total, **figures)


def test_own_cpu_time_is_not_load_beside_it():
    quiet = environment.load_of([(sample(0, 0), sample(10, 20), 9.9)])
    assert environment.objection(quiet) is None
    busy = environment.load_of([(sample(0, 0), sample(14, 20), 9.0)])
    assert busy.other_cpu_percent == 25.0
    assert "CPU load 25% from other processes" in environment.objection(busy)


@pytest.mark.parametrize(
    ("load", "says"),
    [
        (Load(steal_percent=9.0), "hypervisor took 9%"),
        (Load(throttled_ms=80.0), "throttled for 80 ms"),
        (Load(frequency_start_mhz=3000.0, frequency_end_mhz=1800.0), "fell from 3000 to 1800 MHz"),
    ],
)
def test_throttling_and_steal_make_it_no_evidence(load, says):
    assert says in environment.objection(load)


def test_this_machine_is_described():
    found = environment.describe()
    assert found.cpu
    assert found.cores >= 1
    assert found.memory_bytes > 1 << 28
    assert "numpy" in found.libraries


def test_the_steps_of_a_few_slow_calls_are_known() -> None:
    calls = np.array([[0.1, 0.2, 0.1], [0.3, 0.1, 0.2]])
    assert np.isfinite(latency._of_median(calls)).all() and latency._of_median(calls[:1]) == [0.1, 0.2, 0.1]
