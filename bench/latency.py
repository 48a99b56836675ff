"""Latency and energy of several artifacts in one interleaved run, by the rules of MLPerf LoadGen's single stream.

Where a camera's rate is asked for, rounds with frames at fixed times follow, idle between them.

Each artifact is served by a child process of its own. They are opened one after another (cold start, memory), warmed up
until steady, and then measured in rounds: every round gives each artifact one slice of time, in an order that changes,
so that drift of the machine falls on all alike. The parent sleeps meanwhile, and idle children wait on a pipe; where
there are power rails to read (a Jetson), a thread of the parent reads them ten times a second.

`observe` measures and needs numpy alone, so that it can run on a device; `timings` makes the figures out of what it
wrote, with scipy; `measure_interleaved` is both.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np

from edgewright.core import statistics
from edgewright.core.child import Child, Limits, Progress
from edgewright.core.errors import EdgewrightError
from edgewright.targets.sensors import Meter
from edgewright.targets.target import Target
from edgewright.tasks.scores import Interval

from . import environment
from .results import Latency, Load, Ratio

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


class Watched(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Samples of one way to be asked, before any statistics, and what the machine did meanwhile.

    `samples`: a .npy file (float64 seconds) in the folder of the run, the rounds one after another, `rounds` their
    lengths. `watts`: mean power, by `power_source`.
    """

    samples: str
    rounds: tuple[int, ...]
    load: Load | None = None
    watts: float | None = None
    power_source: str | None = None


class Observed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was seen of one artifact; or where (`stage`) and why (`reason`) it failed.

    `parts_s`: median seconds of each part of a call. `camera`: of the frames of a camera, a missed one is NaN.
    """

    id: str
    cold_starts_ms: tuple[float, ...] = ()
    peak_memory_bytes: int | None = None
    image: str = ""
    warm_up: int = 0
    steady: bool = False
    whole: Watched | None = None
    parts_s: dict[str, float] = {}
    camera: Watched | None = None
    stage: str | None = None
    reason: str | None = None


Observe = Callable[
    [Mapping[str, Path], Sequence[str], Path, Rules, "Target | None", "Progress | None"], "list[Observed]"
]
"""Measures artifacts (id -> folder) on images (files) and writes samples to a folder, here or on a device."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How and where artifacts are measured: by `measure`, or here by `observe`, whose children have `limits`.

    `target`: the device that the figures are for, whose power mode and clocks the machine must have for them to be
    evidence.
    """

    rules: Rules = field(default_factory=Rules)
    limits: Limits = field(default_factory=Limits)
    target: Target | None = None
    measure: Observe | None = None


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
    setup: Setup,
    *,
    reference: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Timing]:
    """Measure all `artifacts` (id -> artifact or bundle folder) on `images` (files, a handful) against each other.

    Writes the samples and the children's logs to `folder`. An artifact that crashes, hangs or runs out of memory gets a
    `Timing` with its reason; the others go on. `reference` names the artifact that speedups are relative to.
    """
    if setup.measure:
        seen = setup.measure(artifacts, images, folder, setup.rules, setup.target, progress)
    else:
        seen = observe(artifacts, images, folder, setup, progress)
    return timings(seen, folder, reference, setup.rules.rate_hz)


def observe(
    artifacts: Mapping[str, Path],
    images: Sequence[str],
    folder: Path,
    setup: Setup,
    progress: Progress | None = None,
) -> list[Observed]:
    """The half of `measure_interleaved` that opens and asks the artifacts, on this machine."""
    rules = setup.rules
    folder.mkdir(parents=True, exist_ok=True)
    subjects = [
        _Subject(id=id, path=path, log=folder / f"{number:03}.log", meter=Meter(), camera_meter=Meter())
        for number, (id, path) in enumerate(artifacts.items())
    ]
    try:
        for number, subject in enumerate(subjects):
            if progress:
                progress(50 * number // len(subjects), 100, f"opening {subject.id}")
            _open(subject, images, rules, setup.limits)
        _rounds(subjects, rules, progress)
        if rules.rate_hz:
            _camera_rounds(subjects, rules, rules.rate_hz, progress)
        if progress:
            progress(100, 100, f"{max((len(s.rounds) for s in subjects), default=0)} rounds")
    finally:
        for subject in subjects:
            subject.close()
    return [_observed(subject, folder, number, setup.target) for number, subject in enumerate(subjects)]


def timings(
    observed: Sequence[Observed], folder: Path, reference: str | None = None, rate_hz: float | None = None
) -> dict[str, Timing]:
    """The figures of what `observe` wrote to `folder`; speedups are against the artifact that `reference` names."""
    rounds = {seen.id: _samples(seen.whole, folder) for seen in observed}
    base = rounds.get(reference or "", [])
    return {seen.id: _timing(seen, rounds[seen.id], base, folder, rate_hz) for seen in observed}


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


def _observed(subject: _Subject, folder: Path, number: int, target: Target | None) -> Observed:
    if subject.reason:
        return Observed(id=subject.id, stage=subject.stage, reason=subject.reason)

    def watched(name: str, rounds: list[statistics.Floats], spans: list[Span], meter: Meter) -> Watched:
        np.save(folder / name, np.concatenate(rounds))
        load = environment.load_of(spans)
        return Watched(
            samples=name, rounds=tuple(map(len, rounds)), watts=meter.watts, power_source=meter.source,
            load=environment.with_clocks(load, meter.gpu, target) if load else None,
        )  # fmt: skip

    camera = None
    if subject.camera:
        camera = watched(f"{number:03}-camera.npy", subject.camera, subject.camera_spans, subject.camera_meter)
    return Observed(
        id=subject.id,
        cold_starts_ms=tuple(subject.cold_starts_ms),
        peak_memory_bytes=subject.memory_bytes,
        image=subject.image,
        warm_up=subject.warm_up,
        steady=subject.steady,
        whole=watched(f"{number:03}.npy", subject.rounds, subject.spans, subject.meter),
        parts_s={part: float(np.median(np.concatenate(slices))) for part, slices in subject.parts.items()},
        camera=camera,
    )


def _samples(watched: Watched | None, folder: Path) -> list[statistics.Floats]:
    """The samples, an array a round."""
    if watched is None:
        return []
    merged: statistics.Floats = np.load(folder / watched.samples, allow_pickle=False)
    return np.split(merged, np.cumsum(watched.rounds)[:-1])


def _timing(
    seen: Observed, rounds: Sequence[statistics.Floats], base: Sequence[statistics.Floats], folder: Path,
    rate_hz: float | None,
) -> Timing:  # fmt: skip
    if seen.whole is None:
        return Timing(id=seen.id, stage=seen.stage, reason=seen.reason)
    ratio = statistics.ratio_of_rounds(_medians(base), _medians(rounds))
    latency, watts = _latency(seen, seen.whole, rounds), seen.whole.watts
    frames = _samples(seen.camera, folder)
    return Timing(
        id=seen.id,
        latency=latency,
        camera=_camera_latency(seen.image, seen.camera, frames, rate_hz) if seen.camera and rate_hz else None,
        # Back to back the machine works all the time, so one inference takes its mean time's share of the power.
        energy_mj=round(watts * latency.mean_ms, 4) if watts is not None and latency.mean_ms else None,
        energy_source=seen.whole.power_source if watts is not None else None,
        cold_start_ms=round(median(seen.cold_starts_ms), 3),
        peak_memory_bytes=seen.peak_memory_bytes,
        speedup=Ratio(value=ratio.value, low=ratio.low, high=ratio.high) if ratio else None,
        load=seen.whole.load,
        samples=seen.whole.samples,
    )


def _medians(rounds: Sequence[statistics.Floats]) -> list[float]:
    return [float(np.median(part)) for part in rounds]


def _latency(seen: Observed, whole: Watched, rounds: Sequence[statistics.Floats]) -> Latency:
    why = [environment.objection(whole.load)] if environment.objection(whole.load) else []
    if not seen.steady:
        why.append("it did not get steady in the warm-up")
    parts = {f"{part}_p50_ms": seconds * 1e3 for part, seconds in seen.parts_s.items()}
    return msgspec.structs.replace(
        summarize(rounds),
        **parts,
        **_power(whole),
        rounds=len(whole.rounds),
        rounds_p50_ms=tuple(round(seconds * 1e3, 5) for seconds in _medians(rounds)),
        warmup_samples=seen.warm_up,
        steady=seen.steady,
        image=seen.image,
        valid=not why,
        why="; ".join(text for text in why if text) or None,
    )


def _camera_latency(image: str, camera: Watched, rounds: Sequence[statistics.Floats], rate_hz: float) -> Latency:
    seconds = np.concatenate(rounds)
    answered = [part[~np.isnan(part)] for part in rounds]
    why = environment.objection(camera.load, clocks=False)
    return msgspec.structs.replace(
        summarize(answered),
        **_power(camera),
        scenario="camera",
        rate_hz=rate_hz,
        frames=len(seconds),
        missed=len(seconds) - int((np.concatenate(answered) <= 1 / rate_hz).sum()),
        throughput_per_s=None,
        duration_s=len(seconds) / rate_hz,
        rounds=len(rounds),
        image=image,
        valid=why is None,
        why=why,
    )


def _power(watched: Watched) -> dict[str, Any]:
    watts = watched.watts
    return {} if watts is None else {"power_w": round(watts, 4), "power_source": watched.power_source}


def summarize(rounds: Sequence[statistics.Floats], confidence: float = 0.99) -> Latency:
    """The `Latency` of samples (float64 seconds) of rounds: the percentiles that they support, with intervals."""
    each = [np.asarray(part, np.float64) * 1e3 for part in rounds]
    ms = np.concatenate(each)
    figures: dict[str, float | Interval] = {}
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
        if found := statistics.percentile(each, q, confidence):
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
