"""Detectors' outputs become the boxes that a slow, plain reading of each layout gives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.boxes.spec import AnchorLevel
from edgewright.boxes.suppression import nms
from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.tasks.detect.answer import Detections
from edgewright.tasks.detect.decode import read
from edgewright.tasks.detect.spec import Detect

CLASSES, SIDE, STRIDES = 3, 64, (8, 16, 32)
CELLS = [(SIDE // s) ** 2 for s in STRIDES]
FASTEST = (
    AnchorLevel(rows=4, columns=4, step=(16, 16), sizes=((3, 5), (9, 13), (14, 34))),
    AnchorLevel(rows=2, columns=2, step=(32, 32), sizes=((31, 19), (32, 53), (60, 62))),
)
GRID = [(x, y, s) for s in STRIDES for y in range(SIDE // s) for x in range(SIDE // s)]
Rows = list[tuple[int, float, list[float]]]
"""(class, score, box in the image) of each detection, before suppression."""


def spec(decoder: str, **changes: Any) -> ModelSpec:
    return ModelSpec(
        name="m",
        inputs=(
            Input(
                height=SIDE,
                width=SIDE,
                preprocess=Preprocess(resize="letterbox", resize_to=(SIDE, SIDE), interpolation="opencv"),
            ),
        ),
        task=Detect(
            decoder=decoder,
            bins=4,
            **{"iou": 1.0, "most": 10_000, **changes},
            classes=CLASSES,
            labels=("ant", "bee", "cow"),
        ),
    )


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def centred(cx: float, cy: float, w: float, h: float) -> list[float]:
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def distances(logits: np.ndarray, x: int, y: int, stride: int) -> list[float]:
    means = []
    for side in logits.reshape(4, 4).astype(float):
        share = [math.exp(v) for v in side]
        means.append(sum(k * v for k, v in enumerate(share)) / sum(share))
    left, up, right, down = means
    return [(x + 0.5 - left) * stride, (y + 0.5 - up) * stride, (x + 0.5 + right) * stride, (y + 0.5 + down) * stride]


def make(decoder: str, rng: np.random.Generator, logits: bool) -> tuple[list[np.ndarray], list[tuple[list, list]]]:
    """Outputs of one image, and (class scores, box in input pixels) of each cell, computed cell by cell."""

    def values(*shape: int) -> np.ndarray:
        return (rng.normal(0, 2, shape) if logits else rng.uniform(0, 1, shape)).astype(np.float32)

    def as_scores(row: np.ndarray) -> list[float]:
        return [sigmoid(float(v)) if logits else float(v) for v in row]

    cells: list[tuple[list, list]] = []
    if decoder in ("boxes", "set"):
        scale = 1 if decoder == "set" else SIDE
        rows = np.concatenate([rng.uniform(0.1, 0.9, (50, 4)).astype(np.float32) * scale, values(50, CLASSES)], axis=1)
        for row in rows:
            cells.append((as_scores(row[4:]), centred(*(row[:4].astype(float) * (SIDE / scale)))))
        return [rows[None] if decoder == "set" else rows.T[None]], cells
    if decoder == "dfl":
        rows = np.concatenate(
            [rng.normal(0, 2, (len(GRID), 16)).astype(np.float32), values(len(GRID), CLASSES)], axis=1
        )
        cells = [(as_scores(row[16:]), distances(row[:16], *at)) for row, at in zip(rows, GRID)]
        return [rows.T[None]], cells
    if decoder == "nanodet":
        scores = [values(1, n, CLASSES) for n in CELLS]
        sides = [rng.normal(0, 2, (1, n, 16)).astype(np.float32) for n in CELLS]
        pairs = [(s, d) for level in range(3) for s, d in zip(scores[level][0], sides[level][0])]
        return scores + sides, [(as_scores(s), distances(d, *at)) for (s, d), at in zip(pairs, GRID)]
    if decoder == "yolox":
        rows = np.concatenate([rng.normal(0, 1, (len(GRID), 4)), values(len(GRID), 1 + CLASSES)], axis=1)
        rows = rows.astype(np.float32)
        for (a, b, c, d, *rest), (x, y, s) in zip(rows, GRID):
            objectness, *classes = as_scores(rest)
            box = centred((float(a) + x) * s, (float(b) + y) * s, math.exp(c) * s, math.exp(d) * s)
            cells.append(([objectness * v for v in classes], box))
        return [rows[None]], cells
    if decoder == "yolov5":
        rows = np.concatenate([rng.uniform(5, 60, (50, 4)).astype(np.float32), values(50, 1 + CLASSES)], axis=1)
        for row in rows:
            objectness, *classes = as_scores(row[4:])
            cells.append(([objectness * v for v in classes], centred(*row[:4].astype(float))))
        return [rows[None]], cells
    if decoder == "yunet":
        widths = (CLASSES, 1, 4, 10)
        parts = [[(values if k < 2 else rng.normal)(*((n, w) if k < 2 else (0, 1, (n, w)))) for n in CELLS]
                 for k, w in enumerate(widths)]  # fmt: skip
        kinds, objects, raw, _ = (np.concatenate(part).astype(np.float32) for part in parts)
        for kind, thing, (a, b, c, d), (x, y, s) in zip(kinds, objects, raw, GRID):
            (objectness,) = as_scores(thing)
            box = centred((float(a) + x) * s, (float(b) + y) * s, math.exp(c) * s, math.exp(d) * s)
            cells.append(([math.sqrt(v * objectness) for v in as_scores(kind)], box))
        return [array.astype(np.float32)[None] for part in parts for array in part], cells
    if decoder == "ultraface":
        scores, corners = values(40, CLASSES), np.sort(rng.uniform(0, 1, (40, 2, 2)), axis=1).reshape(40, 4)
        for row, corner in zip(scores, corners.astype(np.float32)):
            cells.append(([-1.0, *as_scores(row[1:])], [float(v) * SIDE for v in corner]))
        return [scores[None], corners.astype(np.float32)[None]], cells
    if decoder == "yolo-fastestv2":
        outputs = []
        for level in FASTEST:
            n = len(level.sizes)
            reg = rng.uniform(0, 1, (level.rows, level.columns, 4 * n)).astype(np.float32)
            rest = values(level.rows, level.columns, n + CLASSES)
            outputs.append(np.concatenate([reg, rest], axis=2)[None])
            for y in range(level.rows):
                for x in range(level.columns):
                    things = as_scores(rest[y, x])
                    for b, (w, h) in enumerate(level.sizes):
                        p = reg[y, x, 4 * b : 4 * b + 4].astype(float)
                        cx, cy = (2 * p[0] - 0.5 + x) * level.step[0], (2 * p[1] - 0.5 + y) * level.step[1]
                        box = centred(cx, cy, (2 * p[2]) ** 2 * w, (2 * p[3]) ** 2 * h)
                        cells.append(([things[b] * v for v in things[n:]], box))
        return outputs, cells
    grid = rng.normal(0, 1, (1, 5 + CLASSES, 4, 5)).astype(np.float32)
    grid[:, :1], grid[:, 5:] = values(1, 1, 4, 5), values(1, CLASSES, 4, 5)
    for y in range(4):
        for x in range(5):
            column = grid[0, :, y, x]
            objectness, *classes = as_scores([column[0], *column[5:]])
            a, b, c, d = (float(v) for v in column[1:5])
            box = [(math.tanh(a) + x) / 5, (math.tanh(b) + y) / 4, sigmoid(c), sigmoid(d)]
            cells.append(([objectness**0.6 * v**0.4 for v in classes], centred(*(v * SIDE for v in box))))
    return [grid], cells


def expected(cells: list[tuple[list, list]], least: float, several: bool) -> Rows:
    rows: Rows = []
    for scores, box in cells:
        best = max(range(CLASSES), key=lambda c: scores[c])
        rows += [(c, s, box) for c, s in enumerate(scores) if s >= least and (several or c == best)]
    return sorted(rows, key=lambda row: -row[1])


def assert_found(found: Detections, rows: Rows) -> None:
    assert len(found) == len(rows) > 0
    np.testing.assert_array_equal(found.indices, [row[0] for row in rows])
    np.testing.assert_allclose(found.scores, [row[1] for row in rows], atol=1e-5)
    np.testing.assert_allclose(found.boxes, np.clip([row[2] for row in rows], 0, SIDE), atol=1e-3)
    assert (found.boxes.dtype, found.scores.dtype, found.indices.dtype) == (np.float32, np.float32, np.int64)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("scores", ["none", "sigmoid"])
@pytest.mark.parametrize("decoder", [
    "boxes", "dfl", "nanodet", "yolov5", "yolox", "fastestdet", "yolo-fastestv2", "yunet", "ultraface", "set",
])  # fmt: skip
def test_each_layout_gives_the_boxes_of_its_plain_reading(decoder: str, scores: str, several: bool) -> None:
    outputs, cells = make(decoder, np.random.default_rng(3), scores == "sigmoid")
    s = spec(decoder, scores=scores, multi_label=several, anchors=FASTEST if decoder == "yolo-fastestv2" else ())
    for least in (0.001, 0.25, 0.5):
        assert_found(read(outputs, s, [(SIDE, SIDE)], score=least)[0], expected(cells, least, several))


@pytest.mark.parametrize("decoder", ["boxes", "dfl"])
def test_transposed_outputs_give_the_same(decoder: str) -> None:
    outputs, cells = make(decoder, np.random.default_rng(4), False)
    s = spec(decoder, transposed=True)
    assert_found(read([outputs[0].transpose(0, 2, 1)], s, [(SIDE, SIDE)])[0], expected(cells, 0.25, False))


def test_end2end_rows_are_taken_as_they_are() -> None:
    rows = np.float32([[[1, 2, 30, 40, 0.4, 2], [1, 2, 30, 40, 0.9, 2], [-5, 0, 70, 64, 0.3, 0], [0, 0, 9, 9, 0.1, 1]]])
    first, second, third = read([rows], spec("end2end", iou=0.1), [(SIDE, SIDE)])[0]
    assert (first.label, second.label, third.label) == ("cow", "cow", "ant")
    assert [d.score for d in (first, second, third)] == pytest.approx([0.9, 0.4, 0.3])
    assert first.box == (1, 2, 30, 40) and third.box == (0, 0, 64, 64)


def test_outputs_without_a_batch_axis_are_one_image() -> None:
    outputs, cells = make("nanodet", np.random.default_rng(5), False)
    assert_found(read([o[0] for o in outputs], spec("nanodet"), [(SIDE, SIDE)])[0], expected(cells, 0.25, False))


def test_images_of_a_batch_are_read_each_for_itself() -> None:
    outputs = [make("boxes", np.random.default_rng(k), False) for k in (6, 7)]
    found = read([np.concatenate([o[0][0] for o in outputs])], spec("boxes"), [(SIDE, SIDE)] * 2)
    for one, (_, cells) in zip(found, outputs):
        assert_found(one, expected(cells, 0.25, False))


def test_yunet_is_read_without_its_landmarks_and_with_scores_beyond_1() -> None:
    outputs, cells = make("yunet", np.random.default_rng(8), False)
    assert_found(read(outputs[:9], spec("yunet"), [(SIDE, SIDE)])[0], expected(cells, 0.25, False))
    outputs[0][0, 0], outputs[3][0, 0] = (0, 1.5, -2), 1.2  # OpenCV clips what a quantized sigmoid gives beyond 0 and 1
    (best, *_) = read(outputs, spec("yunet"), [(SIDE, SIDE)])[0]
    assert (best.label, best.score) == ("bee", 1.0)


def test_the_priors_of_rfb_are_anchors() -> None:
    # version-RFB-320: centre variance 0.1, size variance 0.2, from vision/ssd/config/fd_config.py of its repository
    steps, least = (8, 16, 32, 64), ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))
    maps = [(math.ceil(240 / s), math.ceil(320 / s)) for s in steps]
    levels = tuple(
        AnchorLevel(rows=r, columns=c, step=(s, s), sizes=tuple((m, m) for m in boxes))
        for (r, c), s, boxes in zip(maps, steps, least)
    )
    priors = [
        (x, y, s, m) for (r, c), s, boxes in zip(maps, steps, least) for y in range(r) for x in range(c) for m in boxes
    ]
    assert len(priors) == 4420
    rng = np.random.default_rng(9)
    logits, deltas = (rng.normal(0, 1, (4420, n)).astype(np.float32) for n in (2, 4))
    cells = []
    for (back, face), (a, b, c, d), (x, y, s, m) in zip(logits.astype(float), deltas.astype(float), priors):
        score = math.exp(face) / (math.exp(face) + math.exp(back))
        box = centred(
            (x + 0.5) * s + a * 0.1 * m, (y + 0.5) * s + b * 0.1 * m, math.exp(c * 0.2) * m, math.exp(d * 0.2) * m
        )
        cells.append((score, box))
    about = spec("anchors", anchors=levels, coding=(10.0, 10.0, 5.0, 5.0), scores="softmax")
    about = about.with_task(classes=2, labels=("", "face")).with_input(
        height=240, width=320, preprocess=Preprocess(resize="exact", resize_to=(240, 320))
    )
    (found,) = read([logits[None], deltas[None]], about, [(320, 240)], score=0.9)
    rows = sorted((cell for cell in cells if cell[0] >= 0.9), key=lambda cell: -cell[0])
    assert len(found) == len(rows) > 50
    np.testing.assert_allclose(found.scores, [score for score, _ in rows], atol=1e-5)
    boxes = np.clip([box for _, box in rows], 0, (320, 240, 320, 240))
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-3)


@pytest.mark.parametrize(
    ("shapes", "decoder"),
    [
        ([(1, 50, 8)], "yolov5"), ([(1, n, w) for w in (3, 1, 4, 10) for n in CELLS], "yunet"),
        ([(1, 40, 3), (1, 40, 4)], "ultraface"),
    ],
)  # fmt: skip
def test_a_wrong_decoder_names_the_one_that_fits(shapes: list[tuple[int, ...]], decoder: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read([np.zeros(shape, np.float32) for shape in shapes], spec("boxes"), [(SIDE, SIDE)])
    assert f'decoder = "{decoder}"' in caught.value.fix


def test_scores_and_boxes_of_other_lengths_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"\(1, 40, 3\), \(1, 39, 4\)"):
        read([np.zeros((1, 40, 3)), np.zeros((1, 39, 4))], spec("ultraface"), [(SIDE, SIDE)])


def test_most_keeps_the_best() -> None:
    outputs, cells = make("set", np.random.default_rng(8), False)
    assert_found(read(outputs, spec("set", most=7), [(SIDE, SIDE)])[0], expected(cells, 0.25, False)[:7])


def test_nothing_found_is_an_empty_result() -> None:
    outputs, _ = make("dfl", np.random.default_rng(9), False)
    found = read(outputs, spec("dfl"), [(SIDE, SIDE)], score=2.0)[0]
    assert len(found) == 0 and list(found) == [] and found.boxes.shape == (0, 4)


def test_a_class_without_names_is_its_number() -> None:
    found = Detections(np.zeros((1, 4), np.float32), np.float32([0.5]), np.array([17]))
    assert found[0].label == "17"
    with pytest.raises(IndexError):
        found[1]


@settings(max_examples=100, deadline=None)
@given(size=st.tuples(st.integers(2, 900), st.integers(2, 900)), align=st.sampled_from(["center", "corner"]))
def test_boxes_come_back_through_a_letterbox(size: tuple[int, int], align: str) -> None:
    width, height = size
    s = ModelSpec(
        name="m",
        inputs=(
            Input(
                height=96,
                width=128,
                preprocess=Preprocess(resize="letterbox", resize_to=(96, 128), interpolation="opencv", align=align),
            ),
        ),
        task=Detect(decoder="end2end", classes=1),
    )
    ratio = min(96 / height, 128 / width)
    inside = max(1, round(width * ratio)), max(1, round(height * ratio))
    left = top = 0
    if align == "center":
        left, top = round((128 - inside[0]) / 2 - 0.1), round((96 - inside[1]) / 2 - 0.1)
    box = [0.2 * width, 0.1 * height, 0.7 * width, 0.9 * height]
    placed = [box[k] / size[k % 2] * inside[k % 2] + (left, top)[k % 2] for k in range(4)]
    found = read([np.float32([[[*placed, 0.9, 0]]])], s, [size])[0]
    np.testing.assert_allclose(found.boxes[0], box, atol=1e-3 * max(size))


def plain_nms(boxes: np.ndarray, classes: np.ndarray, iou: float, most: int) -> list[int]:
    kept: list[int] = []
    for k, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        for j in kept:
            a1, b1, a2, b2 = boxes[j].tolist()
            shared = max(0, min(x2, a2) - max(x1, a1)) * max(0, min(y2, b2) - max(y1, b1))
            union = (x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - shared
            if classes[k] == classes[j] and union and shared / union > iou:
                break
        else:
            kept.append(k)
    return kept[:most]


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(0, 700), seed=st.integers(0, 999), spread=st.sampled_from([4, 12, 200]),
    iou=st.sampled_from([0.0, 0.25, 0.5, 0.75]), most=st.sampled_from([1, 5, 300, 1000]), kinds=st.integers(1, 4),
)  # fmt: skip
def test_nms_equals_the_plain_loop(count: int, seed: int, spread: int, iou: float, most: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, spread, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(0, 8, (count, 2))], axis=1).astype(np.float32)
    classes = rng.integers(0, kinds, count)
    assert nms(boxes, classes, iou, most).tolist() == plain_nms(boxes, classes, iou, most)


@pytest.mark.parametrize("decoder", ["boxes", "dfl", "nanodet", "yolox", "fastestdet", "set", "end2end"])
def test_outputs_of_another_layout_are_named(decoder: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read([np.zeros((1, 11, 13), np.float32)], spec(decoder), [(SIDE, SIDE)])
    assert "(1, 11, 13)" in caught.value.what and decoder in caught.value.why and "decoder" in caught.value.fix


def test_the_error_names_the_decoder_that_fits() -> None:
    outputs, _ = make("yolox", np.random.default_rng(1), False)
    with pytest.raises(InvalidInput, match='decoder = "yolox"'):
        read(outputs, spec("boxes"), [(SIDE, SIDE)])
    outputs, _ = make("boxes", np.random.default_rng(1), False)
    with pytest.raises(InvalidInput, match="transposed = true"):
        read([outputs[0].transpose(0, 2, 1)], spec("boxes"), [(SIDE, SIDE)])


def test_a_wrong_number_of_images_or_outputs_is_refused() -> None:
    outputs, _ = make("boxes", np.random.default_rng(1), False)
    for wrong, sizes in ((outputs, [(9, 9)] * 2), (outputs * 2, [(9, 9)]), ([], [(9, 9)])):
        with pytest.raises(InvalidInput, match="shapes"):
            read(wrong, spec("boxes"), sizes)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("decoder", ["boxes", "dfl"])
def test_values_that_are_not_finite_are_refused(decoder: str, value: float) -> None:
    whole, _ = make(decoder, np.random.default_rng(1), False)
    scores = whole[0][0, -spec(decoder).classes :]
    likely = int(scores.max(axis=0).argmax())
    for place in (np.s_[0, 1, likely], np.s_[0, -len(scores) :, 0]):
        outputs = [array.copy() for array in whole]
        outputs[0][place] = value
        with pytest.raises(RuntimeFailed, match="NaN"):
            read(outputs, spec(decoder), [(SIDE, SIDE)])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_of_separate_maps_that_are_read_and_not_finite_are_refused(value: float) -> None:
    whole, _ = make("nanodet", np.random.default_rng(1), False)
    cell, kind = np.unravel_index(whole[0][0].argmax(), whole[0][0].shape)
    for number, place in ((0, (0, 3, kind)), (len(whole) // 2, (0, cell, 0))):
        outputs = [array.copy() for array in whole]
        outputs[number][place] = value
        with pytest.raises(RuntimeFailed, match="NaN"):
            read(outputs, spec("nanodet"), [(SIDE, SIDE)])


@pytest.mark.parametrize("least", [0.0, 0.001, 0.9])
def test_cells_classes_and_scores_do_not_depend_on_the_memory_layout(least: float) -> None:
    outputs, _ = make("boxes", np.random.default_rng(1), False)
    other = spec("boxes").with_task(transposed=True)
    turned = np.ascontiguousarray(outputs[0].transpose(0, 2, 1))
    (a,), (b,) = (read([x], s, [(SIDE, SIDE)], least) for x, s in ((outputs[0], spec("boxes")), (turned, other)))
    assert len(a) == len(b)
    np.testing.assert_array_equal(a.boxes, b.boxes)
    np.testing.assert_array_equal(a.scores, b.scores)
    np.testing.assert_array_equal(a.indices, b.indices)


def test_large_finite_values_are_not_taken_for_infinity() -> None:
    outputs, _ = make("boxes", np.random.default_rng(1), False)
    outputs[0][0, 0, 0] = 3e38
    assert len(read(outputs, spec("boxes"), [(SIDE, SIDE)])[0]) > 0
