"""The statistics against what is known: LoadGen's counts, coverage by simulation, and closed forms."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.core import statistics


@pytest.mark.parametrize(("q", "count"), [(0.9, 64), (0.95, 130), (0.99, 662)])
def test_the_samples_a_percentile_needs_are_loadgens(q, count):
    assert statistics.minimum_samples(q, 0.99) == count
    assert statistics.percentile([np.arange(float(count - 1))], q) is None
    assert statistics.percentile([np.arange(float(count))], q) is not None


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
def test_percentile_intervals_hold_the_truth_as_often_as_they_say(q):
    rng = np.random.default_rng(3)
    truth = -np.log(1 - q)
    found = [statistics.percentile(rng.exponential(size=(30, 30)), q, 0.95) for _ in range(300)]
    assert np.mean([e.low <= truth <= e.high for e in found]) >= 0.95


def test_ratio_cancels_drift_that_falls_on_both():
    rng = np.random.default_rng(1)
    drift = np.linspace(1, 1.6, 8)
    base = [10 * d * rng.uniform(1, 1.05, 50) for d in drift]
    other = [4 * d * rng.uniform(1, 1.05, 50) for d in drift]
    base, other = ([float(np.median(part)) for part in rounds] for rounds in (base, other))
    found = statistics.ratio_of_rounds(base, other)
    assert found.low < 2.5 < found.high
    assert found.high - found.low < 0.1
    assert statistics.ratio_of_rounds(base[:2], other[:2]) is None


def machine(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """How slow a machine is in each 5 ms: a fast and a slow mode that last 3 s, and a busy loop that comes and goes."""
    speed = np.ones(int(seconds / 0.005) + 1)
    for slower, on, off in ((1.2, 3.0, 3.0), (1.7, 1.5, 2.5)):
        start, state = 0, rng.random() < 0.5
        while start < len(speed):
            length = int(rng.exponential(on if state else off) / 0.005) + 1
            speed[start : start + length] *= slower if state else 1.0
            start, state = start + length, not state
    return speed


def interleaved(rng: np.random.Generator, calls_s: list[float], rounds: int = 30) -> list[list[np.ndarray]]:
    """Samples of artifacts in slices of 25 ms, in an order that changes, with 10 ms between them."""
    speed = machine(rng, rounds * len(calls_s) * 0.1 + 1)
    found: list[list[np.ndarray]] = [[] for _ in calls_s]
    now = 0.0
    for _ in range(rounds):
        for which in rng.permutation(len(calls_s)):
            now, part = now + 0.01, []
            end = now + 0.025
            while now < end:
                part.append(calls_s[which] * speed[int(now / 0.005)] * (1 + rng.exponential(0.02)))
                now += part[-1]
            found[which].append(np.array(part))
    return found


def medians(rounds: list[np.ndarray]) -> list[float]:
    return [float(np.median(part)) for part in rounds]


@pytest.mark.parametrize("call_s", [0.001, 0.005])
def test_equal_artifacts_are_not_told_apart_on_a_machine_with_two_modes(call_s):
    rng = np.random.default_rng(1)
    apart = {"p50": 0, "p90": 0, "ratio": 0}
    for _ in range(20):
        runs = interleaved(rng, [call_s] * 5)
        for one, other in itertools.combinations(runs, 2):
            for name, q in (("p50", 0.5), ("p90", 0.9)):
                a, b = statistics.percentile(one, q), statistics.percentile(other, q)
                apart[name] += a.low > b.high or b.low > a.high
            ratio = statistics.ratio_of_rounds(medians(one), medians(other), 0.99)
            apart["ratio"] += not ratio.low <= 1 <= ratio.high
    assert max(apart.values()) <= 2, "of 200 pairs"


def test_three_percent_are_found_on_a_machine_with_two_modes():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(10):
        slow, fast = map(medians, interleaved(rng, [0.00206, 0.002], rounds=60))
        found.append(statistics.ratio_of_rounds(slow, fast))
    assert all(ratio.low > 1 for ratio in found)
    assert np.median([ratio.value for ratio in found]) == pytest.approx(1.03, abs=0.005)


def test_the_machines_levels_make_medians_of_equal_artifacts_equal():
    rng = np.random.default_rng(4)
    spreads = []
    for _ in range(10):
        runs = interleaved(rng, [0.002] * 4)
        runs[0] = runs[0][:20]  # one that was measured in other seconds
        levels = statistics.levels([medians(run) for run in runs])
        p50 = [np.median(np.concatenate([part / level for part, level in zip(run, levels)])) for run in runs]
        spreads.append(max(p50) / min(p50) - 1)
    assert max(spreads) < 0.02
    assert np.median(levels) == pytest.approx(1)


def test_what_processes_differ_by_is_learned_and_makes_intervals_wider():
    rng = np.random.default_rng(3)
    launches = [[rng.normal(1, 0.04) * rng.normal(1, 0.002, 10) for _ in range(3)] for _ in range(6)]
    assert statistics.launch_spread(launches, 0.01, 1) == pytest.approx(0.04, rel=0.5)
    assert statistics.launch_spread(launches[:1], 0.01, 1) == 0.01
    rounds = [rng.normal(1, 0.001, 30) for _ in range(10)]
    plain, wide = statistics.percentile(rounds, 0.5), statistics.percentile(rounds, 0.5, spread=0.01)
    assert (plain.value, wide.low) == (wide.value, pytest.approx(wide.value * np.exp(-0.0258), rel=1e-3))
    assert statistics.ratio_of_rounds([1.02] * 9, [1.0] * 9).low == pytest.approx(1.02)
    assert statistics.ratio_of_rounds([1.02] * 9, [1.0] * 9, spread=0.02).low < 1


def test_steady_once_the_warm_up_is_over():
    rng = np.random.default_rng(0)
    warm_up = np.concatenate([np.linspace(3, 1, 60), np.full(60, 1.0)]) * rng.uniform(1, 1.02, 120)
    assert not statistics.is_steady(warm_up[:55])
    assert statistics.is_steady(warm_up)
    assert not statistics.is_steady(warm_up[-20:]), "two windows are too few"


def test_paired_difference_is_fast_for_50000_images_and_right():
    rng = np.random.default_rng(0)
    reference = rng.random(50_000) < 0.8
    ours = np.where(rng.random(50_000) < 0.02, ~reference, reference)
    statistics.paired_difference(ours[:10], reference[:10])
    start = time.perf_counter()
    found = statistics.paired_difference(ours, reference)
    assert time.perf_counter() - start < 1
    value = ours.mean() - reference.mean()
    deviation = (ours.astype(float) - reference).std() / np.sqrt(50_000)
    assert found.value == pytest.approx(value)
    assert found.low == pytest.approx(value - 1.645 * deviation, abs=deviation / 10)
    assert found.high == pytest.approx(value + 1.645 * deviation, abs=deviation / 10)


def test_equal_answers_on_few_images_prove_little():
    right = np.ones(30, bool)
    found = statistics.paired_difference(right, right)
    z2 = 1.6449**2  # Tango's interval without discordant pairs: z^2 / (n + z^2)
    assert (found.value, found.low) == (0, pytest.approx(-z2 / (30 + z2), rel=1e-3))
    assert statistics.verdict(found.low, found.high, 0.01) == "undecided"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_paired_difference_holds_its_value_and_mirrors(pairs):
    a, b = (np.array(side) for side in zip(*pairs))
    found, mirrored = statistics.paired_difference(a, b), statistics.paired_difference(b, a)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert mirrored.value == -found.value
    assert mirrored.low == pytest.approx(-found.high, abs=0.02 + 1.5 / len(pairs))


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(-0.9, 0.5, "not_worse"), (-1.5, 0.2, "undecided"), (-3.0, -1.2, "worse")]
)
def test_verdict_is_about_the_interval_not_the_value(low, high, expected):
    assert statistics.verdict(low, high, 1.0) == expected


def test_sqnr_and_agreement_of_known_noise():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(9000, 20)).astype(np.float32)
    outputs = reference + rng.normal(scale=0.1, size=reference.shape).astype(np.float32)
    assert statistics.sqnr_db(outputs, reference) == pytest.approx(20, abs=0.1)
    assert statistics.sqnr_db(reference, reference) == statistics.MAX_SQNR_DB
    assert statistics.agreement(reference, reference) == 1


def test_of_equal_scores_the_lower_class_wins_as_in_a_stable_sort():
    outputs = np.array([[1.0, 1.0, 0.0]] * 3)
    assert statistics.top_k(outputs, np.array([0, 1, 2]), 1).tolist() == [True, False, False]
    assert statistics.top_k(outputs, np.array([0, 1, 2]), 2).tolist() == [True, True, False]
