"""The tasks of transformers' architectures: what their outputs mean, as the library's own postprocessing reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from .torchvision_weights import unique
from .transformers_processor import Found

if TYPE_CHECKING:
    import torch

_NO_OBJECT = frozenset({"detr", "yolos", "table-transformer"})
"""Detectors with one more score than labels: the last class of a softmax is "no object". Others apply a sigmoid to each
class."""
_BEST = {"conditional_detr": 100, "deformable_detr": 100}
"""The most boxes that the library's postprocessing returns, if they are fewer than the queries."""
_DISPARITY = frozenset({"dpt", "depth_anything", "prompt_depth_anything"})
"""Models that give disparity, unless they are trained for meters."""


class Kind(NamedTuple):
    """A task: its name in edgewright, the library's table of architectures and automatic class, the outputs' names, the
    fields of the description for a model, and the tensor that is read from the model's output object."""

    task: str
    table: str
    builder: str
    outputs: tuple[str, ...]
    describe: Callable[[Any, Found], dict[str, Any]]
    read: Callable[[Any, Any], torch.Tensor]


def _logits(config: Any, found: Any) -> torch.Tensor:
    return found.logits


def _boxes(config: Any, found: Any) -> torch.Tensor:
    """One tensor (N, queries, 4 + classes): center, width and height relative to the input, then scores."""
    import torch

    scores = torch.softmax(found.logits, -1)[..., :-1] if config.model_type in _NO_OBJECT else found.logits
    return torch.cat((found.pred_boxes, scores), -1)


def _map(config: Any, found: Any) -> torch.Tensor:
    return found.predicted_depth


def _classify(model: Any, found: Found) -> dict[str, Any]:
    several = getattr(model.config, "problem_type", None) == "multi_label_classification"
    return {**labels(model.config), "postprocess": {"scores": "sigmoid" if several else "softmax"}}


def _detect(model: Any, found: Found) -> dict[str, Any]:
    """As ``post_process_object_detection``: each query's best class after a softmax, or the best classes of all queries
    after a sigmoid."""
    config = model.config
    if config.model_type in _NO_OBJECT:
        return {**labels(config), "detect": {"decoder": "set", "scores": "none", "iou": 1.0}}
    most = _BEST.get(config.model_type, int(getattr(config, "num_queries", 300) or 300))
    head = {"decoder": "set", "scores": "sigmoid", "multi_label": True, "iou": 1.0, "most": most}
    return {**labels(config), "detect": head}


def _segment(model: Any, found: Found) -> dict[str, Any]:
    return {**labels(model.config), "segment": {"reduce_zero": found.reduce_labels}}


def _depth(model: Any, found: Found) -> dict[str, Any]:
    config = model.config
    meters = getattr(config, "depth_estimation_type", None) == "metric" or config.model_type not in _DISPARITY
    unit = {"values": "depth", "unit": "m"} if meters else {"values": "disparity", "unit": "relative"}
    limit = getattr(config, "max_depth", None)
    most = {"max_depth": float(limit)} if meters and limit else {}
    return {"outputs": ("depth",), "depth": {**unit, **most, "interpolation": "bicubic"}}


def labels(config: Any) -> dict[str, Any]:
    """The fields ``classes`` and ``labels`` of config.json."""
    names = {int(index): str(label) for index, label in config.id2label.items()}
    found = unique([names.get(index, str(index)) for index in range(int(config.num_labels))])
    return {"classes": len(found), "labels": found}


def _kind(task: str, name: str, builder: str, output: str, describe: Any, read: Any) -> Kind:
    return Kind(task, f"MODEL_FOR_{name}_MAPPING_NAMES", f"AutoModelFor{builder}", (output,), describe, read)


KINDS = (
    _kind("classify", "IMAGE_CLASSIFICATION", "ImageClassification", "logits", _classify, _logits),
    _kind("detect", "OBJECT_DETECTION", "ObjectDetection", "boxes", _detect, _boxes),
    _kind("segment", "SEMANTIC_SEGMENTATION", "SemanticSegmentation", "logits", _segment, _logits),
    _kind("depth", "DEPTH_ESTIMATION", "DepthEstimation", "depth", _depth, _map),
)
UNSUPPORTED = frozenset({"depth_pro", "zoedepth", "chmv2", "tipsv2_dpt"})
"""Model types whose depth needs more than the map, such as the field of view."""
