"""ModelSpec: what travels with the weights from the training library to the device.

Plain data (msgspec structs, JSON), stored in the ONNX metadata and in the bundle. Preprocessing is described exactly as
the model was trained with it, so that the device computes the same pixels as the training library.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec

from edgewright.core.errors import InvalidInput

SCHEMA_VERSION = 1
METADATA_KEY = "edgewright.spec"
MAX_PIXELS = 89_478_485
"""Of an input, and of an image: larger files are decompression bombs (Pillow's own figure, from which on it warns)."""

Side = Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one image input of a model. `batch` None: any batch size."""

    name: str = "images"
    height: Side
    width: Side
    channels: Annotated[int, msgspec.Meta(ge=1, le=16)] = 3
    batch: Side | None = 1
    dtype: Literal["float32", "uint8"] = "float32"
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def shape(self, batch: int = 1) -> tuple[int, int, int, int]:
        """The array shape for `batch` images, in the model's layout."""
        hw = (self.height, self.width)
        return (batch, self.channels, *hw) if self.layout == "NCHW" else (batch, *hw, self.channels)


class Preprocess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From an 8-bit image to the model's input: resize, crop, then (pixel / divide - mean) / std per channel.

    `resize`: "shorter" scales the shorter side to `resize_to[0]` (torchvision's Resize(int)), "exact" to (height,
    width) `resize_to`, "none" leaves the size; "letterbox" scales the image to fit into `resize_to` with its aspect
    kept and fills the rest with `pad`, a grey level or a colour in the order of `color`, on both sides alike ("center")
    or at the right and bottom ("corner"). `interpolation` "opencv" is OpenCV's INTER_LINEAR, which detectors are
    trained with; the others are Pillow's. `crop` is a centre crop to (height, width), padded where the image is
    smaller: with zeros, behind a letterbox with `pad`. `normalize` "graph": the division, mean and std are inside the
    graph, which then takes uint8. `exif`: whether the EXIF orientation of a photo is applied first. OpenCV's imread
    applies it (so Ultralytics does), Pillow's convert does not (so timm and torchvision do not); None: as the library
    does whose `interpolation` it is.
    """

    resize: Literal["shorter", "exact", "none", "letterbox"] = "shorter"
    resize_to: tuple[Side, Side] = (256, 256)
    interpolation: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos", "opencv"] = "bilinear"
    pad: int | tuple[int, int, int] = 114
    align: Literal["center", "corner"] = "center"
    crop: tuple[Side, Side] | None = None
    color: Literal["RGB", "BGR", "L"] = "RGB"
    divide: float = 255.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    normalize: Literal["host", "graph"] = "host"
    exif: Literal["apply", "ignore"] | None = None

    @property
    def turns(self) -> bool:
        """Whether photos are turned as their EXIF orientation says."""
        return self.exif == "apply" or (self.exif is None and self.interpolation == "opencv")


class Postprocess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How outputs are read. `scores`: what turns the outputs into probabilities ("none": they are already)."""

    scores: Literal["softmax", "sigmoid", "none"] = "softmax"
    top: Count = 5


class AnchorLevel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The anchors of one feature map: `rows` x `columns` positions, `step` (x, y) input pixels apart, with one anchor
    of each of `sizes` (width, height, in input pixels) at each position."""

    rows: Side
    columns: Side
    step: tuple[float, float]
    sizes: tuple[tuple[float, float], ...]


class Detect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a detector's outputs become boxes. A cell is a position of the grid of one stride.

    `decoder` names the layout of the outputs; N images, C classes, A cells over all strides:

    - "boxes": one (N, 4+C, A) or, `transposed`, (N, A, 4+C): box centre, width, height in input pixels, class scores
      (YOLOv8, YOLO11: decoded inside the graph).
    - "dfl": the same with 4 x `bins` logits of the distances to the four sides instead of a box, and class logits (the
      raw head of YOLOv8 and YOLO11), in units of the stride; `bins` 1: the four distances themselves (YOLO26).
    - "yolov5": one (N, A, 5+C): box centre, width, height in input pixels, objectness, class scores; the score is their
      product (YOLOv5, YOLOv7: decoded inside the graph).
    - "yolox": one (N, A, 5+C): offset from the cell, log of width and height, in units of the stride, objectness, class
      scores.
    - "nanodet": for each stride class scores (N, cells, C), then for each stride distance logits (N, cells, 4 x bins).
    - "fastestdet": one (N, 5+C, H, W): objectness, tanh offset, sigmoid size relative to the image, class scores;
      the score is objectness^0.6 x class^0.4.
    - "yolo-fastestv2": for each level of `anchors` one (N, rows, columns, 5 x sizes + C): of each size the centre
      (2x - 0.5 cells from the cell's corner), width and height ((2w)^2 of the size), then of each size objectness, then
      class scores that the sizes share; all after their sigmoid or softmax.
    - "yunet": for each stride class scores (N, cells, C), then for each objectness (N, cells, 1), then boxes (N, cells,
      4) as in "yolox"; landmarks (N, cells, 10) may follow and are not read. The score is the root of class score x
      objectness, each clipped to 0..1 (OpenCV's FaceDetectorYN).
    - "ultraface": class scores (N, A, C) of which class 0 is the background, which is never found, then (N, A, 4):
      x1, y1, x2, y2 relative to the input (Ultra-Light-Fast-Generic-Face-Detector, RFB and slim).
    - "set": one (N, queries, 4+C): box centre, width and height relative to the input, class scores; no suppression
      (RT-DETR).
    - "end2end": one (N, boxes, 6): x1, y1, x2, y2 in input pixels, score, class; no suppression (YOLO26).
    - "anchors": class outputs (N, A, C), then (N, A, 4) shifts of the centre and logs of the scale relative to the
      anchors of `anchors`, times `coding` (x, y, width, height). The first anchor's centre lies `offset` steps from the
      image's corner. Cells stand level by level, row by row, in the order of `sizes` (SSD, RetinaNet).

    `scores`: what turns class outputs into probabilities ("none": they are already; "softmax" for "anchors" only: class
    0 is then the background, which is never found). `score`: detections below it are
    left out on a device; accuracy is measured from `score_eval` on. `iou`: of two overlapping boxes of one class the
    lower is dropped; 1 drops none, for heads that give each object once. `multi_label`: a cell may give several
    classes, else its best one; `multi_label_eval`: the same, but only while accuracy is measured. `most`: detections an
    image.
    """

    decoder: Literal[
        "boxes", "dfl", "yolov5", "yolox", "nanodet", "fastestdet", "yolo-fastestv2", "yunet", "ultraface", "set",
        "end2end", "anchors",
    ]  # fmt: skip
    strides: tuple[Side, ...] = (8, 16, 32)
    bins: Side = 16
    transposed: bool = False
    anchors: tuple[AnchorLevel, ...] = ()
    offset: float = 0.5
    coding: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    scores: Literal["softmax", "sigmoid", "none"] = "none"
    score: float = 0.25
    score_eval: float = 0.001
    iou: float = 0.7
    multi_label: bool = False
    multi_label_eval: bool = False
    most: Count = 300


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about a model that its weights do not say."""

    schema_version: int = SCHEMA_VERSION
    name: str
    task: Literal["classify", "detect"] = "classify"
    source: str = ""
    input: Input
    preprocess: Preprocess = Preprocess()
    outputs: tuple[str, ...] = ("logits",)
    postprocess: Postprocess = Postprocess()
    detect: Detect | None = None
    classes: Count
    labels: tuple[str, ...] = ()

    def label(self, index: int) -> str:
        """The name of class `index`, or the index itself where the model has no names."""
        return self.labels[index] if self.labels else str(index)


def inconsistency(spec: ModelSpec) -> str:
    """What in `spec` contradicts the rest of it, in words; empty where nothing does."""
    i, p = spec.input, spec.preprocess
    size = (i.height, i.width)
    if i.height * i.width > MAX_PIXELS:
        return f"the input has {i.height}x{i.width} pixels, at most {MAX_PIXELS} are possible"
    fixed = p.resize in ("exact", "letterbox")
    made = p.crop or (p.resize_to if fixed else size if p.resize == "none" else None)
    if made != size:
        shown = "no fixed size (set crop)" if made is None else f"{made[0]}x{made[1]}"
        return f"preprocessing gives {shown}, the input is {i.height}x{i.width}"
    if i.channels != (1 if p.color == "L" else 3):
        return f"color is {p.color}, the input has {i.channels} channels"
    if len(p.mean) != i.channels or len(p.std) != i.channels:
        return f"mean has {len(p.mean)} and std {len(p.std)} values, the input {i.channels} channels"
    pad = p.pad if isinstance(p.pad, tuple) else (p.pad,)
    if len(pad) not in (1, i.channels) or not all(0 <= level <= 255 for level in pad):
        return f"pad is {p.pad}: one grey level from 0 to 255, or one for each of {i.channels} channels"
    if p.divide <= 0 or not all(value > 0 for value in p.std):
        return "divide and std must be positive"
    if (spec.task == "detect") != (spec.detect is not None):
        return 'a detector has both task = "detect" and a [detect] table, a classifier neither'
    if spec.labels and len(spec.labels) != spec.classes:
        return f"there are {len(spec.labels)} labels and {spec.classes} classes"
    return ""


T = TypeVar("T")


def decode(content: bytes | str, kind: type[T], what: str) -> T:
    """Parse one of our JSON files as `kind`; a newer schema version or a wrong field is an `InvalidInput`."""
    try:
        newer = msgspec.json.decode(content, type=_Versioned).schema_version
        if newer > SCHEMA_VERSION:
            raise InvalidInput(
                f"{what} has schema version {newer}.",
                f"This edgewright reads versions up to {SCHEMA_VERSION}.",
                "Update edgewright: pip install -U edgewright",
            )
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidInput(
            f"{what} is not valid: {error}.",
            f"It must be the JSON of a {kind.__name__}.",
            "Write it again with edgewright, or correct the field that is named.",
        ) from None


def encode(value: Any) -> bytes:
    """The JSON of one of our structs: indented, stable, fields that hold their default None left out by the struct."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


class _Versioned(msgspec.Struct):
    schema_version: int = SCHEMA_VERSION
