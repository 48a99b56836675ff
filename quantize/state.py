"""What the steps of a method work on: each goes on from what those before it left."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.core.spec import ModelSpec

from .calibration.images import Calibration
from .calibration.statistics import Ranges, Statistics, Tick
from .schemes import Scheme

if TYPE_CHECKING:
    import onnx


@dataclass(kw_only=True)
class FloatState:
    """The float model, in the form that quantizers take, and what is known of its activations.

    `images`: files to calibrate on. `tick` is called with (done, total, what).
    """

    model: onnx.ModelProto
    spec: ModelSpec
    images: Sequence[str]
    statistics: Statistics | None = None
    seed: int = 0
    tick: Tick = lambda _done, _total, _what: None

    @functools.cached_property
    def calibration(self) -> Calibration:
        """The images as the model takes them; raises `InvalidInput` where they are too few."""
        return Calibration(self.images, self.spec)

    @property
    def seen(self) -> Statistics:
        """The statistics, which a step before this one collected."""
        assert self.statistics is not None, "no step has collected statistics"
        return self.statistics


@dataclass(kw_only=True)
class Int8State(FloatState):
    """The float model and what is made of it for `scheme`: `quantized`, once Q/DQ pairs are placed.

    `float_nodes` stay in float, those `protected` are not corrected either. `missing`: what could not be done, and why.
    `labels`: each image's class, for steps that learn from it; `checkpoint`: the folder from which training that was
    ended goes on.
    """

    scheme: Scheme
    protected: list[str] = field(default_factory=list)
    float_nodes: list[str] = field(default_factory=list)
    ranges: Ranges | None = None
    quantized: onnx.ModelProto = field(init=False)
    missing: str = ""
    labels: Sequence[int] = ()
    checkpoint: Path | None = None
