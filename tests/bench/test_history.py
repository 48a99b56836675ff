"""Histories of figures, and the change points in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bench_sample
import msgspec
import numpy as np
import pytest

from edgewright.bench import history as histories
from edgewright.bench import html
from edgewright.bench.change_points import change_points
from edgewright.bench.history import Figure, Run
from edgewright.core import urls
from edgewright.core.errors import InvalidInput


def run(number: int, p50: float, machine: str = "a", **more: Any) -> Run:
    figures = {
        "top1": Figure(value=80.0, unit="%", better="higher"),
        "p50": Figure(value=p50, unit="ms", better="lower", low=p50 * 0.99, high=p50 * 1.01),
    }
    return Run(
        time=f"2026-11-{1 + number // 24:02}T{number % 24:02}:00:00+00:00", commit=f"{number:040x}", model="net",
        task="classify", target="x86-64", variant="int8", machine=machine, **{"figures": figures, **more},
    )  # fmt: skip


@pytest.mark.parametrize("steps", [(), (20,), (12, 30), (30, 40)], ids=str)
def test_change_points_of_step_functions_are_found(steps: tuple[int, ...]) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        level = sum((np.arange(60) >= step) * (10.0 if k % 2 == 0 else -10.0) for k, step in enumerate(steps))
        found = [change.at for change in change_points(100 + level + rng.normal(0, 2, 60))]
        assert len(found) == len(steps)
        assert all(abs(at - step) <= 1 for at, step in zip(found, steps))


def test_noise_drift_of_one_run_and_short_series_are_no_change() -> None:
    rng = np.random.default_rng(1)
    false = sum(bool(change_points(rng.normal(100, 2, 60))) for _ in range(100))
    assert false <= 4
    outlier = rng.normal(100, 1, 40)
    outlier[20] = 300
    assert change_points(outlier) == [] == change_points([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    assert change_points([5.0] * 40) == [] == change_points([])


def test_equal_values_that_step_are_a_change() -> None:
    (change,) = change_points([80.0] * 10 + [78.5] * 10)
    assert (change.at, change.before, change.after) == (10, 80.0, 78.5)


def test_a_new_machine_is_never_a_change_of_the_model() -> None:
    rng = np.random.default_rng(0)
    runs = [run(k, (10.0 if k % 3 else 20.0) * rng.normal(1, 0.01), "ab"[k % 3 == 0]) for k in range(60)]
    assert histories.changes(runs, "p50") == []
    assert len(histories.machine_changes(runs)) > 30
    slower = [run(k, (10.0 if k % 3 else 20.0) * (1 + 0.1 * (k >= 31)), "ab"[k % 3 == 0]) for k in range(60)]
    assert {change.at for change in histories.changes(slower, "p50")} == {31, 33}  # one for each machine
    assert histories.is_worse(histories.changes(slower, "p50")[0], slower[0].figures["p50"])


def test_unreliable_latencies_do_not_count() -> None:
    runs = [run(k, 10.0 if k < 20 else 20.0, unreliable="CPU load 90%" if k >= 20 else "") for k in range(40)]
    assert histories.changes(runs, "p50") == []


@pytest.mark.parametrize("where", ["history.jsonl", "runs", "memory"])
def test_runs_come_back_in_order(where: str, tmp_path: Path) -> None:
    place = str(tmp_path / where)
    runs = [run(k, 10.0 + k) for k in (2, 0, 1)]
    for one in runs:
        histories.append(place, one)
    found = histories.read(place)
    assert found.runs == tuple(sorted(runs, key=lambda one: one.time)) and found.skipped == ()


def test_a_half_written_line_is_skipped_and_the_next_run_is_whole(tmp_path: Path) -> None:
    place = tmp_path / "history.jsonl"
    histories.append(str(place), run(0, 10.0))
    with place.open("ab") as file:
        file.write(msgspec.json.encode(run(1, 10.0))[:40])
    assert len(histories.read(str(place)).skipped) == 1
    histories.append(str(place), run(2, 10.0))
    found = histories.read(str(place))
    assert [one.commit[-1] for one in found.runs] == ["0", "2"]
    assert len(found.skipped) == 1 and "line 2" in found.skipped[0]


def test_a_history_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "history.jsonl"
    place.write_text('{"schema_version": 99, "time": "2030"}\n')
    with pytest.raises(InvalidInput, match="99"):
        histories.read(str(place))


def test_no_history_and_foreign_schemes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no history"):
        histories.read(str(tmp_path / "none.jsonl"))
    for url in ("ssh://host/x", "simplecache::https://host/x", "zip://a::file://b", "memory://x"):
        with pytest.raises(InvalidInput):
            urls.scheme(url)
    with pytest.raises(InvalidInput, match="append"):
        histories.append("s3://bucket/history.jsonl", run(0, 1.0))


def test_the_run_of_a_report_has_the_figures_of_its_chosen_variant() -> None:
    report = bench_sample.report(evil=False)
    found = histories.run_of(report, "abc", "main")
    assert report.chosen and report.chosen.latency and report.chosen.accuracy
    assert found.figures["p50"].value == report.chosen.latency.p50_ms
    assert found.figures["top1"].value == report.chosen.accuracy.score
    with pytest.raises(InvalidInput, match="no variant"):
        histories.run_of(bench_sample.nothing_inside(), "abc")


def test_the_page_of_a_history_escapes_names_and_has_a_plot_for_each_figure() -> None:
    runs = [run(k, 10.0 if k < 10 else 12.0, machine=bench_sample.EVIL, branch=bench_sample.EVIL) for k in range(20)]
    page = html.history(runs)
    assert "<script>document.title" not in page
    assert 'id="p50"' in page and 'id="top1"' in page
    assert html.history([])
