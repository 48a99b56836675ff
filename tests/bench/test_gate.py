"""The gate: a budget, and a baseline report, with statistics rather than bare numbers."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from bench_sample import report

from edgewright.bench import accuracy, budget
from edgewright.bench.gate import enforce, gate
from edgewright.bench.results import Interval
from edgewright.core.errors import GateFailed, InvalidInput


def changed(found, **fields):
    """The report with the chosen measurement's latency or accuracy replaced field by field."""
    chosen = found.chosen
    for part in ("latency", "accuracy"):
        if part in fields:
            new = msgspec.structs.replace(getattr(chosen, part), **fields[part])
            chosen = msgspec.structs.replace(chosen, **{part: new})
    rest = tuple(chosen if m.id == chosen.id else m for m in found.measurements)
    return msgspec.structs.replace(found, measurements=rest)


@pytest.fixture(scope="module")
def base():
    return report(evil=False)


def test_passes_against_itself(base):
    found = gate(base, budget.parse(base.budget), base)
    assert found.passed, found.failures
    assert [term.status for term in found.terms] == ["met"] * 3


def test_a_missed_term_fails_with_exit_code_1(base):
    found = gate(base, budget.parse("p95 <= 1ms"))
    assert not found.passed
    with pytest.raises(GateFailed, match="misses by") as error:
        enforce(found)
    assert error.value.exit_code == 1


def test_no_evidence_is_no_pass(base):
    silent = changed(base, latency={"p99_ms": None})
    assert not gate(silent, budget.parse("p99 <= 100ms")).passed


def test_slower_beyond_noise_fails_and_within_noise_does_not(base):
    p50 = base.chosen.latency.p50_ms
    slower = {"p50_ms": p50 * 1.3, "p50_interval_ms": Interval(low=p50 * 1.28, high=p50 * 1.32)}
    assert "slower than the baseline: p50" in gate(changed(base, latency=slower), budget.parse(""), base).failures[0]
    noise = {"p50_ms": p50 * 1.03, "p50_interval_ms": Interval(low=p50 * 1.02, high=p50 * 1.04)}
    assert gate(changed(base, latency=noise), budget.parse(""), base).passed


def test_latency_of_another_machine_or_under_load_is_not_compared(base):
    slow = changed(base, latency={"p50_interval_ms": Interval(low=90, high=99)})
    elsewhere = msgspec.structs.replace(slow, environment=msgspec.structs.replace(slow.environment, cpu="other"))
    assert gate(elsewhere, budget.parse(""), base).passed
    loaded = changed(slow, latency={"valid": False, "why": "others used 50 %"})
    found = gate(loaded, budget.parse(""), base)
    assert found.passed
    assert "latency not compared: others used 50 %" in found.notes


def test_accuracy_is_compared_image_by_image(base):
    before = accuracy.unpack(base.chosen.accuracy.right, 400)
    worse = before.copy()
    worse[np.flatnonzero(before)[:6]] = False  # 1.5 points: far inside an unpaired interval, but every change is a loss
    new = {"top1": worse.mean() * 100, "right": accuracy.pack(worse)}
    assert "less accurate" in gate(changed(base, accuracy=new), budget.parse(""), base).failures[0]
    one = before.copy()
    one[np.flatnonzero(before)[0]] = False
    assert gate(changed(base, accuracy={"right": accuracy.pack(one)}), budget.parse(""), base).passed


def test_without_a_choice_it_fails_with_the_reports_own_reason(base):
    nothing = msgspec.structs.replace(base, choice=budget.choose([], None, budget.parse("")))
    assert "No variant was measured" in gate(nothing, budget.parse("")).failures[0]
    with pytest.raises(InvalidInput, match="has no variant 'x'"):
        gate(base, budget.parse(""), id="x")
