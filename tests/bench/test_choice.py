"""The choice as a table of cases, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edgewright.bench import budget
from edgewright.bench.choice import choose
from edgewright.bench.results import Finding, Latency, Measurement, Reference
from edgewright.bench.sample_size import images_to_decide
from edgewright.core import statistics
from edgewright.tasks.scores import Accuracy, Delta, Interval, Scored, pack

LIMITS = "top1 >= -1.0"


def variant(
    id: str, p50: float, delta: float | None = -0.2, low: float = -0.9, *, memory: int | None = 100, wins: str = "",
    rounds: Sequence[float] = (), interval: float | None = None, images: int = 400, **more: Any,
) -> Measurement:  # fmt: skip
    """`wins`: the images, by letters, that it has right; `rounds`: medians of rounds relative to `p50`."""
    found = None
    if delta is not None:
        verdict = statistics.verdict(low, delta + 0.4, 1.0)
        difference = Delta(value=delta, low=low, high=delta + 0.4, verdict=verdict, margin=1.0)
        found = Accuracy(
            images=images, primary="top1", scores={"top1": Scored(value=80.0 + delta, delta=difference)},
            contributions=pack(np.array([100.0 * (letter in wins) for letter in "abcdefghijkl" * 8])) if wins else None,
        )  # fmt: skip
    latency = Latency(
        samples=200, p50_ms=p50, p95_ms=1.2 * p50, rounds_p50_ms=tuple(p50 * part for part in rounds),
        p50_interval_ms=Interval(low=p50 - interval, high=p50 + interval) if interval else None,
    )  # fmt: skip
    given = {
        "runtime": "openvino", "precision": "int8", "status": "ok", "latency": latency, "accuracy": found,
        "peak_memory_bytes": memory and memory * 1_000_000, "size_bytes": 3_000_000, **more,
    }  # fmt: skip
    return Measurement(id=id, variant=id, **given)


def mixed(id: str, p50: float, *args: Any, **more: Any) -> Measurement:
    return variant(id, p50, *args, float_layers=("a",), **more)


def exact(id: str, p50: float, **more: Any) -> Measurement:
    return variant(id, p50, 0.0, -0.1, precision="f32", scheme=None, **more)


STEADY, LOADED, NOISY = (1.0, 2.0, 1.0, 1.5, 1.0), (1.04, 1.9, 1.06, 1.46, 1.0), (1.0, 1.2, 1.6, 1.3, 2.0)
"""Rounds of variants beside each other: slow when the machine is, a little on its own, very much on its own."""
ERROR = (Finding(level="error", code="batch-rows", text="rows differ"),)
ELEVEN, TWELVE = "abcdefghijk", "abcdefghijkl"

CASES: dict[str, tuple[str, list[Measurement], str | None]] = {
    # proven before lucky
    "the fastest of the proven": (LIMITS, [variant("a", 3.0), variant("b", 2.0), variant("c", 4.0)], "b"),
    "proven before a faster unproven": (LIMITS, [variant("lucky", 2.0, low=-1.8), variant("sure", 4.0)], "sure"),
    "the demo that was reported": (
        LIMITS, [variant("undecided", 0.57, -0.8, -1.8, interval=0.03), variant("sure", 0.61, 0.4, -0.4)], "sure",
    ),
    "outside by value, whatever its interval": (LIMITS, [variant("out", 2.0, -1.1, -1.2), variant("in", 4.0)], "in"),
    "of the unproven the fastest": (LIMITS, [variant("a", 2.0, low=-1.8), variant("b", 4.0, low=-1.2)], "a"),
    "of unproven ties the nearest to proven": (
        LIMITS, [variant("a", 2.0, low=-1.8, memory=50), variant("b", 2.02, low=-1.2)], "b",
    ),
    "a confidence in the budget": (
        "top1 >= -1.0 @95%", [variant("lucky", 2.0, low=-1.8), variant("sure", 4.0)], "sure",
    ),
    # ties of latency: paired accuracy, then memory
    "all equal: by name": (LIMITS, [variant("b", 2.0), variant("a", 2.0)], "a"),
    "a tie: more accurate, image by image": (
        LIMITS, [variant("less", 2.0, wins=ELEVEN, memory=50), variant("more", 2.05, wins=TWELVE)], "more",
    ),
    "a tie without a proven difference: less memory": (
        LIMITS, [variant("heavy", 2.0, 0.0, -0.3, wins=TWELVE), variant("light", 2.05, wins=TWELVE, memory=80)],
        "light",
    ),
    "memory that is almost equal does not count": (
        LIMITS, [variant("a", 2.0, 0.0, -0.3), variant("b", 2.0, memory=98)], "a",
    ),
    "memory unknown: size": (
        LIMITS, [variant("a", 2.0, memory=None), variant("b", 2.0, memory=None, size_bytes=2_000_000)], "b",
    ),
    "no tie: slower in every round": (
        LIMITS, [variant("fast", 2.0, wins=ELEVEN, rounds=STEADY), variant("slow", 2.08, wins=TWELVE, rounds=STEADY)],
        "fast",
    ),
    "a tie: rounds do not separate them": (
        LIMITS, [variant("fast", 2.0, wins=ELEVEN, rounds=STEADY), variant("slow", 2.08, wins=TWELVE, rounds=LOADED)],
        "slow",
    ),
    "a wide interval is no tie": (
        LIMITS, [variant("fast", 2.0, rounds=STEADY), variant("slow", 2.6, memory=50, rounds=NOISY)], "fast",
    ),
    "the fastest in pairs, whatever its median": (
        LIMITS, [variant("early", 2.0, rounds=(1.0, 1.0, 1.0)), variant("late", 2.1, rounds=(0.8, 0.8, 0.8))], "late",
    ),
    "no rounds: intervals that overlap": (
        LIMITS, [variant("fast", 2.0, wins=ELEVEN, interval=0.1), variant("slow", 2.08, wins=TWELVE, interval=0.1)],
        "slow",
    ),
    "no rounds, intervals apart": (
        LIMITS, [variant("fast", 2.0, wins=ELEVEN, interval=0.03), variant("slow", 2.08, wins=TWELVE, interval=0.03)],
        "fast",
    ),
    "neither rounds nor intervals": (LIMITS, [variant("fast", 2.0), variant("slow", 2.2, memory=50)], "fast"),
    # floats and mixed precision
    "a float as fast as INT8, but heavy": (LIMITS, [variant("int8", 2.0, memory=50), exact("f32", 2.02)], "int8"),
    "a float as fast as INT8 and as light": (LIMITS, [variant("int8", 2.0), exact("f32", 2.02)], "f32"),
    "a proven float before lucky INT8": (LIMITS, [variant("int8", 2.0, low=-1.5), exact("f32", 4.0)], "f32"),
    "mixed precision that is faster": (LIMITS, [mixed("mixed", 2.0), variant("int8", 2.2), exact("f32", 4.0)], "mixed"),
    "mixed precision as fast as a uniform one": (LIMITS, [mixed("mixed", 2.0, memory=50), exact("f32", 2.04)], "f32"),
    "mixed precision, more accurate than a uniform one as fast": (
        LIMITS, [mixed("mixed", 2.02, wins=TWELVE), variant("int8", 2.0, wins=ELEVEN)], "mixed",
    ),
    "mixed precision alone": (LIMITS, [mixed("mixed", 2.0)], "mixed"),
    # what may not be chosen
    "in error by the audit": (LIMITS, [variant("wrong", 2.0, findings=ERROR), variant("right", 4.0)], "right"),
    "nothing inside": (LIMITS, [variant("a", 2.0, -1.5, -2.0), variant("b", 4.0, -3.0, -4.0)], None),
    "nothing but errors": (LIMITS, [variant("wrong", 2.0, findings=ERROR)], None),
    "nothing measured": (LIMITS, [variant("built", 2.0, status="built")], None),
    "no latency": (LIMITS, [variant("built", 2.0, latency=None)], None),
    "no labels": (LIMITS, [variant("a", 2.0, None)], None),
    # other budgets
    "no budget": ("", [variant("a", 2.0, None), variant("b", 4.0, None)], "a"),
    "no term on a score: ties to the more accurate": (
        "p95 <= 9ms", [variant("a", 2.0, -3.0, -4.0, memory=50), exact("f32", 2.02)], "f32",
    ),
    "no term on a score: the fastest": ("p95 <= 9ms", [variant("a", 2.0, -3.0, -4.0), exact("f32", 4.0)], "a"),
    "latency and size too": (
        f"{LIMITS}, p95 <= 4ms, size <= 4MB",
        [variant("slow", 4.0), variant("big", 2.0, size_bytes=5_000_000), variant("fits", 3.0)], "fits",
    ),
    "the proven one misses the size": (
        f"{LIMITS}, size <= 4MB",
        [variant("sure", 2.0, size_bytes=5_000_000), variant("lucky", 3.0, low=-2.0)], "lucky",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_chooses(case: str) -> None:
    text, found, expected = CASES[case]
    limits = budget.parse(text) if text else budget.Budget()
    assert choose(found, None, limits).id == expected
    assert choose(found[::-1], None, limits).id == expected, "the order of the rows does not matter"


def test_an_error_in_the_data_chooses_nothing() -> None:
    choice = choose([variant("a", 2.0)], None, budget.parse(LIMITS), ERROR)
    assert (choice.id, choice.nearest) == (None, None)
    assert "batch-rows" in choice.why


def test_the_comparison_can_be_given() -> None:
    """A pure function: what decides of two variants is an argument."""
    a, b = variant("a", 2.0), variant("b", 2.0)

    def compare(one: Measurement, other: Measurement) -> statistics.Estimate:
        return statistics.Estimate(2.0, 1.0, 3.0) if one is b else statistics.Estimate(-2.0, -3.0, -1.0)

    assert choose([a, b], None, budget.parse(LIMITS), compare=compare).id == "b"


def test_says_why_and_what_is_not_proven() -> None:
    limits = budget.parse(LIMITS)
    sure = choose([variant("a", 2.0), variant("out", 1.0, -4.0, -5.0)], None, limits)
    assert (sure.proven, sure.unproven) == (True, ())
    assert sure.why == "The only variant confirmed within the budget 'top1 >= -1.0' (2 tried)."
    tied = choose([variant("less", 2.0, wins=ELEVEN), variant("more", 2.05, wins=TWELVE)], None, limits)
    assert "less is equally fast within the uncertainty (2 ms and 2.05 ms) and is less accurate by 8.33 [" in tied.why
    heavy = choose([variant("heavy", 2.0), variant("light", 2.05, memory=50)], None, limits)
    assert "needs more memory (100 MB against 50 MB)" in heavy.why
    uniform = choose([mixed("mixed", 2.0), exact("f32", 2.04)], None, limits)
    assert "mixed is equally fast within the uncertainty (2 ms and 2.04 ms) and uses mixed precision" in uniform.why
    alone = choose([variant("a", 2.0, low=-1.4)], None, limits)
    assert alone.proven is False
    assert alone.why == (
        "The only variant within the budget 'top1 >= -1.0' (1 tried). 'top1 >= -1.0' is met by the measured value, but "
        "inconclusive at 95% confidence. On 400 images the loss may be 1.40. About 2,100 images would decide."
    )
    assert [(one.id, one.images) for one in alone.unproven] == [("a", 2100)]


def test_names_a_faster_one_that_is_not_proven() -> None:
    limits = budget.parse(LIMITS)
    found = [variant("lucky", 2.0, low=-1.4), variant("other", 1.9, low=-1.4), variant("sure", 4.0)]
    choice = choose(found, None, limits)
    assert (choice.id, [one.id for one in choice.unproven]) == ("sure", ["other"])
    assert "other is faster (1.9 ms against 4 ms). It is within the budget by its measured value, but" in choice.why
    assert "but inconclusive. About 2,100 images would decide." in choice.why
    assert not choose([variant("lucky", 3.9, low=-1.4), found[2]], None, limits).unproven, "by less than 5 %"
    edge = choose([variant("edge", 2.0, -1.0, -2.0), found[2]], None, limits)
    assert "too close to the limit" in edge.why and edge.unproven[0].images is None


def test_doubts_are_told() -> None:
    noisy = variant("a", 2.0, latency=Latency(samples=9, p50_ms=2.0, valid=False, why="noise"))
    assert "The latency of a is unreliable (noise)" in choose([noisy], None, budget.parse(LIMITS)).why
    free = choose([variant("a", 2.0, low=-1.8)], None, budget.parse("p50 <= 9ms"))
    assert free.proven is None
    assert (
        "inconclusive at 95% confidence: on 400 images the loss may be 1.80, above the margin of 1.00 points."
        in free.why
    )


def test_nothing_inside_names_the_nearest_and_what_it_misses() -> None:
    found = [variant("near", 11.0), variant("far", 30.0, -9.0, -9.5)]
    choice = choose(found, None, budget.parse("p50 <= 10ms, top1 >= -1"))
    assert (choice.id, choice.nearest) == (None, "near")
    assert choice.misses == ("p50 <= 10ms: 11 ms, missed by 1 ms",)
    wrong = choose([variant("wrong", 2.0, findings=ERROR)], None, budget.parse(LIMITS))
    assert (wrong.nearest, wrong.misses) == ("wrong", ("batch-rows: rows differ",))
    built = choose([variant("b", 1.0, status="built")], None, budget.parse(LIMITS))
    assert "0 failed, 1 were only built" in built.why


def answered(right: np.ndarray, theirs: np.ndarray, margin: float = 1.0) -> Accuracy:
    value, low, high = (100 * part for part in statistics.paired_difference(right, theirs))
    delta = Delta(value=value, low=low, high=high, margin=margin, verdict=statistics.verdict(low, high, margin))
    scored = {"top1": Scored(value=100 * right.mean(), delta=delta)}
    return Accuracy(images=len(right), primary="top1", scores=scored, contributions=pack(100.0 * right))


@pytest.mark.parametrize(("lost", "won"), [(0.0, 0.0), (0.02, 0.018), (0.05, 0.048)])
def test_the_number_of_images_decides_as_often_as_it_says(lost: float, won: float) -> None:
    """Drawn again on so many images, the variant is proven in about 80 % of the tries, never in hardly any."""
    rng, limits = np.random.default_rng(0), budget.parse(LIMITS)

    def draw(count: int) -> tuple[Accuracy, Accuracy]:
        chance = rng.random(count)
        theirs = (rng.random(count) < 0.8) & (chance >= won) | (chance < lost)
        ours = theirs & (chance >= lost) | (chance >= lost) & (chance < lost + won)
        theirs &= ~((chance >= lost) & (chance < lost + won))
        return answered(ours, theirs), answered(theirs, theirs)

    count = 1000 if lost else 100
    ours = np.ones(count, bool)
    theirs = ours.copy()
    ours[: round(lost * count)] = False
    theirs[round(lost * count) : round((lost + won) * count)] = False
    seen, reference = answered(ours, theirs), answered(theirs, theirs)
    needed = images_to_decide(seen, reference, limits)
    assert needed is not None and needed > count
    proven = sum(budget.standing(draw(needed)[0], limits) == "proven" for _ in range(60))
    assert 36 <= proven <= 60


def test_the_number_of_images_comes_from_the_width_where_answers_are_not_right_or_wrong() -> None:
    found = variant("a", 2.0, -0.4, -1.6).accuracy
    assert images_to_decide(found, None, budget.parse(LIMITS)) == 3700  # 400 * (1.2 / 0.6 * 2.487 / 1.645)^2, up
    assert images_to_decide(found, None, budget.parse("p50 <= 1ms")) is None
    assert images_to_decide(None, None, budget.parse(LIMITS)) is None
    reference = Reference(runtime="torch", device="cpu", precision="f32", accuracy=found)
    assert choose([variant("a", 2.0, -0.4, -1.6)], reference, budget.parse(LIMITS)).unproven[0].images == 3700
