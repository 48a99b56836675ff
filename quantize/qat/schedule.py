"""How long and how fast an INT8 file is trained."""

from __future__ import annotations

import msgspec


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how fast is learned; rates are those of Adam at the start, and fall along half a cosine.

    A batch has `pixels`, at most `most_images`, which the rates are for. With fewer images gradients are noisier: rates
    are multiplied by the square root of the share (Malladi et al. 2022, "On the SDEs and Scaling Rules for Adaptive
    Gradient Algorithms"). `weight_rate` is in steps of a weight's grid, `scale_rate` relative to a scale, `bias_rate`
    in standard deviations of a layer's output, so that rates do not depend on a model's scale. `features`, `labels`:
    weights of these losses beside that of the answers.
    """

    steps: int = 600
    pixels: int = 8 * 224 * 224
    most_images: int = 64
    weight_rate: float = 0.04
    scale_rate: float = 0.004
    bias_rate: float = 0.004
    features: float = 0.3
    labels: float = 1.0
    mirror: bool = True
    zoom: float = 0.25


TRAINING = Training()
SUPERVISED = Training(mirror=False)
"""With labels, which need not hold for a mirror image: think of digits."""
