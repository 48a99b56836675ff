"""Small models of transformers with random weights, each saved as a folder with its image processor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

LABELS = ("cat", "dog", "bird", "car", "tree")
NAMES: dict[str, Any] = {
    "id2label": dict(enumerate(LABELS)), "label2id": {name: number for number, name in enumerate(LABELS)},
}  # fmt: skip
_RESNET: dict[str, Any] = {
    "embedding_size": 16, "hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1], "layer_type": "basic",
}  # fmt: skip
_VIT: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "patch_size": 16,
}  # fmt: skip


def save(name: str, folder: Path) -> Path:
    """The folder with the model `name` of `MODELS`, its weights spread so that inputs change the outputs."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    model, processor = MODELS[name](transformers)
    _spread(model)
    model.save_pretrained(folder / name)
    processor.save_pretrained(folder / name)
    return folder / name


def _spread(model: Any) -> None:
    """Give the layers of a random model weights of unit gain: the library initializes them for training, with tiny
    outputs."""
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                torch.nn.init.uniform_(module.bias, -0.1, 0.1)


def _vit(t: Any) -> tuple[Any, Any]:
    config = t.ViTConfig(**{**_VIT, "patch_size": 8}, image_size=32, **NAMES)
    return t.ViTForImageClassification(config), t.ViTImageProcessor(size={"height": 32, "width": 32})


def _resnet(t: Any) -> tuple[Any, Any]:
    return t.ResNetForImageClassification(t.ResNetConfig(**_RESNET, **NAMES)), _small(t)


def _convnext(t: Any) -> tuple[Any, Any]:
    config = t.ConvNextConfig(hidden_sizes=[16, 32], depths=[1, 1], num_stages=2, **NAMES)
    return t.ConvNextForImageClassification(config), _small(t)


def _small(t: Any) -> Any:
    return t.ConvNextImageProcessor(size={"shortest_edge": 32})


def _mobilenet(t: Any) -> tuple[Any, Any]:
    model = t.MobileNetV2ForImageClassification(t.MobileNetV2Config(depth_multiplier=0.25, **NAMES))
    size = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
    return model, t.MobileNetV2ImageProcessor(**size)


def _swin(t: Any) -> tuple[Any, Any]:
    shape = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2]}
    model = t.SwinForImageClassification(t.SwinConfig(**shape, window_size=4, **NAMES))
    return model, t.ViTImageProcessor(size={"height": 32, "width": 32})


def _mobilevit(t: Any) -> tuple[Any, Any]:
    widths = {"hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 16, 16, 24, 32, 32, 64]}
    model = t.MobileViTForSemanticSegmentation(t.MobileViTConfig(image_size=64, **widths, **NAMES))
    size = {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}}
    return model, t.MobileViTImageProcessor(**size)


def _yolos(t: Any) -> tuple[Any, Any]:
    config = t.YolosConfig(**_VIT, image_size=[64, 80], num_detection_tokens=10, **NAMES)
    return t.YolosForObjectDetection(config), t.YolosImageProcessor(size={"shortest_edge": 64, "longest_edge": 128})


def _detr(t: Any) -> tuple[Any, Any]:
    config = t.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None,
        backbone_config=t.ResNetConfig(**_RESNET, out_features=["stage4"]), d_model=32, num_queries=10,
        **{f"{side}_{part}": n for side in ("encoder", "decoder")
           for part, n in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 64))}, **NAMES,
    )  # fmt: skip
    return t.DetrForObjectDetection(config), t.DetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 128})


def _rt_detr_parts(t: Any) -> dict[str, Any]:
    backbone = t.RTDetrResNetConfig(**_RESNET, out_features=["stage2", "stage3", "stage4"])
    return {
        "backbone_config": backbone, "encoder_hidden_dim": 32, "encoder_in_channels": [32, 32, 64], "d_model": 32,
        "encoder_ffn_dim": 64, "encoder_attention_heads": 2, "num_queries": 10, "decoder_in_channels": [32, 32, 32],
        "decoder_ffn_dim": 64, "decoder_layers": 2, "decoder_attention_heads": 2, "num_denoising": 0, **NAMES,
    }  # fmt: skip


def _rt_detr(t: Any) -> tuple[Any, Any]:
    model = t.RTDetrForObjectDetection(t.RTDetrConfig(**_rt_detr_parts(t)))
    return model, t.RTDetrImageProcessor(size={"height": 64, "width": 64})


def _rt_detr_v2(t: Any) -> tuple[Any, Any]:
    model = t.RTDetrV2ForObjectDetection(t.RTDetrV2Config(**_rt_detr_parts(t)))
    return model, t.RTDetrImageProcessor(size={"height": 64, "width": 64})


_PYRAMID: dict[str, Any] = {
    "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 4],
    "decoder_hidden_size": 16,
}  # fmt: skip


def _segformer(t: Any) -> tuple[Any, Any]:
    model = t.SegformerForSemanticSegmentation(t.SegformerConfig(**_PYRAMID, **NAMES))
    return model, t.SegformerImageProcessor(size={"height": 64, "width": 64}, do_reduce_labels=True)


def _glpn(t: Any) -> tuple[Any, Any]:
    return t.GLPNForDepthEstimation(t.GLPNConfig(**_PYRAMID)), t.GLPNImageProcessor()


def _depth_anything(t: Any) -> tuple[Any, Any]:
    backbone = t.Dinov2Config(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2, image_size=70, patch_size=14,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = t.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=32, neck_hidden_sizes=[8, 16, 16, 32], fusion_hidden_size=16,
        head_hidden_size=8, patch_size=14,
    )  # fmt: skip
    size = {"size": {"height": 70, "width": 70}, "ensure_multiple_of": 14, "keep_aspect_ratio": True}
    return t.DepthAnythingForDepthEstimation(config), t.DPTImageProcessor(**size)


def _dpt(t: Any) -> tuple[Any, Any]:
    config = t.DPTConfig(
        **{**_VIT, "num_hidden_layers": 4}, image_size=64, backbone_out_indices=[0, 1, 2, 3], is_hybrid=False,
        neck_hidden_sizes=[8, 16, 16, 32], fusion_hidden_size=16,
    )  # fmt: skip
    return t.DPTForDepthEstimation(config), t.DPTImageProcessor(size={"height": 64, "width": 64})


MODELS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "vit": _vit, "resnet": _resnet, "convnext": _convnext, "mobilenet_v2": _mobilenet, "swin": _swin,
    "mobilevit": _mobilevit, "yolos": _yolos, "detr": _detr, "rt_detr": _rt_detr, "rt_detr_v2": _rt_detr_v2,
    "segformer": _segformer, "glpn": _glpn, "depth_anything": _depth_anything, "dpt": _dpt,
}  # fmt: skip
