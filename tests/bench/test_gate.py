"""The gate: a budget, and a baseline report, with statistics rather than bare numbers, and no pass without evidence."""

from __future__ import annotations

import functools
import json

import msgspec
import numpy as np
import pytest
from bench_sample import report, timed
from boxes_sample import CLASSES, detections, scenes, spec

from edgewright.bench import budget, report_json
from edgewright.bench.choice import choose
from edgewright.bench.gate import gate
from edgewright.bench.results import Gpu
from edgewright.cli.main import run_command
from edgewright.core.errors import InvalidInput, UsageError
from edgewright.tasks.detect import metric
from edgewright.tasks.scores import Accuracy, Delta, Interval, pack, unpack

replace = msgspec.structs.replace
ALL = budget.Budget()
SEEDS = range(20)


def changed(found, **fields):
    """The report with the chosen measurement's latency or accuracy replaced, field by field or as a whole."""
    chosen = found.chosen
    for part, new in fields.items():
        if isinstance(new, dict) and part in ("latency", "accuracy"):
            new = replace(getattr(chosen, part), **new)
        chosen = replace(chosen, **{part: new})
    rest = tuple(chosen if m.id == chosen.id else m for m in found.measurements)
    return replace(found, measurements=rest)


def scored(accuracy, **fields):
    """The accuracy with fields of its primary score replaced."""
    primary = replace(accuracy.scores[accuracy.primary], **fields)
    return replace(accuracy, scores={**accuracy.scores, accuracy.primary: primary})


def elsewhere(found, **fields):
    """The report measured on a machine that differs in `fields`."""
    return replace(found, environment=replace(found.environment, **fields))


@functools.cache
def sample():
    return report(evil=False)


@pytest.fixture(scope="module")
def base():
    return sample()


@functools.cache
def photos():
    items = scenes(120, seed=1)
    return items, detections(items, CLASSES, 1, 0.05)


@functools.cache
def exact():
    items, boxes = photos()
    return metric.score(boxes, items, spec()).score


def detector(boxes):
    """The sample as a report of a detector that found `boxes`."""
    items = photos()[0]
    found = metric.score(boxes, items, spec())
    lost = found.score - exact()
    found = scored(found, delta=Delta(value=lost, low=lost - 1, high=lost + 1, verdict="undecided", margin=1.0))
    about = sample()
    data = replace(about.data, images=len(items), labelled=len(items), classes=CLASSES)
    about = replace(about, model=replace(about.model, task="detect", classes=CLASSES), data=data)
    return changed(replace(about, budget="map >= -1.0"), accuracy=found)


@pytest.fixture(scope="module")
def boxes():
    return detector(photos()[1])


def flipped(found, lost, won, rng):
    """The classifier's report with so many right answers wrong and wrong ones right."""
    right = unpack(found.chosen.accuracy.contributions) > 0
    right[rng.permutation(np.flatnonzero(right))[:lost]] = False
    right[rng.permutation(np.flatnonzero(~right))[:won]] = True
    one = scored(found.chosen.accuracy, value=float(right.mean()) * 100)
    return changed(found, accuracy=replace(one, contributions=pack(100.0 * right)))


def test_passes_against_itself(base, boxes):
    for found in (base, boxes):
        result = gate(found, budget.parse(found.budget), found)
        assert (result.verdict, result.passed) == ("passed", True), result
        assert {term.status for term in result.terms} == {"met"}


def test_a_missed_term_fails(base):
    found = gate(base, budget.parse("p95 <= 1ms"))
    assert (found.verdict, found.passed) == ("failed", False)
    assert any("missed by" in failure for failure in found.failures)


def test_no_evidence_is_no_pass(base):
    silent = changed(base, latency={"p99_ms": None})
    assert gate(silent, budget.parse("p99 <= 100ms")).verdict == "failed"


def test_without_a_choice_it_fails_with_the_reports_own_reason(base):
    nothing = replace(base, choice=choose([], None, ALL))
    assert "No variant was measured" in gate(nothing, budget.parse("p50 <= 9ms")).failures[0]
    with pytest.raises(InvalidInput, match="has no variant 'x'"):
        gate(base, budget.parse("p50 <= 9ms"), id="x")


def test_nothing_to_check_is_a_usage_error(base):
    with pytest.raises(UsageError, match="nothing to check"):
        gate(base, ALL)
    with pytest.raises(UsageError, match="no baseline"):
        gate(base, budget.parse("p50 <= 9ms"), compare="latency")
    with pytest.raises(UsageError, match="'size' cannot be compared"):
        gate(base, ALL, base, compare="size")
    with pytest.raises(UsageError, match="map is not a metric of this model"):
        gate(base, budget.parse("map >= -1"))


# --- latency ----------------------------------------------------------------------------------------------------------


def test_slower_beyond_noise_fails_and_within_noise_does_not(base):
    p50 = base.chosen.latency.p50_ms
    slower = {"p50_ms": p50 * 1.3, "p50_interval_ms": Interval(low=p50 * 1.28, high=p50 * 1.32)}
    assert "slower than the baseline: p50" in gate(changed(base, latency=slower), ALL, base).failures[0]
    noise = {"p50_ms": p50 * 1.03, "p50_interval_ms": Interval(low=p50 * 1.02, high=p50 * 1.04)}
    assert gate(changed(base, latency=noise), ALL, base).passed


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ({"cpu": "AMD EPYC"}, "cpu (Intel(R) Xeon(R) Platinum 8481C; baseline: AMD EPYC)"),
        ({"arch": "aarch64"}, "arch (x86_64; baseline: aarch64)"),
        ({"isa": ("avx2", "avx512")}, "instruction sets (also amx_bf16 amx_int8 avx512_vnni; baseline: none more)"),
        ({"cores": 4}, "cores (2; baseline: 4)"),
        ({"physical_cores": None}, "physical cores (2; baseline: unknown)"),
        ({"board": "Jetson"}, "board (unknown; baseline: Jetson)"),
        ({"power_mode": "15W"}, "power mode (unknown; baseline: 15W)"),
        ({"gpus": (Gpu(name="RTX", driver="550"),)}, "GPU (none; baseline: RTX with driver 550)"),
    ],
)
def test_latency_of_another_machine_is_not_compared(base, there, says):
    result = gate(base, ALL, elsewhere(base, **there))
    (reason,) = result.not_compared
    assert (result.verdict, reason.about) == ("not compared", "latency")
    assert reason.why == f"latency not compared: {says}"
    assert "--compare accuracy" in reason.fix
    assert gate(base, ALL, elsewhere(base, **there), compare="accuracy").passed


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"options": {"threads": 1}}, "threads (2; baseline: 1)"),
        ({"described": {"threads": 4}}, "threads (2; baseline: 4)"),
        (
            {"latency": {"valid": False, "why": "others used 50 %"}},
            "an unreliable latency (others used 50 %)",
        ),
        ({"latency": {"p50_interval_ms": None}}, "the baseline has no median latency with an interval"),
        ({"latency": {"p50_ms": None}}, "the baseline has no median latency"),
        ({"latency": None}, "the baseline has no median latency"),
    ],
)
def test_latency_under_other_conditions_is_not_compared(base, fields, says):
    result = gate(base, ALL, changed(base, **fields))
    assert result.verdict == "not compared"
    assert says in result.not_compared[0].why


# --- accuracy ---------------------------------------------------------------------------------------------------------


def test_accuracy_is_compared_image_by_image(base):
    rng = np.random.default_rng(0)
    limits = budget.parse("top1 >= -5")  # 1.5 points, inside an unpaired interval and the budget, but each is a loss
    result = gate(flipped(base, 6, 0, rng), limits, base)
    assert "by more than chance (paired on 400 images, 95% upper bound -0" in result.failures[0]
    assert gate(flipped(base, 4, 0, rng), limits, base).passed, "four of four are 1 in 16 by chance"
    assert gate(flipped(base, 40, 38, rng), limits, base).passed


def test_a_measured_loss_of_more_than_the_budget_allows_fails_though_it_may_be_chance(base, boxes):
    noisy = flipped(base, 45, 40, np.random.default_rng(0))  # 1.25 points
    for text, passes in (("top1 >= -1.0", False), ("top1 >= -1.5", True), ("top1 >= 40%", False)):
        assert gate(noisy, budget.parse(text), base, compare="accuracy").passed is passes, text
    result = gate(noisy, budget.parse("agreement >= 1%"), base, compare="accuracy")
    assert "by more than 1 point (paired" in result.failures[0]


@pytest.mark.parametrize(
    ("now", "before", "says"),
    [
        ({"contributions": None}, {}, "the report has no per-image results"),
        ({}, {"contributions": None}, "the baseline has no per-image results"),
        ({"contributions": "AAAA?"}, {}, "cannot be read"),
        ({"contributions": "AAA="}, {}, "cannot be read"),
        ({"contributions": pack(np.full(7, 40.0))}, {}, "of 7 images, not 120"),
        ({"contributions": pack(np.full(120, np.nan))}, {}, "of another score"),
    ],
)
def test_without_per_image_results_only_a_measured_loss_is_a_verdict(boxes, now, before, says):
    before_map = boxes.chosen.accuracy.score
    for change, verdict in ((-30.0, "failed"), (-0.5, "not compared"), (3.0, "not compared")):
        ours = changed(boxes, accuracy=replace(scored(boxes.chosen.accuracy, value=before_map + change), **now))
        result = gate(ours, ALL, changed(boxes, accuracy=before))
        assert result.verdict == verdict
        told = result.failures[0] if verdict == "failed" else result.not_compared[0].why
        assert now == {} or says in told
        if verdict == "not compared":
            assert result.not_compared[0].about == "accuracy"
            assert "again with this version" in result.not_compared[0].fix


def test_results_of_another_score_are_no_evidence(base, boxes):
    """As in a report in which somebody wrote over the score alone."""
    for found in (base, boxes):
        held = found.chosen.accuracy
        assert gate(changed(found, accuracy=scored(held, value=held.score - 30)), ALL, found).verdict == "failed"
        slightly = gate(changed(found, accuracy=scored(held, value=held.score - 0.5)), ALL, found)
        assert slightly.verdict == "not compared"
        assert "per-image results of another score" in slightly.not_compared[0].why


def test_without_labels_agreement_is_compared_as_a_figure():
    found = report(evil=False, labelled=False)
    same = gate(found, budget.parse(found.budget), found)
    assert same.verdict == "not compared"
    assert "agreement with the reference" in same.not_compared[0].why
    assert "no labels" in same.not_compared[0].why
    lower = changed(found, accuracy={"agreement": found.chosen.accuracy.agreement - 2})
    assert "agreement with the reference" in gate(lower, ALL, found).failures[0]
    assert gate(found, ALL, found, compare="latency").passed
    assert "images have no labels, but those of" in gate(found, ALL, report(evil=False)).not_compared[0].why
    assert gate(changed(found, accuracy=Accuracy(images=400, primary="top1")), ALL, found).verdict == "not compared"


# --- another model, another data set ----------------------------------------------------------------------------------


def other_model(found, **fields):
    return replace(found, model=replace(found.model, **fields))


def other_data(found, **fields):
    return replace(found, data=replace(found.data, **fields))


@pytest.mark.parametrize(
    ("make", "about", "says"),
    [
        (lambda r: other_model(r, name="resnet18"), "model", "name (mobilenetv1_075; baseline: resnet18)"),
        (lambda r: other_model(r, task="segment"), "model", "different models: task"),
        (lambda r: other_model(r, classes=7), "model", "different models: classes"),
        (lambda r: other_data(r, digest="00" * 32), "data", "images or their order differ"),
        (lambda r: other_data(r, images=7), "data", "the data sets differ"),
        (lambda r: other_data(r, digest=None), "data", "the baseline does not say which images"),
        (lambda r: replace(r, data=None), "data", "the baseline does not say which images"),
        (lambda r: replace(r, choice=None, measurements=()), "model", "chose no variant"),
    ],
)
def test_what_is_not_the_same_is_not_compared(base, boxes, make, about, says):
    for found in (base, boxes):
        result = gate(found, budget.parse(found.budget), make(found))
        (reason,) = result.not_compared
        assert (result.verdict, reason.about) == ("not compared", about)
        assert says in reason.why and reason.fix


def test_other_labels_of_the_same_images_are_not_compared(base):
    found, relabelled = (other_data(base, truth=digest) for digest in ("aa", "bb"))
    assert "labels of the images differ" in gate(relabelled, ALL, found).not_compared[0].why
    assert gate(found, ALL, found).passed


def test_a_failure_wins_over_what_is_not_compared(base):
    there = elsewhere(base, cpu="other")
    for found, limits in ((base, "p95 <= 1ms"), (flipped(base, 20, 0, np.random.default_rng(0)), "top1 >= -9")):
        result = gate(found, budget.parse(limits), there)
        assert (result.verdict, len(result.not_compared)) == ("failed", 1)


# --- many reports -----------------------------------------------------------------------------------------------------


@functools.cache
def jittered(seed):
    """The detector with scores that are hardly other ones."""
    moved = photos()[1].copy()
    moved[:, 5] += np.random.default_rng(seed).normal(0, 1e-3, len(moved))
    return detector(moved)


def again(found, seed):
    """The same model measured another time: other latencies of the same machine, hardly other answers."""
    rng = np.random.default_rng(seed)
    other = jittered(seed) if found.model.task == "detect" else flipped(found, *rng.integers(0, 5, 2), rng)
    return changed(other, latency=timed(rng, found.chosen.latency.p50_ms / 1.03, 900))


def worse(found, seed):
    """A model that lost more than the point that the budget allows."""
    rng = np.random.default_rng(seed)
    if found.model.task != "detect":
        return flipped(found, int(rng.integers(8, 60)), 3, rng)
    return detector(photos()[1][rng.random(len(photos()[1])) > rng.uniform(0.1, 0.5)])


@pytest.fixture(params=["classify", "detect"])
def found(request, base, boxes):
    return base if request.param == "classify" else boxes


def verdicts(make, found):
    return [gate(make(found, seed), budget.parse(found.budget), found).verdict for seed in SEEDS]


def test_a_worse_model_fails_20_of_20(found):
    made = [worse(found, seed) for seed in SEEDS]
    assert all(one.chosen.accuracy.score < found.chosen.accuracy.score - 1 for one in made)
    limits = budget.parse(found.budget.split(",")[0])
    results = [gate(one, limits, found) for one in made]
    assert [r.verdict for r in results] == ["failed"] * 20
    assert all(any("less accurate than the baseline" in text for text in r.failures) for r in results)


def test_a_slower_model_fails_20_of_20(found):
    def slower(found, seed):
        rng = np.random.default_rng(seed)
        return changed(found, latency=timed(rng, found.chosen.latency.p50_ms * rng.uniform(1.12, 2), 900))

    assert verdicts(slower, found) == ["failed"] * 20


def test_the_same_model_passes_20_of_20(found):
    assert verdicts(again, found) == ["passed"] * 20


def test_what_cannot_be_compared_is_neither_20_of_20(found):
    makers = (
        lambda r: other_model(r, name="other"),
        lambda r: other_model(r, task="segment"),
        lambda r: other_data(r, digest="00"),
        lambda r: elsewhere(r, cpu="other"),
        lambda r: changed(r, accuracy={"contributions": None}),
    )
    made = [gate(again(found, seed), ALL, makers[seed % len(makers)](found)).verdict for seed in SEEDS]
    assert made == ["not compared"] * 20


# --- the command line -------------------------------------------------------------------------------------------------


def test_exit_codes_and_verdicts_of_the_command_line(found, tmp_path, capsys):
    reports = {
        "base": found, "again": again(found, 0), "worse": worse(found, 0), "model": other_model(found, name="other"),
        "machine": elsewhere(found, cpu="other"),
        "silent": changed(found, accuracy={"contributions": None}),
        "limitless": replace(found, budget=" "),
    }  # fmt: skip
    for name, one in reports.items():
        report_json.write(one, tmp_path / f"{name}.json")
    for words, code, verdict in (
        (("again", "base"), 0, "passed"),
        (("worse", "base"), 1, "failed"),
        (("base", "model"), 9, "not compared"),
        (("base", "machine"), 9, "not compared"),
        (("base", "silent"), 9, "not compared"),
        (("base", "machine", "--compare", "accuracy"), 0, "passed"),
        (("base", "silent", "--compare", "latency"), 0, "passed"),
        (("limitless", "base"), 0, "passed"),
    ):
        name, baseline, *more = words
        command = ["gate", str(tmp_path / f"{name}.json"), "--baseline", str(tmp_path / f"{baseline}.json"), *more]
        assert run_command(command) == code, words
        word, said = capsys.readouterr().out.splitlines()[-1].split(maxsplit=1)
        assert word == "verdict:" and said.startswith(verdict)
        assert run_command([*command, "--json"]) == code
        told = json.loads(capsys.readouterr().out)
        assert (told["verdict"], told["passed"]) == (verdict, verdict == "passed")
        assert ("not_compared" in told) is (verdict == "not compared")


def test_an_empty_budget_is_a_usage_error_of_every_command(base, tmp_path, capsys):
    report_json.write(base, tmp_path / "report.json")
    report_json.write(replace(base, budget=""), tmp_path / "limitless.json")
    data = ["--data", str(tmp_path), "-o", str(tmp_path / "out")]
    for empty in ("", " ", "\u00a0"):
        for command in (
            ["gate", str(tmp_path)],
            ["gate", str(tmp_path), "--baseline", str(tmp_path)],
            ["optimize", "timm:resnet18", *data],
            ["bench", str(tmp_path / "a.edge"), *data],
        ):
            assert run_command([*command, "--budget", empty]) == 2
            assert "The budget is empty." in capsys.readouterr().err
    assert run_command(["gate", str(tmp_path / "limitless.json")]) == 2
    assert "There is nothing to check" in capsys.readouterr().err
