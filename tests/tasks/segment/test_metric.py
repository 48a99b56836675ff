"""Scores of segmentation equal plain loops; intervals cover; drifts catch what the mean hides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewright.bench import audit
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.data.items import Item
from edgewright.data.sets import ImageSet
from edgewright.tasks.scores import unpack
from edgewright.tasks.segment import boundary, intervals, metric, runs, tally, truth
from edgewright.tasks.segment.spec import Segment

CLASSES = 4


def spec(**section: object) -> ModelSpec:
    """A model of four classes."""
    image = Input(height=64, width=64, preprocess=Preprocess(resize="exact", resize_to=(64, 64)))
    return ModelSpec(name="m", inputs=(image,), task=Segment(classes=CLASSES, **section))  # type: ignore[arg-type]


def world(folder: Path, images: int = 12, seed: int = 0) -> tuple[list[Item], list[np.ndarray]]:
    """Images with masks, class 3 in none, and the masks' classes."""
    random, items, masks = np.random.default_rng(seed), [], []
    for number in range(images):
        height, width = random.integers(40, 70, 2)
        mask = np.zeros((height, width), np.uint8)
        for index in (1, 2):
            if random.random() < 0.8:
                y, x = random.integers(0, 30, 2)
                mask[y : y + 20, x : x + random.integers(3, 30)] = index
        stored = mask.copy()
        stored[:2] = 255
        Image.fromarray(stored).save(folder / f"{number}.png")
        items.append(
            Item(f"{folder}/{number}.jpg", None, size=(int(width), int(height)), pair=f"{folder}/{number}.png")
        )
        masks.append(stored)
    return items, masks


def answers(masks: list[np.ndarray], share: float, seed: int = 1) -> np.ndarray:
    """Rows of maps with a `share` of wrong pixels."""
    random = np.random.default_rng(seed)
    rows = []
    for number, mask in enumerate(masks):
        wrong = random.random(mask.shape) < share * random.random()
        found = np.where(wrong, random.integers(0, CLASSES, mask.shape), mask % 255)
        rows.append(runs.encode(found.astype(np.uint8), number))
    return np.concatenate(rows)


def plain(rows: np.ndarray, masks: list[np.ndarray]) -> tuple[float, float]:
    """Mean IoU and pixel accuracy in percent, by a loop over pixels' classes."""
    matrix = np.zeros((CLASSES, CLASSES))
    for found, mask in zip(runs.each(rows), masks):
        for ours, theirs in zip(found.reshape(-1).tolist(), mask.reshape(-1).tolist()):
            if theirs != 255:
                matrix[theirs, ours] += 1
    ious = []
    for k in range(CLASSES):
        if matrix[k].sum():
            ious.append(matrix[k, k] / (matrix[k].sum() + matrix[:, k].sum() - matrix[k, k]))
    return 100 * float(np.mean(ious)), 100 * float(np.trace(matrix) / matrix.sum())


def test_scores_equal_a_plain_loop(tmp_path: Path) -> None:
    items, masks = world(tmp_path)
    rows = answers(masks, 0.4)
    found = metric.score(rows, items, spec())
    miou, accuracy = plain(rows, masks)
    assert found.scores["miou"].value == pytest.approx(miou, abs=1e-4)
    assert found.scores["pixel_accuracy"].value == pytest.approx(accuracy, abs=1e-4)
    each = unpack(found.contributions or "")
    assert len(each) == len(items) and each.mean() == pytest.approx(miou, abs=1e-3)
    interval = found.scores["miou"].interval
    assert interval is not None and interval.low < miou < interval.high
    perfect = metric.score(answers(masks, 0.0), items, spec())
    assert [round(one.value, 6) for one in perfect.scores.values()] == [100] * 4


def test_the_difference_is_paired(tmp_path: Path) -> None:
    items, masks = world(tmp_path)
    good, worse = answers(masks, 0.2), answers(masks, 0.5)
    found = metric.compare(worse, good, items, spec())
    delta = found.scores["miou"].delta
    assert delta is not None and delta.value < 0 and delta.low < delta.value < delta.high
    assert delta.value == pytest.approx(plain(worse, masks)[0] - plain(good, masks)[0], abs=1e-4)
    first, second = (unpack(metric.score(rows, items, spec()).contributions or "") for rows in (worse, good))
    assert metric.difference(first, second).value == pytest.approx(delta.value, abs=1e-3)
    same = metric.compare(good, good, items, spec())
    assert same.agreement == 100 and same.scores["miou"].delta is not None
    assert (same.scores["miou"].delta.low, same.scores["miou"].delta.high) == (0, 0)
    assert metric.compare(worse, good, [Item("a", None)] * len(items), spec()).agreement == found.agreement


def test_intervals_cover_the_true_difference() -> None:
    random, covered = np.random.default_rng(0), 0
    sizes = random.integers(50, 4000, (4000, 2)).astype(float)
    shares = np.clip(random.normal(0.8, 0.1, (4000, 2)), 0, 1)
    losses = np.clip(random.normal(0.02, 0.04, (4000, 2)), -0.1, 0.3)

    def tallied(share: np.ndarray, chosen: np.ndarray) -> tally.Tally:
        there = sizes[chosen].astype(np.int64)
        hits = (there * share[chosen]).astype(np.int64)
        return tally.Tally(hits, there, there, hits, there)

    every = np.arange(4000)
    true = intervals.mean_iou(tallied(shares - losses, every)) - intervals.mean_iou(tallied(shares, every))
    for trial in range(60):
        chosen = np.random.default_rng(trial).choice(4000, 30, replace=False)
        found = intervals.difference(tallied(shares - losses, chosen), tallied(shares, chosen))
        covered += found.low <= true <= found.high
    assert covered >= 49  # 90% on average


def test_bands_are_those_of_the_authors(tmp_path: Path) -> None:
    scipy = pytest.importorskip("scipy.ndimage")
    random = np.random.default_rng(0)
    mask = scipy.gaussian_filter(random.normal(size=(90, 120)), 6) > 0
    width = max(1, round(0.02 * float(np.hypot(90, 120))))
    eroded = scipy.binary_erosion(np.pad(mask, 1), np.ones((3, 3)), iterations=width)[1:-1, 1:-1]
    place = boundary._band(mask, width)
    assert place is not None
    band = np.zeros_like(mask)
    band[place[0], place[1]] = place[2]
    assert (band == (mask & ~eroded)).all()


def test_a_thin_object_counts_in_the_boundary_iou(tmp_path: Path) -> None:
    mask = np.zeros((200, 200), np.uint8)
    mask[:, 100:103] = 1
    Image.fromarray(mask).save(tmp_path / "a.png")
    item = Item(f"{tmp_path}/a.jpg", None, size=(200, 200), pair=f"{tmp_path}/a.png")
    found = metric.score(runs.encode(np.zeros_like(mask), 0), [item], spec())
    assert found.scores["pixel_accuracy"].value > 98 and found.scores["boundary_iou"].value < 50


def test_images_are_chosen_and_renumbered(tmp_path: Path) -> None:
    _, masks = world(tmp_path)
    rows = answers(masks, 0.3)
    part = metric.chosen(rows, [4, 1])
    assert [(a == b).all() for a, b in zip(runs.each(part, 2), [list(runs.each(rows))[k] for k in (4, 1)])] == [
        True
    ] * 2
    assert part[0, 0] == 0 and part[-1, 0] == 1


def test_drifts_name_exchanged_classes_lost_outlines_and_shifts(tmp_path: Path) -> None:
    _, masks = world(tmp_path)
    same = [mask % 255 for mask in masks]

    def graded(change: list[np.ndarray]) -> dict[str, tuple[bool, bool]]:
        rows = [np.concatenate([runs.encode(m, k) for k, m in enumerate(part)]) for part in (change, same)]
        found = metric.drifts(rows[0], rows[1], spec())
        return {one.code: (one.value > one.limits[0], one.value > one.limits[1]) for one in found}

    assert not any(map(any, graded(same).values()))
    swapped = [np.array([0, 2, 1, 3], np.uint8)[mask] for mask in same]
    assert graded(swapped)["classes"] == (True, True)
    moved = [np.roll(mask, 8, axis=1) for mask in same]
    assert graded(moved)["offset"] == (True, True)
    assert graded([np.zeros_like(mask) for mask in same])["boundary"][0]


def test_an_audit_fails_for_exchanged_classes_and_moved_masks(tmp_path: Path) -> None:
    _, masks = world(tmp_path)
    same = [mask % 255 for mask in masks]
    rows = np.concatenate([runs.encode(mask, k) for k, mask in enumerate(same)])

    def errors(change: Callable[[np.ndarray], np.ndarray]) -> set[str]:
        changed = np.concatenate([runs.encode(change(mask), k) for k, mask in enumerate(same)])
        return {one.code for one in audit.against_reference(changed, rows, spec()) if one.level == "error"}

    assert errors(lambda mask: mask) == set()
    assert "classes" in errors(lambda mask: np.array([0, 2, 1, 3], np.uint8)[mask])
    assert "offset" in errors(lambda mask: np.roll(mask, 8, axis=0))


def test_ids_of_masks_become_classes_of_the_model(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 7, 15], [20, 255, 1]], np.uint8)).save(tmp_path / "a.png")
    item = Item(f"{tmp_path}/a.jpg", None, size=(3, 2), pair=f"{tmp_path}/a.png")
    names = tuple("background" if k == 0 else f"thing {k}" for k in range(21))

    def found(classes: tuple[str, ...] = (), **section: object) -> list[int]:
        images = ImageSet(name="a", split="val", items=(item,), classes=classes, order="file")
        (one,) = truth.match(images, spec(**section)).items
        return [int(value) for value in tally.truth_of(one, spec(**section)).reshape(-1)]

    ignored = 65535
    assert found(ids={"0-14": 0, "15": 1, "16-20": 255}) == [0, 0, 1, ignored, ignored, 0]
    assert found(names, ids={"background": 0, "thing 7": 2, "thing_15": 3, "1": 1, "20": 0}) == [0, 2, 3, 0, ignored, 1]
    with pytest.raises(InvalidInput, match="car"):
        found(names, ids={"car": 1})
    with pytest.raises(InvalidInput, match="names do not match"):
        found(names)
    with pytest.raises(InvalidInput, match="pixel"):
        found(ids={"0-14": 0})
    with pytest.raises(InvalidInput, match="no mask"):
        truth.match(ImageSet(name="a", split="val", items=(Item("b.jpg", None),), classes=()), spec())


def test_reduced_labels_ignore_the_first_id(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 4, 255]], np.uint8)).save(tmp_path / "a.png")
    item = Item(f"{tmp_path}/a.jpg", None, size=(4, 1), pair=f"{tmp_path}/a.png")
    images = ImageSet(name="a", split="val", items=(item,), classes=())
    about = spec(reduce_zero=True)
    (one,) = truth.match(images, about).items
    assert tally.truth_of(one, about).tolist() == [[65535, 0, 3, 65535]]


def test_a_model_worse_than_one_class_for_all_is_at_chance(tmp_path: Path) -> None:
    items, masks = world(tmp_path)
    nothing = np.concatenate([runs.encode(np.full_like(mask, 3), k) for k, mask in enumerate(masks)])
    found = metric.at_chance(nothing, items, metric.score(nothing, items, spec()))
    assert found is not None and "One class for all pixels" in found.why
    good = answers(masks, 0.2)
    assert metric.at_chance(good, items, metric.score(good, items, spec())) is None
