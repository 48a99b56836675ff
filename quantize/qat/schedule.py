"""Duration and learning rates of training an INT8 file."""

from __future__ import annotations

import msgspec


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """Duration and learning rates. Rates are Adam's at the start; they fall along half a cosine.

    A batch has `pixels`, at most `most_images`; the rates are for that many images. With fewer images gradients are
    noisier, so rates are multiplied by the square root of the ratio (Malladi et al. 2022, "On the SDEs and Scaling
    Rules for Adaptive Gradient Algorithms"). `weight_rate` is in quantization steps of a weight, `scale_rate` is
    relative to a scale, `bias_rate` is in standard deviations of a layer's output, so that rates do not depend on a
    model's scale. `features`, `labels`: weights of these losses relative to the output loss.
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
"""With labels, which may not hold for a mirror image, for example of a digit."""
