"""The state that the steps of a method change. Each step continues from the result of the previous one."""

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
    """The float model, prepared for quantization, and the statistics of its activations.

    `images`: calibration images. `tick` is called with (done, total, text).
    """

    model: onnx.ModelProto
    spec: ModelSpec
    images: Sequence[str]
    statistics: Statistics | None = None
    seed: int = 0
    tick: Tick = lambda _done, _total, _what: None

    @functools.cached_property
    def calibration(self) -> Calibration:
        """The preprocessed calibration images. Raises `InvalidInput` if there are too few."""
        return Calibration(self.images, self.spec)

    @property
    def seen(self) -> Statistics:
        """The statistics that an earlier step collected."""
        assert self.statistics is not None, "no step has collected statistics"
        return self.statistics


@dataclass(kw_only=True)
class Int8State(FloatState):
    """The float model and its INT8 version for `scheme`: `quantized`, once Q/DQ pairs are placed.

    `float_nodes` stay in float; nodes in `protected` are not corrected either. `missing`: what could not be done, and
    why. `labels`: the class of each image, for steps that learn from labels. `checkpoint`: the folder from which
    interrupted training continues.
    """

    scheme: Scheme
    protected: list[str] = field(default_factory=list)
    float_nodes: list[str] = field(default_factory=list)
    ranges: Ranges | None = None
    quantized: onnx.ModelProto = field(init=False)
    missing: str = ""
    labels: Sequence[int] = ()
    checkpoint: Path | None = None
