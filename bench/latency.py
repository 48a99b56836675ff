"""Measure latency and energy of several artifacts in one interleaved run.

The scenario is the single stream of MLPerf LoadGen. If a camera's rate is given, rounds with frames at fixed times
follow; the device is idle between these frames.

A separate child process serves each artifact. The processes open one after another (cold start, memory) and warm up
until latency is steady. Then they are measured in rounds. Every round gives each artifact one short time slice, in
random order, so that slow seconds of the machine affect all artifacts equally. After `Rules.rounds` rounds, only the
contenders continue: artifacts that may be the fastest by the pairs of rounds. Two processes of one artifact can differ
for all of their life, so contenders continue in new processes. The parent sleeps during a slice, and the idle children
wait on a pipe. On machines with power sensors (a Jetson), a thread of the parent reads them ten times per second.

`observe` measures and needs only numpy, so that it can run on a device. `timings` computes the figures from its files
with scipy. `measure_interleaved` does both.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
import numpy as np

from edgewright.core import statistics
from edgewright.core.child import Child, Limits, Progress
from edgewright.core.errors import EdgewrightError
from edgewright.targets.sensors import Meter
from edgewright.targets.target import Target
from edgewright.tasks.scores import Interval

from . import environment
from .results import Latency, Load, Ratio, faster

WORKER = "edgewright.bench.worker"
STEPS = ("preprocess", "runtime", "postprocess")
"""The steps of a call in order: before the runtime's call, that call, and after it."""
CAMERA_ROUNDS = 4
LEAD_S, DEVICE_LEAD_S = 0.008, 0.1
"""Seconds at the start of each slice whose calls do not count. An idle GPU takes longer to reach its speed."""
DEVICE_SLICES = 5
"""Factor of a slice's length on a GPU."""
LEAST = 3
"""Minimum number of calls per slice. It is higher if the rounds must give `Rules.enough` samples."""
LAUNCH, LAUNCHES_KNOWN = 0.01, 12
"""Prior of the relative spread between processes of one artifact (`statistics.launch_spread`), and its degrees of
freedom.

Two copies each of three files differed by 1.0, 2.3 and 2.5% on an idle machine. The observations of a run update it.
"""
OF_MEDIAN = 1.2
"""The standard deviation of a median of a few values, relative to that of their mean."""
SLOW_START_S = 3.0
"""An artifact that takes longer to open is not opened again."""
QUIET_S = 1.0
"""Seconds between two progress reports, because drawing them takes CPU time."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How long to measure each artifact.

    All artifacts take part in `rounds` rounds of `slice_s` seconds each, and continue until they have `min_count`
    samples. 130 samples support p95 at 99% confidence. A percentile without enough samples is omitted.

    Then only contenders continue: `rounds` rounds in each of `launches` processes, and more rounds in the last one.
    They stop after `min_duration_s`. From two processes on, they also stop when each paired interval against the
    fastest is no wider than `within`.

    `inside`: the ids that may be contenders; None: all. `enough`: the samples of the others, if their p95 is not
    needed. `max_duration_s` limits every artifact. `rate_hz`: frames per second of a camera, measured in separate
    rounds with `camera_frames` frames in total; None: no such rounds.
    """

    min_duration_s: float = 3.0
    min_count: int = 130
    max_duration_s: float = 20.0
    rounds: int = 12
    slice_s: float = 0.025
    launches: int = 4
    within: float = 0.03
    inside: tuple[str, ...] | None = None
    enough: int | None = None
    warm_up_s: float = 1.5
    rate_hz: float | None = None
    camera_frames: int = 130
    seed: int = 0


class Timing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The timing of one artifact, or the `reason` why there is none.

    `speedup` is against the reference artifact. `samples` is a .npy file (float64 seconds) in the folder of the run.
    `stage` is the step that failed: "load", "latency" or "camera". `energy_mj`: see `Measurement`.
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
    """Samples of one scenario before any statistics, and the state of the machine at that time.

    `samples`: a .npy file (float64 seconds) in the folder of the run, with the rounds in order. `rounds`: the number of
    samples of each round. `launches`: the number of rounds of each process. `watts`: mean power, by `power_source`.
    """

    samples: str
    rounds: tuple[int, ...]
    launches: tuple[int, ...] = ()
    load: Load | None = None
    watts: float | None = None
    power_source: str | None = None


class Observed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The observations of one artifact, or the step (`stage`) that failed and the `reason`.

    `parts_s`: the seconds of each of `STEPS` in the median call. `camera`: samples of the camera scenario, with NaN for
    missed frames.
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
    """How and where to measure: with `measure`, or here with `observe`, whose children have `limits`.

    `target`: the device that the figures are for. The figures are reliable only if the machine has its power mode and
    clocks.
    """

    rules: Rules = field(default_factory=Rules)
    limits: Limits = field(default_factory=Limits)
    target: Target | None = None
    measure: Observe | None = None


Span = tuple[environment.Sample, environment.Sample, float]
"""The machine before and after a slice, and the CPU seconds of the measured process in it."""


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
    on_device: bool = False
    steady: bool = False
    start_s: float = 0.0
    cold_starts_ms: list[float] = field(default_factory=list)
    memory_bytes: int | None = None
    warm_up: int = 0
    rounds: list[statistics.Floats] = field(default_factory=list)
    launches: list[int] = field(default_factory=list)
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

    def wants_samples(self, rules: Rules, rival: bool) -> bool:
        wanted = rules.min_count if rival else min(rules.enough or rules.min_count, rules.min_count)
        return sum(map(len, self.rounds)) < wanted and self.seconds() < rules.max_duration_s

    def medians(self) -> list[float]:
        """Return the seconds of each call in each round."""
        return _medians([part.sum(axis=1) for part in self.rounds])


def measure_interleaved(
    artifacts: Mapping[str, Path],
    images: Sequence[str],
    folder: Path,
    setup: Setup,
    *,
    reference: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Timing]:
    """Measure all `artifacts` (id -> artifact or bundle folder) on `images` (a few files) in turn.

    Writes the samples and the children's logs to `folder`. An artifact that crashes, hangs or runs out of memory gets a
    `Timing` with the reason, and the others continue. Speedups are against the artifact with the id `reference`.
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
    """Open and measure the artifacts on this machine: the first half of `measure_interleaved`."""
    rules = setup.rules
    folder.mkdir(parents=True, exist_ok=True)
    subjects = [
        _Subject(id=id, path=path, log=folder / f"{number:03}.log", meter=Meter(), camera_meter=Meter())
        for number, (id, path) in enumerate(artifacts.items())
    ]
    try:
        _start(subjects, images, setup.limits)
        for number, subject in enumerate(subjects):
            if progress:
                progress(50 * number // len(subjects), 100, f"opening {subject.id}")
            _open(subject, rules)
        _rounds(subjects, images, setup, progress)
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
    """Compute the figures from what `observe` wrote to `folder`. Speedups are against the artifact `reference`."""
    rounds = {seen.id: _samples(seen.whole, folder) for seen in observed}
    run = _Run.of([(seen.whole, rounds[seen.id]) for seen in observed if seen.whole])
    found = {seen.id: _timing(seen, rounds[seen.id], run, folder, rate_hz) for seen in observed}
    base = found[reference].latency if reference in found else None
    for id, timing in found.items():
        if base and timing.latency and (ratio := faster(base, timing.latency)):
            speedup = Ratio(value=ratio.value, low=ratio.low, high=ratio.high)
            found[id] = msgspec.structs.replace(timing, speedup=speedup)
    return found


def contenders(medians: Mapping[str, Sequence[float]], confidence: float = 0.99) -> dict[str, float]:
    """Return the artifacts that may be the fastest, each with the relative width of its interval against the fastest.

    `medians`: for each artifact the medians of its rounds; all must have the same rounds. The fastest artifact has the
    lowest ratio to the others in the median round, and the width 0. An artifact that is significantly slower is left
    out. A width of 0.03 means 3%. Needs only numpy.
    """
    logs = np.log([list(rounds) for rounds in medians.values()])
    ids = list(medians)
    fastest = medians[ids[int(np.median(logs - logs.mean(axis=0), axis=1).argmin())]]
    found = {}
    for id in ids:
        ratio = statistics.ratio_of_rounds(medians[id], fastest, confidence, LAUNCH * 2**0.5)
        if ratio is None or ratio.low <= 1:
            plain = statistics.ratio_of_rounds(medians[id], fastest)
            found[id] = plain.high / plain.low - 1 if plain else float("inf")
    return found


def _start(subjects: Sequence[_Subject], images: Sequence[str], limits: Limits) -> None:
    """Start new processes and load the images, two processes at a time, because no measurement is running."""

    def read(subject: _Subject) -> None:
        try:
            assert subject.child is not None
            subject.child.call(f"{WORKER}:read_images", images=list(images))
        except EdgewrightError as error:
            subject.fail(error)

    for subject in subjects:
        subject.close()
        subject.stage = "load"
        subject.child = Child(subject.log, limits)  # not in the pool: it would end with its thread
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, subjects))


def _open(subject: _Subject, rules: Rules) -> None:
    if not subject.child:
        return
    begin = time.monotonic()
    try:
        opened = subject.child.call(f"{WORKER}:open_artifact", path=str(subject.path))
        subject.start_s = time.monotonic() - begin
        subject.cold_starts_ms.append(opened["cold_start_ms"])
        subject.launches.append(0)
        subject.pid, subject.image, subject.on_device = opened["pid"], opened["image"], opened["on_device"]
        if len(subject.launches) == 1:
            _warm_up(subject, rules)
            subject.memory_bytes = subject.child.call(f"{WORKER}:memory")
        else:
            _slice(subject, min(0.1, rules.warm_up_s / 4))
    except EdgewrightError as error:
        subject.fail(error)


def _warm_up(subject: _Subject, rules: Rules) -> None:
    samples: list[statistics.Floats] = []
    begin = time.monotonic()
    while not subject.steady and time.monotonic() - begin < rules.warm_up_s:
        samples.append(_slice(subject, min(0.1, rules.warm_up_s / 4)).sum(axis=1))
        merged = np.concatenate(samples)
        subject.warm_up = len(merged)
        subject.steady = statistics.is_steady(merged, window=int(np.clip(len(merged) // 4, 3, 50)))


def _rounds(subjects: Sequence[_Subject], images: Sequence[str], setup: Setup, progress: Progress | None) -> None:
    rules, order = setup.rules, random.Random(setup.rules.seed)
    turn = [subject for subject in subjects if subject.child]
    number, reported = 0, 0.0
    while turn:
        for _ in range(rules.rounds):
            number += 1
            for subject in order.sample(turn, len(turn)):
                try:
                    if subject.child and subject.seconds() < rules.max_duration_s:
                        _measure(subject, rules)
                except EdgewrightError as error:
                    subject.fail(error)
            if progress and time.monotonic() - reported > QUIET_S:
                reported = time.monotonic()
                progress(50 + min(number, 49), 100, f"round {number}, {len(turn)} variants in turn")
        rivals, open_ = _rivals([s for s in turn if s.child and len(s.rounds) == number], rules)
        again = [s for s in open_ if len(s.launches) < rules.launches and s.start_s < SLOW_START_S]
        _start(again, images, setup.limits)
        for subject in again:
            _open(subject, rules)
        # An artifact that is out does not return, so all have the same rounds, counted from the first.
        turn = [s for s in turn if s.child and (s in open_ or s.wants_samples(rules, s in rivals))]


def _rivals(turn: Sequence[_Subject], rules: Rules) -> tuple[list[_Subject], list[_Subject]]:
    """Return the artifacts that may be the fastest, and those of them whose interval is not narrow enough yet."""
    able = [subject for subject in turn if rules.inside is None or subject.id in rules.inside]
    if not able:
        return [], []
    found = contenders({subject.id: subject.medians() for subject in able})
    rivals = [subject for subject in able if subject.id in found]
    begun = min(len(subject.launches) for subject in rivals)
    if len(rivals) > 1 and begun >= min(2, rules.launches) and max(found.values()) <= rules.within:
        return rivals, []
    most = min(rules.min_duration_s, rules.max_duration_s)
    return rivals, [subject for subject in rivals if subject.seconds() < most]


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


def _measure(subject: _Subject, rules: Rules) -> None:
    subject.stage = "latency"
    seconds = min(rules.slice_s, rules.min_duration_s / rules.rounds) * (DEVICE_SLICES if subject.on_device else 1)
    used, start = environment.cpu_seconds(subject.pid), environment.sample()
    with subject.meter:
        calls = _slice(subject, seconds, -(-min(rules.enough or 0, rules.min_count) // rules.rounds))
    subject.spans.append((start, environment.sample(), environment.cpu_seconds(subject.pid) - used))
    subject.rounds.append(calls)
    subject.launches[-1] += 1


def _slice(subject: _Subject, seconds: float, least: int = 0) -> statistics.Floats:
    """Return the seconds of each of `STEPS` (columns) for each call (rows)."""
    assert subject.child is not None
    lead_s = DEVICE_LEAD_S if subject.on_device else LEAD_S
    answer = subject.child.call(f"{WORKER}:latency_slice", seconds=seconds, min_count=max(least, LEAST), lead_s=lead_s)
    return np.frombuffer(answer, np.float64).reshape(-1, len(STEPS))


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

    calls, camera = np.concatenate(subject.rounds), None
    if subject.camera:
        camera = watched(f"{number:03}-camera.npy", subject.camera, subject.camera_spans, subject.camera_meter)
    return Observed(
        id=subject.id,
        cold_starts_ms=tuple(subject.cold_starts_ms),
        peak_memory_bytes=subject.memory_bytes,
        image=subject.image,
        warm_up=subject.warm_up,
        steady=subject.steady,
        whole=msgspec.structs.replace(
            watched(f"{number:03}.npy", [part.sum(axis=1) for part in subject.rounds], subject.spans, subject.meter),
            launches=tuple(subject.launches),
        ),
        parts_s=dict(zip(STEPS, _of_median(calls))),
        camera=camera,
    )


def _of_median(calls: statistics.Floats) -> list[float]:
    """Return the seconds of each step in the median call: the mean over the middle fifth of the calls."""
    whole = calls.sum(axis=1)
    low, high = np.quantile(whole, [0.4, 0.6], method="nearest")  # of two calls, none is between two values
    return [float(step) for step in calls[(whole >= low) & (whole <= high)].mean(axis=0)]


def _samples(watched: Watched | None, folder: Path) -> list[statistics.Floats]:
    """Return the samples as one array per round."""
    if watched is None:
        return []
    merged: statistics.Floats = np.load(folder / watched.samples, allow_pickle=False)
    return np.split(merged, np.cumsum(watched.rounds)[:-1])


class _Run(NamedTuple):
    """How slow the machine was in each round of a run (`levels`), and how much processes differ (`spread`)."""

    levels: statistics.Floats
    spread: float

    @classmethod
    def of(cls, every: Sequence[tuple[Watched, Sequence[statistics.Floats]]]) -> _Run:
        levels = statistics.levels([_medians(rounds) for _, rounds in every]) if every else np.ones(0)
        most = max((len(one.launches) for one, _ in every), default=0)
        launches = []
        for one, rounds in every:
            if len(one.launches) == most:
                levelled = np.array(_medians(rounds)) / levels[: len(rounds)]
                launches.append(np.split(levelled, np.cumsum(one.launches)[:-1]))
        return cls(levels, statistics.launch_spread(launches, LAUNCH, LAUNCHES_KNOWN))

    def median(self, rounds: Sequence[statistics.Floats]) -> float:
        """Return the median of all samples, corrected to the machine's median round."""
        return float(np.median(np.concatenate([part / level for part, level in zip(rounds, self.levels)])))


def _timing(
    seen: Observed, rounds: Sequence[statistics.Floats], run: _Run, folder: Path, rate_hz: float | None
) -> Timing:
    whole = seen.whole
    if whole is None:
        return Timing(id=seen.id, stage=seen.stage, reason=seen.reason)
    latency, watts = _latency(seen, whole, rounds, run), whole.watts
    frames = _samples(seen.camera, folder)
    return Timing(
        id=seen.id,
        latency=latency,
        camera=_camera_latency(seen.image, seen.camera, frames, rate_hz) if seen.camera and rate_hz else None,
        # Calls follow each other without pause, so one inference takes power for the mean latency.
        energy_mj=round(watts * latency.mean_ms, 4) if watts is not None and latency.mean_ms else None,
        energy_source=whole.power_source if watts is not None else None,
        cold_start_ms=round(median(seen.cold_starts_ms), 3),
        peak_memory_bytes=seen.peak_memory_bytes,
        load=whole.load,
        samples=whole.samples,
    )


def _medians(rounds: Sequence[statistics.Floats]) -> list[float]:
    return [float(np.median(part)) for part in rounds]


def _latency(seen: Observed, whole: Watched, rounds: Sequence[statistics.Floats], run: _Run) -> Latency:
    why = [environment.objection(whole.load)] if environment.objection(whole.load) else []
    if not seen.steady:
        why.append("the latency was not steady after the warm-up")
    launches = len(whole.launches) or 1
    spread = OF_MEDIAN * run.spread / launches**0.5
    found, p50_ms = summarize(rounds, spread=spread), run.median(rounds) * 1e3
    if interval := found.p50_interval_ms:
        interval = Interval(low=min(interval.low, p50_ms), high=max(interval.high, p50_ms))
    scale = p50_ms / sum(seen.parts_s.values()) if seen.parts_s else 0.0
    return msgspec.structs.replace(
        found,
        **{f"{part}_p50_ms": seconds * scale for part, seconds in seen.parts_s.items()},
        **_power(whole),
        p50_ms=p50_ms if found.p50_ms else None,
        p50_interval_ms=interval,
        rounds=len(whole.rounds),
        rounds_p50_ms=tuple(round(seconds * 1e3, 5) for seconds in _medians(rounds)),
        launches=launches,
        launch_spread=round(spread, 5),
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


def summarize(rounds: Sequence[statistics.Floats], confidence: float = 0.99, spread: float = 0.0) -> Latency:
    """Return the `Latency` of samples (float64 seconds) in rounds: the supported percentiles with intervals.

    `spread`: see `statistics.percentile`.
    """
    each = [np.asarray(part, np.float64) * 1e3 for part in rounds]
    ms = np.concatenate(each)
    figures: dict[str, float | Interval] = {}
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
        if found := statistics.percentile(each, q, confidence, spread):
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
