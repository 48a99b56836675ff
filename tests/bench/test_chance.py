"""A reference that does not know its data is found, without false alarms, and nothing is chosen by it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from bench_sample import EVIL, SPEC, report
from boxes_sample import spec
from msgspec.structs import replace
from rich.console import Console

from edgewright.bench import budget, console, html, markdown, report_json
from edgewright.bench.chance import CODE, at_chance
from edgewright.bench.choice import choose
from edgewright.bench.figures import sentence
from edgewright.bench.gate import gate
from edgewright.bench.results import Choice, Finding
from edgewright.boxes.chance import of_boxes
from edgewright.data.boxes import Box
from edgewright.data.sets import Item
from edgewright.tasks.classify.chance import of_answers
from edgewright.tasks.classify.metric import score
from edgewright.tasks.scores import Accuracy, Scored

BUDGET = budget.parse("top1 >= -1.0")


def answered(labels, share, classes, rng):
    """Answers of which `share` are right, in the mean; the others are any other class."""
    other = (labels + rng.integers(1, classes, len(labels))) % classes
    return np.where(rng.random(len(labels)) < share, labels, other)


def flagged(answers, labels, classes):
    return of_answers(answers, labels, classes, int((answers == labels).sum())) is not None


def labels_of(images, classes, first=None):
    """Labels in equal numbers, or a `first` class with this share of the images."""
    labels = np.arange(images) % classes
    return labels if first is None else np.where(np.arange(images) < first * images, 0, 1 + labels % (classes - 1))


@pytest.mark.parametrize(
    ("images", "classes", "share", "moved", "found"),
    [
        (200, 10, 0.9, 0, False),
        (200, 10, 0.35, 0, False),  # weak, and useful
        (200, 10, 0.9, 1, True),  # the classes are in another order
        (200, 10, 0.1, 0, True),  # not trained
        (200, 100, 0.8, 3, True),
        (200, 1000, 0.75, 0, False),
        (200, 2, 0.9, 0, False),
        (200, 2, 0.5, 0, True),
        (200, 2, 0.9, 1, True),  # the two classes are exchanged: far below chance
        (7, 10, 0.0, 0, False),  # so few images a weak model may get wrong
        (8, 10, 0.0, 0, True),
        (3, 2, 0.0, 0, False),
        (4, 2, 0.0, 0, True),
        (200, 1, 1.0, 0, False),  # a single class is always right
    ],
)
def test_a_classifier_at_chance(images, classes, share, moved, found):
    labels = labels_of(images, classes)
    right = np.arange(images) * 7919 % images < share * images
    answers = (np.where(right, labels, labels + 1) + moved) % classes
    assert flagged(answers, labels, classes) is found


def test_one_answer_for_all_images_is_no_knowledge_however_many_it_fits():
    few, some = labels_of(100, 3, first=0.95), labels_of(100, 3, first=0.9)
    same = np.zeros(100, int)
    assert not flagged(same, few, 3), "5 other images"
    text = of_answers(same, some, 3, 90)
    assert text and "all 100 images one class, index 0, and 10 of them have another label" in text
    same[3] = 1
    assert not flagged(same, some, 3)
    assert not flagged(np.zeros(100, int), np.zeros(100, int), 3), "a set of one class says nothing"


def test_no_false_alarm_of_a_model_with_60_percent_and_few_images():
    rng = np.random.default_rng(0)
    alarms = 0
    for images in rng.integers(5, 101, 1000):
        labels = rng.integers(0, 10, images)
        alarms += flagged(answered(labels, 0.6, 10, rng), labels, 10)
    assert alarms == 0


@pytest.mark.parametrize("kind", ["labels are random", "classes are one further"])
def test_forty_images_of_ten_classes_are_enough(kind):
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(1000):
        labels = rng.integers(0, 10, 40)
        answers = answered(labels, 0.9, 10, rng)
        wrong = rng.integers(0, 10, 40) if kind == "labels are random" else (labels + 1) % 10
        found += flagged(answers, wrong, 10)
    assert found > 900, found


@pytest.mark.parametrize(
    ("points", "boxes", "found"),
    [(0.02, 400, True), (0.5, 20, True), (0.5, 19, False), (1.0, 400, False), (25.0, 400, False)],
)
def test_a_detector_at_chance(points, boxes, found):
    assert (of_boxes(points, boxes) is not None) is found
    box = Box(label=0, x1=0, y1=0, x2=9, y2=9, area=81)
    crowd = replace(box, crowd=True)
    items = [Item("a.jpg", None, (box,) * boxes), Item("b.jpg", None, ()), Item("c.jpg", None, (crowd,))]
    found_map = Accuracy(images=3, primary="map", scores={"map": Scored(value=points)})
    seen = at_chance(np.zeros((0, 7), np.float32), items, spec(1), found_map, budget.parse("map >= -1"))
    assert (seen is not None) is found
    if seen:
        assert (seen.level, seen.code, seen.count) == ("error", CODE, boxes)
        assert f"{points:.2f}%" in seen.text


def outputs_for(answers, classes):
    outputs = np.zeros((len(answers), classes), np.float32)
    outputs[np.arange(len(answers)), answers] = 1
    return outputs


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("top1 >= -1", "error"),
        ("agreement >= 90%, top1 >= 70%", "error"),
        ("agreement >= 90%", "warning"),
        ("p95 <= 10ms, sqnr >= 20dB", "warning"),
    ],
)
def test_a_budget_without_accuracy_only_warns(text, level):
    labels = [*labels_of(60, 100), None, None]
    outputs = outputs_for([*((labels_of(60, 100) + 1) % 100), 0, 0], 100)
    items = [Item(f"{index}.jpg", label) for index, label in enumerate(labels)]
    found = at_chance(outputs, items, SPEC, score(outputs, items, SPEC), budget.parse(text))
    assert found and (found.level, found.count) == (level, 60), "images without a label do not count"
    assert "gets 0 of 60 images right (top-1 0.0%), and guessing among 100 classes gets 1%" in found.text
    for cause in ("another order", "preprocessing", "not trained"):
        assert cause in found.text


def test_without_labels_there_is_nothing_to_say():
    outputs = outputs_for([0] * 50, 10)
    items = [Item(f"{index}.jpg", None) for index in range(50)]
    assert at_chance(outputs, items, SPEC, score(outputs, items, SPEC), BUDGET) is None
    assert at_chance(outputs, items, SPEC, None, BUDGET) is None


# --- what follows -----------------------------------------------------------------------------------------------------

ERROR = Finding(level="error", code=CODE, text="The reference gets 2 of 200 images right.", count=200)
BOXES = Finding(
    level="warning", code="boxes-outside", text="4 boxes lie outside of their image.", count=4,
    names=(f"{EVIL}.jpg", "[red]b[/].jpg", "c\nd.jpg"),
)  # fmt: skip


def in_error():
    """The sample as it is where its reference is at chance."""
    found = report(evil=False)
    findings = (BOXES, ERROR)
    return replace(found, findings=findings, choice=choose(found.measurements, found.reference, BUDGET, findings))


def test_nothing_is_chosen_and_the_reason_is_named():
    found = report(evil=False)
    assert choose(found.measurements, found.reference, BUDGET, (BOXES,)).id, "a warning stops nothing"
    choice = in_error().choice
    assert (choice.id, choice.nearest, choice.misses) == (None, None, ())
    assert CODE in choice.why


def test_the_gate_does_not_pass_it():
    found = in_error()
    result = gate(found, BUDGET)
    assert (result.verdict, result.passed) == ("failed", False)
    assert result.failures[0] == f"{CODE}: {ERROR.text}"
    chosen = replace(found, choice=Choice(id=found.measurements[0].id, why="by hand"))
    assert gate(chosen, budget.parse("p95 <= 1s")).failures == (f"{CODE}: {ERROR.text}",)


def test_a_warning_fails_a_gate_that_judges_accuracy():
    found = replace(report(evil=False), findings=(replace(ERROR, level="warning"),))
    assert gate(found, budget.parse("agreement >= 90%")).passed
    assert gate(found, BUDGET).failures == (f"{CODE}: {ERROR.text}",)


def test_a_baseline_in_error_is_no_evidence():
    sound = report(evil=False)
    before = replace(sound, findings=(ERROR,))
    sound, before = (replace(one, data=replace(one.data, digest="d")) for one in (sound, before))
    assert gate(sound, BUDGET, sound).passed
    result = gate(sound, BUDGET, before)
    assert (result.verdict, [reason.about for reason in result.not_compared]) == ("not compared", ["accuracy"])
    assert CODE in result.not_compared[0].why
    assert gate(sound, BUDGET, before, compare="latency").passed


def test_every_report_shows_the_error_first_and_names_literally(tmp_path):
    found = in_error()
    out = io.StringIO()
    console.show(found, Console(file=out, width=100, highlight=False))
    screen, text, page = " ".join(out.getvalue().split()), markdown.render(found), html.render(found)
    error, warning = f"error: {CODE}: The reference gets 2", "warning: boxes-outside: 4 boxes lie"
    assert 0 < screen.index(error) < screen.index(warning) < screen.index("Nothing is chosen")
    assert "[red]b[/].jpg, c d.jpg ...)" in screen
    assert text.index(f"> **Error, {CODE}:** The reference gets 2") < text.index("| Variant")
    assert text.index("Nothing is chosen") < text.index("| Variant") < text.index("> **Warning, boxes-outside:** 4")
    assert "No variant is within the budget" not in text
    assert page.index(f"Error, {CODE}:") < page.index('id="verdict"') < page.index("Warning, boxes-outside:")
    assert 'class="note error"' in page and "Nothing is within the budget" not in page
    assert EVIL not in page and "<script>doc" not in text and "c\nd.jpg" not in text
    report_json.write(found, tmp_path / "report.json")
    assert report_json.read(tmp_path / "report.json") == found


def test_names_stand_behind_a_text_that_leaves_them_out():
    assert sentence(replace(BOXES, names=("a.jpg", "b.jpg"), count=2)).endswith("of their image. (a.jpg, b.jpg)")
    assert sentence(replace(BOXES, names=("a.jpg", "b.jpg"), count=3)).endswith("(a.jpg, b.jpg ...)")
    assert sentence(replace(BOXES, text="a.jpg is no image.", names=("a.jpg",), count=1)) == "a.jpg is no image."
