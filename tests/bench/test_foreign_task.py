"""A task from another package has its own scores: budgets, gates and reports take them, also where less is better."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from bench_sample import report
from rich.console import Console

from edgewright.bench import budget, console, html, markdown, metrics
from edgewright.bench.choice import choose
from edgewright.bench.gate import gate
from edgewright.core.errors import UsageError
from edgewright.tasks.scores import Accuracy, Delta, Scored, pack

replace = msgspec.structs.replace
METRIC = """
from edgewright.core.statistics import mean_difference
from edgewright.tasks.scores import Score, Vocabulary

SCORES = (Score(name="tilt", title="tilt", unit="deg", better="lower"),)
DEFAULT_BUDGET = "tilt <= 2"
VOCABULARY = Vocabulary(models="horizons", names="meantilt angle")
difference = mean_difference
"""
REPORT = """
HEADING, TITLE, AGREEMENT, SHOWN, GALLERY = "Tilt", "Mean tilt", "Same answer as reference", (), ""
"""


@pytest.fixture(autouse=True)
def horizon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with the task "horizon", whose score is a mean error in degrees."""
    package = tmp_path / "site" / "horizon_task"
    package.mkdir(parents=True)
    for name, text in (("__init__", ""), ("metric", METRIC), ("report", REPORT)):
        (package / f"{name}.py").write_text(text)
    info = tmp_path / "site" / "horizon_task-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: horizon-task\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[edgewright.tasks]\nhorizon = horizon_task\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for name in [name for name in sys.modules if name.startswith("horizon_task")]:
        monkeypatch.delitem(sys.modules, name)


def of_horizons(lost: float, seed: int = 0):
    """The sample as a report of this task: the reference's error is 5 degrees, each variant's larger by `lost`."""
    found, each = report(evil=False), np.random.default_rng(seed).normal(0, 1, 400)
    each += 5 + lost - each.mean()
    delta = Delta(value=lost, low=lost - 0.2, high=lost + 0.2, verdict="undecided", margin=2.0)
    accuracy = Accuracy(
        images=400, primary="tilt", scores={"tilt": Scored(value=5.0 + lost, delta=delta)}, contributions=pack(each)
    )
    rows = tuple(replace(m, accuracy=m.accuracy and accuracy) for m in found.measurements)
    reference = replace(
        found.reference, accuracy=Accuracy(images=400, primary="tilt", scores={"tilt": Scored(value=5.0)})
    )
    plan = budget.default("horizon")
    return replace(
        found, model=replace(found.model, task="horizon"), reference=reference, budget=plan.text,
        measurements=tuple(replace(m, budget=budget.check(m, reference, plan)) for m in rows),
        choice=choose(rows, reference, plan),
    )  # fmt: skip


def test_its_score_is_a_metric_of_budgets() -> None:
    known = list(metrics.known())
    assert {"top1", "map", "tilt"} <= set(known[: known.index("confidence")])
    found = budget.parse("tilt <= 1.5, Mean tilt <= 8 deg, p95 <= 10ms, angle <= 2 @95%")
    assert found.text == "tilt <= 1.5, tilt <= 8deg, p95 <= 10ms, tilt <= 2 @95%"
    assert [(x.value, x.at_least, x.compares, x.absolute) for x in found.limits[:2]] == [
        (1.5, False, True, False), (8.0, False, True, True),
    ]  # fmt: skip
    assert (found.margin(), found.judges_accuracy) == (1.5, True)
    with pytest.raises(UsageError, match=r"Write 'tilt <= 1.5'"):
        budget.parse("tilt >= 1.5")
    with pytest.raises(UsageError, match=r"'rad' is not a unit of tilt.*\n.*\nAllowed: deg"):
        budget.parse("tilt <= 1 rad")
    with pytest.raises(UsageError, match=r"tilt is not a metric of this model.*\n.*whose metric is top1"):
        budget.require_task(found, "classify")


def test_a_budget_is_checked_in_its_unit() -> None:
    (measured, *_) = of_horizons(1.0).measurements
    terms = budget.check(measured, None, budget.parse("tilt <= 1.1, tilt <= 1.1 @95%, tilt <= 5.5deg, tilt <= 6deg"))
    assert [term.status for term in terms] == ["met", "missed", "missed", "met"]
    assert [term.value for term in terms] == pytest.approx([1.0, 1.2, 6.0, 6.0])
    (other,) = budget.check(measured, None, budget.parse("top1 >= -1"))
    assert (other.status, other.why) == ("unknown", "top1 is a metric of classifiers")


def test_a_gate_pairs_its_contributions() -> None:
    before, plan = of_horizons(0.0), budget.parse("tilt <= 2")
    assert gate(before, plan, before, compare="accuracy").passed
    assert gate(of_horizons(-1.0), plan, before, compare="accuracy").passed, "less is better"
    chance = gate(of_horizons(0.5), plan, before, compare="accuracy")
    assert "less accurate than the baseline: tilt 5.00 -> 5.50 deg, by more than chance" in chance.failures[0]
    allowed = gate(of_horizons(3.0), plan, before, id=before.choice.id, compare="accuracy")
    assert any("by more than 2 deg (paired" in text for text in allowed.failures)


def test_every_report_shows_it() -> None:
    found = of_horizons(1.0)
    assert found.choice and found.choice.id
    assert "the loss may be 1.20" in found.choice.why
    out = io.StringIO()
    console.show(found, Console(file=out, width=100))
    assert "tilt" in out.getvalue() and "6.00" in out.getvalue()
    assert "| tilt deg |" in markdown.render(found)
    page = html.render(found)
    assert "Tilt deg" in page and "Mean tilt (deg)" in page and "6.00 deg" in page
