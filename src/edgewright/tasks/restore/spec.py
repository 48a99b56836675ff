"""The section of a restoration model in ModelSpec."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edgewright.core.spec import ModelSpec, Section

Degradation = Literal["bicubic", "noise", "none"]
Pixels = Annotated[int, msgspec.Meta(ge=0, le=4096)]


class Restore(
    Section, msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="restore"
):
    """How a model's output becomes an image. The output is one image (N, C, h, w), or (N, h, w, C), in `color`.

    With ``resize = "tiles"`` in ``[preprocess]``, a session runs the network on overlapping tiles of a photo of any
    size.

    - `scale`: pixels of the output per pixel of the input, along each side. 1 for denoising.
    - `black`, `white`: the output values of black and white. Values beyond them are clipped.
    - `color`: the order of the output's channels. "L" has one channel.
    - `overlap`: the input pixels that neighboring tiles share at least. Use twice the pixels that the network sees
      around each.
    - `shave`: pixels at each edge that accuracy leaves out. Default: `scale`.
    - `degrade`: how inputs are computed from a data set that has only the wanted images. "bicubic": reduced by `scale`
      with Pillow. "noise": Gaussian noise of `sigma` gray levels with `seed`, after the reduction if `scale` is above
      1. Default: "bicubic" if `scale` is above 1, else "none".
    """

    scale: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    black: float = 0.0
    white: float = 1.0
    color: Literal["RGB", "BGR", "L"] = "RGB"
    overlap: Pixels = 16
    shave: Pixels | None = None
    degrade: Degradation | None = None
    sigma: Annotated[float, msgspec.Meta(ge=0, le=255)] = 25.0
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0


SECTION = Restore


def of(spec: ModelSpec) -> Restore:
    """The section of a model that is known to restore images."""
    assert isinstance(spec.task, Restore), spec.task
    return spec.task


def degradation(section: Restore) -> Degradation:
    """How inputs are computed from wanted images."""
    return section.degrade or ("bicubic" if section.scale > 1 else "none")


def border(section: Restore) -> int:
    """The pixels at each edge that do not count for accuracy."""
    return section.scale if section.shave is None else section.shave
