"""The allowed options of sources, by library.

The libraries have more options. Some load a model from a file, a hub or a folder (timm's ``checkpoint_path``,
``pretrained_cfg``, ``cache_dir``). In edgewright only the source and ``--checkpoint`` decide the origin of a model.
"""

from __future__ import annotations

import difflib
import re
from typing import Any

from edgewright.core.errors import UsageError

from .parse import ParsedSource

_TEXT = {
    "timm": """
        pretrained num_classes in_chans img_size global_pool drop_rate drop_path_rate attn_drop_rate proj_drop_rate
        pos_drop_rate patch_drop_rate drop_block_rate patch_size embed_dim embed_dims depth depths dims num_heads
        mlp_ratio mlp_ratios qkv_bias qk_norm window_size init_values ls_init_value class_token reg_tokens pos_embed
        no_embed_class dynamic_img_size strict_img_size act_layer norm_layer aa_layer attn_layer output_stride
        zero_init_last stem_type stem_width stem_chs stem_size base_width cardinality channel_multiplier
        depth_multiplier width_factor kernel_size kernel_sizes conv_mlp head_init_scale head_hidden_size num_features
        groups pad_type fix_stem growth_rate
    """,
    "torchvision": """
        pretrained weights num_classes dropout width_mult stochastic_depth_prob attention_dropout aux_logits
        transform_input image_size groups width_per_group zero_init_residual size min_size max_size score_thresh
        nms_thresh detections_per_img topk_candidates fg_iou_thresh bg_iou_thresh trainable_backbone_layers
    """,
    "transformers": "pretrained num_labels size",
    "ultralytics": "imgsz nc",
}
ALLOWED = {kind: frozenset(names.split()) for kind, names in _TEXT.items()}
"""The names of options; the library's own error says which model takes which. A torch factory takes any option."""

_WORD = re.compile(r"[\w.+-]*")


def require_allowed(source: ParsedSource) -> None:
    """Raise `UsageError` if `source` has an option that is not allowed, or one with a value that is not plain."""
    allowed = ALLOWED.get(source.kind)
    if allowed is None:
        return
    for name, value in source.options.items():
        if name == "trust_remote_code":
            raise UsageError(
                "The source has the option trust_remote_code.",
                "edgewright never runs the code of a repository.",
                "Write a factory that builds the model, and name it: torch:file.py:factory",
            )
        if name not in allowed:
            near = difflib.get_close_matches(name, sorted(allowed), 1)
            raise UsageError(
                f"A {source.kind} source has no option '{name}'.",
                "Options that change the architecture are allowed; files, hubs and folders are not.",
                f"Did you mean '{near[0]}'?" if near else "Leave it out. For weights in a file: --checkpoint FILE.",
            )
        if not _is_plain(value):
            raise UsageError(
                f"Option {name} of the source is {value!r}.",
                "A value is a number, true, false, none, a word, or a list of numbers.", "Correct the option.",
            )  # fmt: skip


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(one) and not isinstance(one, str) for one in value)
    return value is None or isinstance(value, (bool, int, float)) or bool(_WORD.fullmatch(str(value)))
