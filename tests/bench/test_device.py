"""What only a device tells: energy, a camera's rate, clocks and power mode. On recorded trees, all synthetic."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from types import SimpleNamespace

import boards
import msgspec
import numpy as np
import pytest
from bench_sample import report
from rich.console import Console

from edgewright.bench import console, environment, html, latency, markdown, worker
from edgewright.bench.results import Latency, Load
from edgewright.core.child import Limits
from edgewright.targets.detect import this_machine
from edgewright.targets.sensors import Meter, gpu_clock

QUICK = latency.Rules(min_duration_s=0.4, min_count=130, rounds=4, launches=1, warm_up_s=0.2, rate_hz=60)


@pytest.fixture
def stubbed(monkeypatch):
    """Children are served by serving_stub.py, which behaves as the artifact's name says."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(latency, "WORKER", "serving_stub")


@pytest.fixture
def served(monkeypatch):
    """The worker with a session that answers after so many seconds, on a clock that only waiting moves."""
    clock = SimpleNamespace(now=0, slept=0)

    def sleep(seconds):
        clock.slept += round(seconds * 1e9)
        clock.now += round(seconds * 1e9)

    def serve(seconds):
        def answer(image):
            clock.now += round(seconds * 1e9)

        monkeypatch.setattr(worker, "time", SimpleNamespace(perf_counter_ns=lambda: clock.now, sleep=sleep))
        monkeypatch.setitem(worker._open, "session", answer)
        monkeypatch.setitem(worker._open, "pixels", [np.zeros((8, 8, 3), np.uint8)])
        return clock

    return serve


def test_a_frame_counts_from_its_arrival_and_the_device_idles_between(served):
    clock = served(0.002)
    seconds = np.frombuffer(worker.camera_slice(rate_hz=50, frames=20), np.float64)
    assert seconds == pytest.approx([0.002] * 20)
    assert clock.slept / clock.now > 0.85, "18 of 20 ms of every period are idle"


def test_frames_that_come_too_fast_are_overwritten_by_newer_ones(served):
    served(0.050)  # two and a half periods
    seconds = np.frombuffer(worker.camera_slice(rate_hz=50, frames=24), np.float64)
    answered = seconds[~np.isnan(seconds)]
    assert len(answered) / len(seconds) == pytest.approx(0.4, abs=0.05)
    assert answered.min() >= 0.050
    assert answered.max() <= 0.070, "the newest frame is taken: no queue builds up"


def test_a_frame_that_waits_for_the_one_before_counts_its_wait(served):
    served(0.025)  # longer than a period by a quarter
    seconds = np.frombuffer(worker.camera_slice(rate_hz=50, frames=24), np.float64)
    answered = seconds[~np.isnan(seconds)]
    assert set(np.round(answered, 3)) == {0.025, 0.030, 0.035, 0.040}


def test_a_cameras_rate_is_a_latency_of_its_own(stubbed, tmp_path):
    steps = []
    found = latency.measure_interleaved(
        {name: Path("/artifacts", name) for name in ("slow", "fast")},
        ["image.png"],
        tmp_path,
        latency.Setup(rules=QUICK, limits=Limits(wall_s=6)),
        reference="slow",
        progress=lambda *step: steps.append(step),
    )
    fast, slow = found["fast"].camera, found["slow"].camera
    assert (fast.scenario, fast.rate_hz, fast.frames, fast.missed) == ("camera", 60, 132, 0)
    assert slow.missed == slow.frames, "20 ms are longer than the sixtieth of a second"
    assert (fast.throughput_per_s, fast.duration_s) == (None, pytest.approx(2.2))
    assert found["fast"].latency.scenario == "single_stream"
    assert any("60 frames a second" in text for _, _, text in steps)
    assert steps[-1][:2] == (100, 100)


def test_without_a_rate_there_is_none(stubbed, tmp_path):
    rules = msgspec.structs.replace(QUICK, rate_hz=None)
    found = latency.measure_interleaved(
        {"fast": Path("/artifacts/fast")}, ["image.png"], tmp_path, latency.Setup(rules=rules)
    )
    assert found["fast"].camera is None


def test_energy_is_the_mean_powers_share_of_one_inference(stubbed, tmp_path, monkeypatch):
    root = boards.orin_nano(tmp_path / "board")  # 6 W at its input
    monkeypatch.setattr(latency, "Meter", functools.partial(Meter, root, 0.01))
    found = latency.measure_interleaved(
        {"fast": Path("/artifacts/fast")}, ["image.png"], tmp_path, latency.Setup(rules=QUICK)
    )["fast"]
    assert found.energy_mj == pytest.approx(6.0 * 5.0, rel=0.02)
    assert found.energy_source == "VDD_IN"
    assert found.latency.power_w == pytest.approx(6.0)
    assert (found.camera.power_w, found.camera.power_source) == (pytest.approx(6.0), "VDD_IN")


def test_without_a_sensor_energy_is_absent(stubbed, tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "Meter", functools.partial(Meter, tmp_path / "nothing"))
    found = latency.measure_interleaved(
        {"fast": Path("/artifacts/fast")}, ["image.png"], tmp_path, latency.Setup(rules=QUICK)
    )["fast"]
    assert (found.energy_mj, found.energy_source, found.latency.power_w) == (None, None, None)
    assert b"energy" not in msgspec.json.encode(found)


def clocked(root, **target):
    machine = msgspec.structs.replace(this_machine(root, frozenset(range(64))), **target)
    return environment.with_clocks(Load(frequency_median_mhz=1497.6), gpu_clock(root), machine, root)


def test_a_slower_power_mode_than_the_targets_is_marked(tmp_path):
    root = boards.orin_nano(tmp_path)
    assert environment.objection(clocked(root)) == "the power mode is 15W, not the target's MAXN_SUPER"
    assert environment.objection(clocked(root, power_mode="15W")) is None, "a target may be meant in a slower mode"
    boards.write(root, "var/lib/nvpmodel/status", "pmode:0002\n")
    boards.clocks(root, "17000000.gpu", cur=1020, cap=1020, load=900)
    assert environment.objection(clocked(root)) is None


def test_a_gpu_below_its_limit_is_marked_where_it_works(tmp_path):
    root = boards.agx_orin(tmp_path)
    assert environment.objection(clocked(root)) is None
    boards.clocks(root, "17000000.ga10b", cur=612, cap=1301, load=500)
    assert environment.objection(clocked(root)) == "the GPU ran at 612 of 1301 MHz"
    assert environment.objection(clocked(root), clocks=False) is None, "between a camera's frames clocks may fall"
    boards.clocks(root, "17000000.ga10b", cur=306, cap=1301, load=0)
    assert environment.objection(clocked(root)) is None, "the artifact runs on the CPU"


def test_a_gpu_that_is_limited_below_the_targets_clock_is_marked(tmp_path):
    """In the right mode by name, but limited by hand; the target's own figure tells, the mode sets no limit."""
    root = boards.agx_orin(tmp_path)
    boards.clocks(root, "17000000.ga10b", cur=612, cap=612, load=900)
    assert environment.objection(clocked(root)) == "the GPU clock is limited to 612 MHz, the target has 1301 MHz"


@pytest.mark.parametrize(
    ("load", "says"),
    [
        (Load(frequency_median_mhz=900.0, frequency_cap_mhz=1497.6), "the CPU ran at 900 of 1498 MHz"),
        (Load(throttled_by=("gpu-throttle-alert",)), "gpu-throttle-alert limited the clocks"),
        (Load(over_current_events=3), "over-current protection lowered the clocks 3 times"),
    ],
)
def test_what_else_makes_it_no_evidence(load, says):
    assert says in environment.objection(load)


def test_the_load_tells_heat_and_events_of_the_spans():
    first = environment.Sample(0, 0, 0, 0, 1500.0, 0, 40.0, (), 5)
    last = environment.Sample(1, 0, 2, 0, 1200.0, 0, 61.0, ("cpu-throttle-alert",), 7)
    load = environment.load_of([(first, last, 1.0)])
    assert (load.temperature_start_c, load.temperature_end_c) == (40.0, 61.0)
    assert (load.throttled_by, load.over_current_events) == (("cpu-throttle-alert",), 2)
    assert load.frequency_median_mhz == 1200.0


@pytest.fixture
def paced():
    """The sample report with a camera's rate and energy in every measurement."""
    found = report(evil=False)
    camera = Latency(samples=130, scenario="camera", rate_hz=30, frames=130, missed=4, p50_ms=6.21, p90_ms=7.5)
    rows = tuple(
        msgspec.structs.replace(m, camera=camera, energy_mj=41.25, energy_source="VDD_IN") if m.status == "ok" else m
        for m in found.measurements
    )
    return msgspec.structs.replace(found, measurements=rows)


def test_every_report_shows_pace_and_energy(paced):
    out = io.StringIO()
    console.show(paced, Console(file=out, width=100, highlight=False))
    assert "at 30 frames/s" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 100
    for text in (out.getvalue(), markdown.render(paced), html.render(paced)):
        for fact in ("6.21", "4 of 130", "41.2", "VDD"):
            assert fact in text
    plain = io.StringIO()
    console.show(report(evil=False), Console(file=plain, width=100))
    assert "frames/s" not in plain.getvalue()
