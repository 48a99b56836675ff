"""Answers as other tools write them, side by side with the tools."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewright.cli import answer
from edgewright.core.errors import Unavailable
from edgewright.tasks.classify.answer import Classification, Prediction
from edgewright.tasks.detect.answer import Detections

NAMES = ("cat", "dog", "bird", "fish", "fox", "frog")


@pytest.fixture
def boxes() -> Detections:
    random = np.random.default_rng(3)
    corners = random.uniform(0, 300, (5, 2))
    found = np.hstack([corners, corners + random.uniform(1, 200, (5, 2))]).astype(np.float32)
    scores = np.sort(random.uniform(0.3, 1, 5).astype(np.float32))[::-1]
    return Detections(found, scores, random.integers(0, 6, 5), NAMES)


@pytest.fixture
def classes() -> Classification:
    scores = np.array([0.4, 0.25, 0.15, 0.12, 0.05, 0.03], np.float32)
    order = (2, 0, 5, 1, 3, 4)
    return Classification(tuple(Prediction(k, NAMES[k], float(score)) for k, score in zip(order, scores)))


def _results(**parts: Any) -> Any:
    results = pytest.importorskip("ultralytics.engine.results")
    return results.Results(np.zeros((480, 640, 3), np.uint8), "photo.jpg", dict(enumerate(NAMES)), **parts)


def test_boxes_are_the_rows_of_ultralytics(boxes: Detections) -> None:
    torch = pytest.importorskip("torch")
    data = np.hstack([boxes.boxes, boxes.scores[:, None], boxes.indices[:, None]]).astype(np.float32)
    assert boxes.to_ultralytics() == _results(boxes=torch.from_numpy(data)).summary() != []


def test_classes_are_the_rows_of_ultralytics(classes: Classification) -> None:
    torch = pytest.importorskip("torch")
    scores = torch.zeros(6)
    for one in classes.top:
        scores[one.index] = one.score
    assert classes.to_ultralytics() == _results(probs=scores).summary() != []


def test_boxes_are_the_detections_of_supervision(boxes: Detections) -> None:
    sv, torch = pytest.importorskip("supervision"), pytest.importorskip("torch")
    data = np.hstack([boxes.boxes, boxes.scores[:, None], boxes.indices[:, None]]).astype(np.float32)
    assert boxes.to_supervision() == sv.Detections.from_ultralytics(_results(boxes=torch.from_numpy(data)))
    nothing = Detections(boxes.boxes[:0], boxes.scores[:0], boxes.indices[:0], NAMES).to_supervision()
    assert len(nothing) == 0 and nothing.is_empty()


def test_classes_are_the_classifications_of_supervision(classes: Classification) -> None:
    sv = pytest.importorskip("supervision")
    found = classes.to_supervision()
    assert isinstance(found, sv.Classifications)
    best, scores = found.get_top_k(2)
    assert best.tolist() == [2, 0] and scores == pytest.approx([0.4, 0.25])


def test_the_boxes_are_results_that_coco_loads(boxes: Detections, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco").COCO()
    coco.dataset = {
        "images": [{"id": 7}], "annotations": [], "categories": [{"id": k} for k in range(6)], "info": {},
    }  # fmt: skip
    coco.createIndex()
    loaded = coco.loadRes(boxes.to_coco(7))
    assert [note["bbox"] for note in loaded.dataset["annotations"]] == [
        pytest.approx([x1, y1, x2 - x1, y2 - y1]) for x1, y1, x2, y2 in boxes.boxes.tolist()
    ]


def test_the_class_is_the_label_of_a_model_without_names(boxes: Detections) -> None:
    nameless = Detections(boxes.boxes, boxes.scores, boxes.indices)
    assert [row["name"] for row in nameless.to_ultralytics()] == [str(k) for k in boxes.indices]


def test_without_supervision_the_error_says_how_to_install_it(
    boxes: Detections, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name == "supervision":
            raise ModuleNotFoundError("No module named 'supervision'", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(Unavailable, match="pip install supervision"):
        boxes.to_supervision()


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["000000397133.jpg", "12.png"], [397133, 12]),
        (["a.jpg", "12.png"], [0, 1]),
        (["x/1.jpg", "y/01.jpg"], [0, 1]),
    ],
)
def test_the_ids_of_images_are_their_numbers(names: list[str], numbers: list[int], boxes: Detections) -> None:
    rows: list[dict[str, Any]] = answer.FORMATS["coco"]([Path(name) for name in names], [boxes, boxes], 3)
    assert list(dict.fromkeys(row["image_id"] for row in rows)) == numbers
