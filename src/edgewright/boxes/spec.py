"""The part of ModelSpec that describes a head with boxes. The sections of tasks with boxes extend it."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgewright.core.outputs import Rule
from edgewright.core.spec import Count, ModelSpec, Section, Side

Decoder = Literal[
    "boxes", "dfl", "yolov5", "yolox", "nanodet", "fastestdet", "yolo-fastestv2", "yunet", "ultraface", "set",
    "end2end", "anchors", "blazeface",
]  # fmt: skip
"""The names of the output layouts. `Head` describes each."""


class AnchorLevel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The anchors of one feature map: `rows` x `columns` positions, `step` (x, y) input pixels apart, with one anchor
    of each of `sizes` (width, height, in input pixels) at each position."""

    rows: Side
    columns: Side
    step: tuple[float, float]
    sizes: tuple[tuple[float, float], ...]


class Head(Section, msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """How the outputs of a head become boxes. A cell is a position of the grid of one stride.

    `decoder` names the layout of the outputs; N images, C classes, A cells over all strides:

    - "boxes": one (N, 4+C, A) or, `transposed`, (N, A, 4+C): box center, width, height in input pixels, class scores
      (YOLOv8, YOLO11: decoded inside the graph).
    - "dfl": the same with 4 x `bins` logits of the distances to the four sides instead of a box, and class logits (the
      raw head of YOLOv8 and YOLO11), in units of the stride; `bins` 1: the four distances themselves (YOLO26).
    - "yolov5": one (N, A, 5+C): box center, width, height in input pixels, objectness, class scores; the score is their
      product (YOLOv5, YOLOv7: decoded inside the graph).
    - "yolox": one (N, A, 5+C): offset from the cell, log of width and height, in units of the stride, objectness, class
      scores.
    - "nanodet": for each stride class scores (N, cells, C), then for each stride distance logits (N, cells, 4 x bins).
    - "fastestdet": one (N, 5+C, H, W): objectness, tanh offset, sigmoid size relative to the image, class scores;
      the score is objectness^0.6 x class^0.4.
    - "yolo-fastestv2": for each level of `anchors` one (N, rows, columns, 5 x sizes + C): of each size the center
      (2x - 0.5 cells from the cell's corner), width and height ((2w)^2 of the size), then of each size objectness, then
      class scores that the sizes share; all after their sigmoid or softmax.
    - "yunet": for each stride class scores (N, cells, C), then for each objectness (N, cells, 1), then boxes (N, cells,
      4) as in "yolox"; landmarks (N, cells, 10) may follow, and edgewright does not read them. The score is the root of
      class score x objectness, each clipped to 0..1 (OpenCV's FaceDetectorYN).
    - "ultraface": class scores (N, A, C), then (N, A, 4): x1, y1, x2, y2 relative to the input. Class 0 is the
      background and is never found (Ultra-Light-Fast-Generic-Face-Detector, RFB and slim).
    - "set": one (N, queries, 4+C): box center, width and height relative to the input, class scores; no suppression
      (RT-DETR).
    - "end2end": one (N, boxes, 6): x1, y1, x2, y2 in input pixels, score, class; no suppression (YOLO26).
    - "anchors": class outputs (N, A, C), then (N, A, 4) shifts of the center and logs of the scale relative to the
      anchors of `anchors`, times `coding` (x, y, width, height). The first anchor's center is `offset` steps from the
      image's corner. Cells are ordered by level, by row, in the order of `sizes` (SSD, RetinaNet).

    - "blazeface": one (N, A, 4): x and y of the center as a shift from the anchor, width, height, all in input pixels,
      which points may follow; then class scores (N, A, C). `per_cell` anchors are at the center of each cell of each
      stride (MediaPipe's face and palm detection).

    A task can need more numbers of each cell, such as coefficients of masks (`extra`: how many). They are an output of
    their own after those above, (N, extra, A), (N, A, extra) or one (N, cells, extra) for each stride; or, in a layout
    with one output of rows, they follow the class scores of each row.

    - `strides`: input pixels per cell, of each feature map. `per_cell`: for "blazeface", the anchors of a cell of each.
    - `scores`: the function that turns class outputs into probabilities; "none" if they are probabilities. "softmax" is
      for "anchors" only; class 0 is then the background and is never found.
    - `score`: a device leaves out detections with a lower score. `score_eval`: the same while accuracy is measured.
    - `iou`: of two boxes of one class that overlap by more, the one with the lower score is dropped. 1 drops none.
    - `multi_label`: a cell may give several classes, not only its best one. `multi_label_eval`: the same, only while
      accuracy is measured.
    - `most`: the largest number of detections per image.
    - `classes`: the number of classes. `labels`: their names, or empty.
    """

    decoder: Decoder
    strides: tuple[Side, ...] = (8, 16, 32)
    per_cell: tuple[Side, ...] = ()
    bins: Side = 16
    transposed: bool = False
    anchors: tuple[AnchorLevel, ...] = ()
    offset: float = 0.5
    coding: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    scores: Rule = "none"
    score: float = 0.25
    score_eval: float = 0.001
    iou: float = 0.7
    multi_label: bool = False
    multi_label_eval: bool = False
    most: Count = 300
    classes: Count
    labels: tuple[str, ...] = ()

    @property
    def extra(self) -> int:
        """The number of further values of each cell that the task reads."""
        return 0


def of(spec: ModelSpec) -> Head:
    """Return the section of a model that is known to have boxes."""
    assert isinstance(spec.task, Head), spec.task
    return spec.task
