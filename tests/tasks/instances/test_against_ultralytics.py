"""Masks are those of Ultralytics, and so is their mAP, from the same outputs of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from masks_sample import CLASSES, SIDE, sample, spec

from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.tasks.instances import decode, metric, prototypes
from edgewright.tasks.instances.spec import Instances
from edgewright.vision.masks import polygon_bits

pytest.importorskip("ultralytics")


@pytest.mark.parametrize(
    ("size", "photo"),
    [
        ((160, 160), (160, 160)), ((160, 160), (120, 160)), ((160, 160), (107, 250)), ((160, 160), (500, 167)),
        ((64, 128), (39, 50)), ((160, 160), (270, 480)), ((64, 64), (301, 17)),
    ],
)  # fmt: skip
def test_masks_are_those_of_the_library_with_retina_masks(size: tuple[int, int], photo: tuple[int, int]) -> None:
    from ultralytics.utils import ops

    random, (height, width), (tall, wide) = np.random.default_rng(1), size, photo
    coarse = torch.from_numpy(random.normal(size=(1, 8, height // 16, width // 16)).astype(np.float32))
    values = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bicubic")[0]
    rows = random.normal(size=(9, 8)).astype(np.float32)
    one, other = random.uniform(0, 1, (2, 9, 2)) * [wide, tall]
    boxes = np.concatenate([np.minimum(one, other), np.maximum(one, other)], 1).astype(np.float32)
    boxes[0] = [0, 0, wide, tall]
    wanted = ops.process_mask_native(values, torch.from_numpy(rows), torch.from_numpy(boxes), photo).numpy() > 0
    image = Input(
        height=height, width=width,
        preprocess=Preprocess(resize="letterbox", resize_to=size, interpolation="opencv"),
    )  # fmt: skip
    model = ModelSpec(
        name="m", inputs=(image,), task=Instances(decoder="dfl", scores="sigmoid", classes=3, coefficients=8)
    )
    placed = prototypes.place(values.numpy(), model, (wide, tall))
    different = 0
    for row, box, mask in zip(rows, boxes, wanted):
        columns, left, top = placed.column_bits(row, box)
        found = np.zeros(photo, bool)
        found[top : top + columns.shape[1], left : left + columns.shape[0]] = columns.T
        different += int((found != mask).sum())
    assert wanted.any() and different <= 1e-5 * wanted.size


def validator() -> Any:
    """Ultralytics' validator as it writes the JSON for COCO's evaluation."""
    from ultralytics.models.yolo.segment import SegmentationValidator
    from ultralytics.utils import ops

    found = SegmentationValidator(args={"save_json": True, "conf": 0.001, "iou": 0.7, "max_det": 300})
    found.nc, found.process, found.end2end = CLASSES, ops.process_mask_native, False
    found.jdict, found.class_map = [], list(range(CLASSES))
    return found


def by_the_library(head: np.ndarray, maps: np.ndarray) -> list[dict[str, Any]]:
    """Ultralytics' results in COCO's format. The images have the size of the input."""
    owner = validator()
    found = owner.postprocess([torch.from_numpy(head), torch.from_numpy(maps)])
    for number, one in enumerate(found):
        batch = {
            "imgsz": torch.Size((SIDE, SIDE)), "ori_shape": (SIDE, SIDE), "ratio_pad": ((1.0, 1.0), (0, 0)),
            "im_file": f"{number}.png",
        }  # fmt: skip
        scaled = owner.scale_preds(one, batch)
        owner.pred_to_json(scaled, batch)
    rows: list[dict[str, Any]] = owner.jdict
    return rows


def coco_score(rows: list[dict[str, Any]], items: list[Any], kind: str) -> Any:
    """The mAP of faster-coco-eval, without edgewright's code."""
    from faster_coco_eval import COCO, COCOeval_faster
    from pycocotools import mask

    notes = [
        {
            "id": 0, "image_id": k, "category_id": box.label, "iscrowd": int(box.crowd), "area": box.area,
            "bbox": [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1],
            "segmentation": mask.encode(np.asfortranarray(polygon_bits(box.polygons, SIDE, SIDE).astype(np.uint8))),
        }
        for k, item in enumerate(items) for box in item.boxes
    ]  # fmt: skip
    for number, note in enumerate(notes, 1):
        note["id"] = number
        note["segmentation"]["counts"] = note["segmentation"]["counts"].decode()
    truth = COCO()
    truth.dataset = {
        "images": [{"id": k, "height": SIDE, "width": SIDE} for k in range(len(items))],
        "categories": [{"id": k} for k in range(CLASSES)], "annotations": notes,
    }  # fmt: skip
    truth.createIndex()
    # With a box, COCO's loader sizes an object by its box, not by its mask.
    left_out = "segmentation" if kind == "bbox" else "bbox"
    rows = [{name: value for name, value in row.items() if name != left_out} for row in rows]
    found = COCOeval_faster(truth, truth.loadRes(rows), iouType=kind)
    found.evaluate()
    found.accumulate()
    found.summarize()
    return found.stats


def test_the_score_is_that_of_the_librarys_validator(capsys: pytest.CaptureFixture[str]) -> None:
    items, head, maps = sample(24)
    rows = decode.rows([head, maps], spec(), [(SIDE, SIDE)] * len(items), [item.path for item in items], 0)
    assert decode.check_rows(rows, spec(), len(items)) is None
    ours = metric.score(rows, items, spec()).scores
    results = by_the_library(head, maps)
    for row in results:
        row["image_id"] = int(row["image_id"])
    theirs = {kind: coco_score(results, items, kind) for kind in ("segm", "bbox", "boundary")}
    assert 20 < ours["mask_map"].value < 95
    assert ours["mask_map"].value == pytest.approx(100 * theirs["segm"][0], abs=1e-3)
    assert ours["mask_ap50"].value == pytest.approx(100 * theirs["segm"][1], abs=1e-3)
    assert ours["boundary_map"].value == pytest.approx(100 * theirs["boundary"][0], abs=1e-3)
    # The library rounds the corners of boxes in its JSON to three decimals.
    assert ours["box_map"].value == pytest.approx(100 * theirs["bbox"][0], abs=0.05)
    sizes = dict(zip(("mask_map_small", "mask_map_medium"), theirs["segm"][3:5]))
    assert {name: ours[name].value for name in sizes} == pytest.approx({k: 100 * v for k, v in sizes.items()}, abs=1e-3)
