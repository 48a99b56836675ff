"""Latency and energy of several artifacts in one interleaved run, by the rules of MLPerf LoadGen's single stream.

Where a camera's rate is asked for, rounds with frames at fixed times follow, idle between them.

Each artifact is served by a child process of its own. They are opened one after another (cold start, memory), warmed up
until steady, and then measured in rounds: every round gives each artifact one slice of time, in an order that changes,
so that drift of the machine falls on all alike. The parent sleeps meanwhile, and idle children wait on a pipe; where
there are power rails to read (a Jetson), a thread of the parent reads them ten times a second.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np

from edgewright.bench import environment, statistics
from edgewright.bench.results import Interval, Latency, Load, Ratio
from edgewright.core.errors import EdgewrightError
from edgewright.core.jail import Child, Limits, Progress
from edgewright.targets.sensors import Meter
from edgewright.targets.target import Target

WORKER = "edgewright.bench.worker"
PARTS = {"preprocess": 0.05, "runtime": 0.1, "postprocess": 0.05}
"""Of each slice, the time for each part of a call by itself; the rest is for whole calls."""
CAMERA_ROUNDS = 4


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How long to measure each artifact. Rounds go on until `min_duration_s` and `min_count` or `max_duration_s`.

    130 samples support p95 at 99 % confidence; a percentile that its samples do not support is left out. `rate_hz`:
    frames a second of a camera, in rounds of their own with `camera_frames` in all; None: no such rounds.
    """

    min_duration_s: float = 3.0
    min_count: int = 130
    max_duration_s: float = 20.0
    rounds: int = 8
    warm_up_s: float = 3.0
    cold_starts: int = 3
    rate_hz: float | None = None
    camera_frames: int = 130
    seed: int = 0


class Timing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was observed of one artifact, or the `reason` why nothing was.

    `speedup` is against the artifact that was named as reference. `samples` is a .npy file (float64 seconds) in the
    folder of the run. `stage` tells where it failed: "load", "latency" or "camera". `energy_mj`: see `Measurement`.
    """

    id: str
    latency: Latency | None = None
    camera: Latency | None = None
    energy_mj: float | None = None
    energy_source: str | None = None
    cold_start_ms: float | None = None
    peak_memory_bytes: int | None = None
    speedup: Ratio | None = None
    load: Load | None = None
    samples: str | None = None
    stage: str | None = None
    reason: str | None = None


Span = tuple[environment.Sample, environment.Sample, float]
"""The machine before and after a slice, and the CPU seconds that the measured process used in it."""


@dataclass(kw_only=True)
class _Subject:
    id: str
    path: Path
    log: Path
    meter: Meter
    camera_meter: Meter
    child: Child | None = None
    pid: int = 0
    image: str = ""
    steady: bool = False
    cold_starts_ms: list[float] = field(default_factory=list)
    memory_bytes: int | None = None
    warm_up: int = 0
    rounds: list[statistics.Floats] = field(default_factory=list)
    parts: dict[str, list[statistics.Floats]] = field(default_factory=lambda: {part: [] for part in PARTS})
    spans: list[Span] = field(default_factory=list)
    camera: list[statistics.Floats] = field(default_factory=list)
    camera_spans: list[Span] = field(default_factory=list)
    stage: str = "load"
    reason: str | None = None

    def fail(self, error: EdgewrightError) -> None:
        self.reason = " ".join(line for line in (error.what, error.why) if line)
        self.close()

    def close(self) -> None:
        if self.child:
            self.child.close()
            self.child = None

    def seconds(self) -> float:
        return sum(float(part.sum()) for part in self.rounds)

    def wants_more(self, rules: Rules) -> bool:
        if not self.child or self.seconds() >= rules.max_duration_s:
            return False
        enough = self.seconds() >= rules.min_duration_s and sum(map(len, self.rounds)) >= rules.min_count
        return len(self.rounds) < rules.rounds or not enough


def measure_interleaved(
    artifacts: Mapping[str, Path],
    images: Sequence[str],
    folder: Path,
    *,
    rules: Rules = Rules(),  # noqa: B008 - frozen
    limits: Limits = Limits(),
    reference: str | None = None,
    target: Target | None = None,
    progress: Progress | None = None,
) -> dict[str, Timing]:
    """Measure all `artifacts` (id -> artifact or bundle folder) on `images` (files, a handful) against each other.

    Writes the samples and the children's logs to `folder`. An artifact that crashes, hangs or runs out of memory gets a
    `Timing` with its reason; the others go on. `reference` names the artifact that speedups are relative to. `target`:
    the device that the figures are for, whose power mode and clocks this machine must have for them to be evidence.
    """
    folder.mkdir(parents=True, exist_ok=True)
    subjects = [
        _Subject(id=id, path=path, log=folder / f"{number:03}.log", meter=Meter(), camera_meter=Meter())
        for number, (id, path) in enumerate(artifacts.items())
    ]
    try:
        for number, subject in enumerate(subjects):
            if progress:
                progress(50 * number // len(subjects), 100, f"opening {subject.id}")
            _open(subject, images, rules, limits)
        _rounds(subjects, rules, progress)
        if rules.rate_hz:
            _camera_rounds(subjects, rules, rules.rate_hz, progress)
        if progress:
            progress(100, 100, f"{max((len(s.rounds) for s in subjects), default=0)} rounds")
    finally:
        for subject in subjects:
            subject.close()
    base = next((s.rounds for s in subjects if s.id == reference and not s.reason), [])
    return {s.id: _timing(s, base, folder, number, rules, target) for number, s in enumerate(subjects)}


def _open(subject: _Subject, images: Sequence[str], rules: Rules, limits: Limits) -> None:
    begin = time.monotonic()
    while True:
        subject.child = Child(subject.log, limits)
        try:
            opened = subject.child.call(f"{WORKER}:open_artifact", path=str(subject.path), images=list(images))
            subject.cold_starts_ms.append(opened["cold_start_ms"])
            # A start that takes long is not repeated: its spread is small beside it, and there may be many of them.
            spent = time.monotonic() - begin
            if len(subject.cold_starts_ms) >= rules.cold_starts or spent * (1 + 1 / len(subject.cold_starts_ms)) > 8:
                subject.pid, subject.image = opened["pid"], opened["image"]
                _warm_up(subject, rules)
                subject.memory_bytes = subject.child.call(f"{WORKER}:memory")
                return
        except EdgewrightError as error:
            subject.fail(error)
            return
        subject.close()


def _warm_up(subject: _Subject, rules: Rules) -> None:
    samples: list[statistics.Floats] = []
    begin = time.monotonic()
    while not subject.steady and time.monotonic() - begin < rules.warm_up_s:
        samples.append(_slice(subject, min(0.2, rules.warm_up_s / 4), "whole"))
        merged = np.concatenate(samples)
        subject.warm_up = len(merged)
        subject.steady = statistics.is_steady(merged, window=int(np.clip(len(merged) // 4, 3, 50)))


def _rounds(subjects: Sequence[_Subject], rules: Rules, progress: Progress | None) -> None:
    order = random.Random(rules.seed)
    seconds = rules.min_duration_s / rules.rounds
    number = 0
    while turn := [subject for subject in subjects if subject.wants_more(rules)]:
        for subject in order.sample(turn, len(turn)):
            try:
                _measure(subject, seconds)
            except EdgewrightError as error:
                subject.fail(error)
        number += 1
        if progress:
            # Slow ones need more rounds for their count of samples: the end comes nearer, it is not known.
            done = min(number / rules.rounds, 1.0) if len(turn) > 1 else 1.0
            progress(50 + int(49 * done), 100, f"round {number}, {len(turn)} variants in turn")


def _camera_rounds(subjects: Sequence[_Subject], rules: Rules, rate_hz: float, progress: Progress | None) -> None:
    order = random.Random(rules.seed)
    frames = -(-rules.camera_frames // CAMERA_ROUNDS)
    for number in range(1, CAMERA_ROUNDS + 1):
        turn = [subject for subject in subjects if subject.child]
        for subject in order.sample(turn, len(turn)):
            if progress:
                progress(99, 100, f"{rate_hz:g} frames a second, round {number} of {CAMERA_ROUNDS}: {subject.id}")
            try:
                _camera(subject, rate_hz, frames)
            except EdgewrightError as error:
                subject.fail(error)


def _camera(subject: _Subject, rate_hz: float, frames: int) -> None:
    subject.stage = "camera"
    assert subject.child is not None
    used, start = environment.cpu_seconds(subject.pid), environment.sample()
    with subject.camera_meter:
        answer = subject.child.call(f"{WORKER}:camera_slice", rate_hz=rate_hz, frames=frames)
    subject.camera_spans.append((start, environment.sample(), environment.cpu_seconds(subject.pid) - used))
    subject.camera.append(np.frombuffer(answer, np.float64))


def _measure(subject: _Subject, seconds: float) -> None:
    subject.stage = "latency"
    used, start = environment.cpu_seconds(subject.pid), environment.sample()
    with subject.meter:
        whole = _slice(subject, seconds * (1 - sum(PARTS.values())), "whole")
    parts = {part: _slice(subject, seconds * share, part) for part, share in PARTS.items()}
    end = environment.sample()
    subject.spans.append((start, end, environment.cpu_seconds(subject.pid) - used))
    subject.rounds.append(whole)
    for part, samples in parts.items():
        subject.parts[part].append(samples)


def _slice(subject: _Subject, seconds: float, part: str) -> statistics.Floats:
    assert subject.child is not None
    answer = subject.child.call(f"{WORKER}:latency_slice", seconds=seconds, min_count=1, part=part)
    return np.frombuffer(answer, np.float64)


def _timing(
    subject: _Subject, base: Sequence[statistics.Floats], folder: Path, number: int, rules: Rules, target: Target | None
) -> Timing:
    if subject.reason:
        return Timing(id=subject.id, stage=subject.stage, reason=subject.reason)
    samples = f"{number:03}.npy"
    np.save(folder / samples, np.concatenate(subject.rounds))
    load = _load(subject.spans, subject.meter, target)
    ratio = statistics.ratio_of_medians(base, subject.rounds)
    latency, watts = _latency(subject, load), subject.meter.watts
    return Timing(
        id=subject.id,
        latency=latency,
        camera=_camera_latency(subject, rules.rate_hz, target) if rules.rate_hz else None,
        # Back to back the machine works all the time, so one inference takes its mean time's share of the power.
        energy_mj=round(watts * latency.mean_ms, 4) if watts is not None and latency.mean_ms else None,
        energy_source=subject.meter.source if watts is not None else None,
        cold_start_ms=round(median(subject.cold_starts_ms), 3),
        peak_memory_bytes=subject.memory_bytes,
        speedup=Ratio(value=ratio.value, low=ratio.low, high=ratio.high) if ratio else None,
        load=load,
        samples=samples,
    )


def _load(spans: Sequence[Span], meter: Meter, target: Target | None) -> Load | None:
    load = environment.load_of(spans)
    return environment.with_clocks(load, meter.gpu, target) if load else None


def _latency(subject: _Subject, load: Load | None) -> Latency:
    why = [environment.objection(load)] if environment.objection(load) else []
    if not subject.steady:
        why.append("it did not get steady in the warm-up")
    merged = summarize(np.concatenate(subject.rounds))
    parts = {f"{part}_p50_ms": float(np.median(np.concatenate(s))) * 1e3 for part, s in subject.parts.items()}
    return msgspec.structs.replace(
        merged,
        **parts,
        **_power(subject.meter),
        rounds=len(subject.rounds),
        warmup_samples=subject.warm_up,
        steady=subject.steady,
        image=subject.image,
        valid=not why,
        why="; ".join(text for text in why if text) or None,
    )


def _camera_latency(subject: _Subject, rate_hz: float, target: Target | None) -> Latency:
    seconds = np.concatenate(subject.camera)
    answered = seconds[~np.isnan(seconds)]
    why = environment.objection(_load(subject.camera_spans, subject.camera_meter, target), clocks=False)
    return msgspec.structs.replace(
        summarize(answered),
        **_power(subject.camera_meter),
        scenario="camera",
        rate_hz=rate_hz,
        frames=len(seconds),
        missed=len(seconds) - int((answered <= 1 / rate_hz).sum()),
        throughput_per_s=None,
        duration_s=len(seconds) / rate_hz,
        rounds=len(subject.camera),
        image=subject.image,
        valid=why is None,
        why=why,
    )


def _power(meter: Meter) -> dict[str, Any]:
    watts = meter.watts
    return {} if watts is None else {"power_w": round(watts, 4), "power_source": meter.source}


def summarize(seconds: statistics.Floats, confidence: float = 0.99) -> Latency:
    """The `Latency` of samples (float64 seconds): the percentiles that they support at `confidence`, with intervals."""
    ms = np.asarray(seconds, np.float64) * 1e3
    figures: dict[str, float | Interval] = {}
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
        if found := statistics.percentile(ms, q, confidence):
            figures[f"{name}_ms"] = found.value
            figures[f"{name}_interval_ms"] = Interval(low=found.low, high=found.high)
    steps = np.linspace(0, 1, min(101, len(ms)))
    return msgspec.convert(
        {
            **msgspec.to_builtins(figures),
            "samples": len(ms),
            "confidence": confidence,
            "mean_ms": float(ms.mean()),
            "min_ms": float(ms.min()),
            "throughput_per_s": 1e3 / float(ms.mean()),
            "duration_s": float(ms.sum()) / 1e3,
            "quantiles_ms": [round(float(value), 4) for value in np.quantile(ms, steps)],
        },
        Latency,
    )
