"""Detectors of torchvision with convolutional heads over anchors: SSD, SSDlite and RetinaNet.

The exported module gives the raw outputs of the heads. torchvision's own forward() resizes, decodes and suppresses
inside the graph, with hundreds of nodes whose shapes depend on values. Here these steps are data of the spec (decoder
"anchors"), and the device computes them in numpy. Class 0 is the background, as in torchvision.

Differences to torchvision's own forward():

- Images are resized to 8-bit pixels, as OpenCV does it. torchvision resizes them as float, also without antialiasing.
- RetinaNet has one fixed input size, into which images are letterboxed. torchvision chooses the size by the image: it
  scales a portrait photo to 1333x800, while here it is fitted into 800x1344.
- torchvision limits the boxes per class (SSD) or per feature map (RetinaNet) before the suppression; see `detection` in
  ``edgewright.vision``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.core.errors import InvalidInput

from .loaded import Loaded, Trainable, outputs, torch_module
from .torchvision_weights import build, unique

if TYPE_CHECKING:
    import torch

NAMES = ("ssdlite320_mobilenet_v3_large", "ssd300_vgg16", "retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2")
"""The supported detectors."""
_SIZE = "800x1344"
"""RetinaNet's default input: torchvision's for a wide photo, with its longer side padded to a multiple of 32."""
_DIVISOR = 32


def trainable(name: str, options: dict[str, Any], checkpoint: str | None = None, trust: bool = False) -> Trainable:
    """The torchvision detector `name`, as a module that gives class logits (N, A, classes) and box deltas (N, A, 4).

    Weights: `checkpoint`, else the pretrained ones; random with ``pretrained=false``. The option ``size``
    (HEIGHTxWIDTH) is the input size of a RetinaNet; other options go to the model's builder. An SSDlite is built as
    torchvision builds it without pretrained weights for its backbone; a checkpoint that was trained from such weights
    has another tail and does not fit.
    Raises `InvalidInput`, `Unavailable`.
    """
    if name not in NAMES:
        raise InvalidInput(
            f"The torchvision detector '{name}' is not supported.", _reason(name), _instead(name),
        )  # fmt: skip
    options = dict(options)
    retina = name.startswith("retinanet")
    asked = options.pop("size", None)
    fixed = [key for key in ("min_size", "max_size") if key in options] + ["size"] * (asked is not None and not retina)
    if fixed:
        raise InvalidInput(
            f"'{name}' takes no option {' or '.join(fixed)}.",
            "Its input has one fixed size" + (", which the option size sets." if retina else "."),
            "Write ?size=HEIGHTxWIDTH instead." if retina else "Leave that out.",
        )
    size = _size(_SIZE if asked is None else asked) if retina else None
    built = build(name, options, checkpoint, trust, weights_backbone=None)

    def finish(module: Any) -> Loaded:
        spec = spec_of(module, name, built.described.meta["categories"], size)
        return Loaded(torch_module(_heads(module), name), spec, built.weights, built.notes)

    return Trainable(torch_module(built.model, name), finish, lambda module, images: outputs(_heads(module), images))


def _reason(name: str) -> str:
    if "rcnn" not in name:
        return "Its head has no anchors."
    return (
        "Its second stage runs on regions that the first one finds in the image: their number changes from image to "
        "image, and INT8 and TensorRT need fixed shapes."
    )


def _instead(name: str) -> str:
    """What to use instead of the unsupported detector `name`."""
    for part, models in (("maskrcnn", "ultralytics:yolo11n-seg"), ("keypointrcnn", "ultralytics:yolo11n-pose")):
        if name.startswith(part):
            return (
                f"Use a model with one stage, for example {models}. Or write a factory that returns the backbone's "
                'maps (torch:file.py:factory), export it with task = "tensors", and run the heads in torchvision.'
            )
    return f"Use one of {', '.join(NAMES)}."


def spec_of(model: Any, name: str, categories: list[str], size: tuple[int, int] | None = None) -> dict[str, Any]:
    """The spec fields of the torchvision detector `model`, with the limits and thresholds that it was built with.

    `size`: (height, width) of a RetinaNet's input. Runs the backbone once for the sizes of its feature maps.
    """
    transform = model.transform
    mean, std = tuple(transform.image_mean), tuple(transform.image_std)
    if size is None:
        size = (transform.fixed_size[1], transform.fixed_size[0])
        resize: dict[str, Any] = {"resize": "exact"}
    else:
        # torchvision pads with zeros after the normalization: that is the mean color.
        resize = {"resize": "letterbox", "align": "corner", "pad": tuple(round(255 * value) for value in mean)}
    offset, levels = _levels(model, size)
    classes = _classes(model)
    return {
        "name": name,
        "task": "detect",
        "input": {"height": size[0], "width": size[1]},
        "preprocess": {
            **resize, "resize_to": size, "interpolation": "opencv", "exif": "ignore", "mean": mean, "std": std,
        },
        "outputs": ("logits", "deltas"),
        "detect": {
            "decoder": "anchors", "anchors": levels, "offset": offset, "coding": tuple(model.box_coder.weights),
            "scores": "softmax" if _is_ssd(model) else "sigmoid", "score_eval": model.score_thresh,
            "iou": model.nms_thresh, "multi_label": True, "most": model.detections_per_img,
        },
        "classes": classes,
        "labels": unique(categories) if classes == len(categories) else (),
    }  # fmt: skip


def _heads(model: Any) -> torch.nn.Module:
    """The part of `model` between the normalized image and the outputs of its heads."""
    import torch

    class Heads(torch.nn.Module):  # type: ignore[misc]  # mypy does not follow torch
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = model.backbone, model.head

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            found = self.head(list(self.backbone(images).values()))
            return found["cls_logits"], found["bbox_regression"]

    return Heads()


def _levels(model: Any, size: tuple[int, int]) -> tuple[float, tuple[dict[str, Any], ...]]:
    """The anchors' offset, and the fields of each `AnchorLevel` for an input of (height, width) `size`."""
    import torch

    height, width = size
    with torch.no_grad():
        maps = [tuple(map_.shape[-2:]) for map_ in model.backbone(torch.zeros(1, 3, height, width)).values()]
    generator = model.anchor_generator
    steps: list[tuple[float, float]]
    if _is_ssd(model):
        offset = 0.5
        shares = [pairs.clamp(0, 1) if generator.clip else pairs for pairs in generator._wh_pairs]
        sizes = [pairs * torch.tensor([width, height]) for pairs in shares]
        steps = [(s, s) for s in generator.steps or ()] or [(width / columns, height / rows) for rows, columns in maps]
    else:
        offset = 0.0
        sizes = [boxes[:, 2:] - boxes[:, :2] for boxes in generator.cell_anchors]
        steps = [(width // columns, height // rows) for rows, columns in maps]
    return offset, tuple(
        {"rows": rows, "columns": columns, "step": step, "sizes": _short(pairs.numpy())}
        for (rows, columns), step, pairs in zip(maps, steps, sizes)
    )


def _short(pairs: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """float32 `pairs` as their shortest decimals, which keeps the spec readable."""
    return tuple(tuple(float(str(value)) for value in pair) for pair in pairs.astype(np.float32))


def _is_ssd(model: Any) -> bool:
    from torchvision.models.detection import ssd

    return isinstance(model, ssd.SSD)


def _classes(model: Any) -> int:
    head = model.head.classification_head
    return int(head.num_columns if _is_ssd(model) else head.num_classes)


def _size(text: Any) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", str(text))
    height, width = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(height, width) < _DIVISOR or height % _DIVISOR or width % _DIVISOR:
        raise InvalidInput(
            f"The size of the input is '{text}'.",
            f"It must be HEIGHTxWIDTH in pixels, both multiples of {_DIVISOR}, to which torchvision pads.",
            f"Write it as ?size={_SIZE}.",
        )
    return height, width
