"""The steps of INT8 methods as data. Each names the module that does the work.

The module has ``apply(step, state) -> int``: it changes the state (`state.FloatState`, from `Protect` on
`state.Int8State`) in place and returns how many places it changed.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, Literal, Protocol, cast

import msgspec

from .schemes import Scheme

Need = Literal["images", "statistics", "seed", "labels", "checkpoint", "heavy"]
Kind = Literal["minmax", "mean", "percentile", "entropy", "mse", "output"]
"""Kinds of ranges: from the statistics of the tensor alone, or from the loss of the model's outputs (`ChooseClipping`).
"""


class Step(msgspec.Struct, frozen=True, tag=True):
    """A step and its parameters.

    `module`: the module that does the work, below `edgewright.quantize`. `needs`: what it reads besides the float
    model; "heavy" if it imports torch. `keeps`: which of the float model and its statistics it replaces. Such a step
    serves several schemes and methods, so it is a stage of its own, called `stage`; messages call its model `result`.
    `centered`: it is for grids around zero only.
    """

    module: ClassVar[str]
    stage: ClassVar[str] = ""
    result: ClassVar[str] = ""
    needs: ClassVar[frozenset[Need]] = frozenset()
    keeps: ClassVar[frozenset[Literal["model", "statistics"]]] = frozenset()
    centered: ClassVar[bool] = False

    def fits(self, scheme: Scheme) -> bool:
        """Whether methods with this step support `scheme`."""
        return True

    def is_for(self, scheme: Scheme) -> bool:
        """Whether the step runs for `scheme`."""
        return scheme.centered or not self.centered


class Equalize(Step, frozen=True):
    """Equalize the channels of tensors."""

    module, stage, result = "ptq.equalize", "equalize", "The equalized model"
    needs, keeps = frozenset({"images"}), frozenset({"model"})


class Calibrate(Step, frozen=True):
    """Collect the statistics of activations."""

    module, stage = "calibration.collect", "calibrate"
    needs, keeps = frozenset({"images"}), frozenset({"statistics"})


class ChooseClipping(Step, frozen=True):
    """Find for each tensor the range that changes the outputs least: ranges of the kind "output"."""

    module, stage = "calibration.clipping", "choose-clipping"
    needs, keeps = frozenset({"images", "statistics", "seed", "heavy"}), frozenset({"statistics"})


class SplitChannels(Step, frozen=True):
    """Compute noisy channels twice, in the places of dead channels."""

    module, stage, result = "ptq.channel_splitting", "split-channels", "The model with split channels"
    centered = True
    needs, keeps = frozenset({"statistics"}), frozenset({"model", "statistics"})


class Center(Step, frozen=True):
    """Shift the outputs of ReLUs down, so that they use a symmetric grid."""

    module, stage, result = "ptq.centering", "center", "The centered model"
    centered = True
    needs, keeps = frozenset({"statistics"}), frozenset({"model", "statistics"})


class Protect(Step, frozen=True):
    """Keep the layers that the task protects in float, for example a detector's head."""

    module = "qdq.protect"


class ChooseRanges(Step, frozen=True):
    """Choose one of the `kinds` of clipping ranges.

    The widest kind comes first. A later kind is chosen only if it changes the outputs less by more than chance.
    """

    module = "calibration.choose_ranges"
    needs = frozenset({"images", "statistics"})
    kinds: tuple[Kind, ...]


class FloatLayers(Step, frozen=True):
    """Keep the `share` of layers in float whose quantization alone loses most."""

    module = "qdq.float_layers"
    needs = frozenset({"images"})
    share: float


class ByteInput(Step, frozen=True):
    """Align the grid of the network's input with the image's byte values, if that is exact."""

    module = "qdq.byte_input"

    def is_for(self, scheme: Scheme) -> bool:
        """Schemes that quantize the input. TensorRT's first convolutions stay in float."""
        return scheme.placement == "all"


class PlaceQdq(Step, frozen=True):
    """Place the Q/DQ pairs of the scheme, for the chosen ranges."""

    module = "qdq.place"


class PlaceByNncf(Step, frozen=True, kw_only=True):
    """NNCF chooses ranges and places the Q/DQ pairs.

    `correct_biases`: NNCF's fast bias correction, each layer separately. `smooth_quant`: move outliers of activations
    into weights if the model has LayerNorm (Xiao et al. 2022). `zero_points`: give activations a zero point even if the
    scheme does not need one. Few values of a SiLU are negative, so it needs one.
    """

    module = "qdq.nncf"
    needs = frozenset({"images", "heavy"})
    correct_biases: bool = False
    smooth_quant: bool = False
    zero_points: bool = False

    def fits(self, scheme: Scheme) -> bool:
        """Schemes that NNCF supports."""
        return scheme.nncf


class FloatTail(Step, frozen=True):
    """Keep everything after the last INT8 layer in float."""

    module = "qdq.float_tail"


class RequireInt8(Step, frozen=True):
    """Fail if too few layers run in INT8."""

    module = "qdq.coverage"


class CorrectBiases(Step, frozen=True, kw_only=True):
    """Subtract the mean error of each layer's output from its bias, measured on the outputs of the corrected earlier
    layers.

    `gptq`: before the bias, round each layer's weights so that their errors compensate for one another.
    """

    module = "ptq.bias_correction"
    needs = frozenset({"images"})
    gptq: bool = False


class Distil(Step, frozen=True):
    """Train weights, scales and biases to match the float model."""

    module = "qat.train"
    needs = frozenset({"images", "seed", "checkpoint", "heavy"})


class Train(Step, frozen=True):
    """Train weights, scales and biases to match the float model and the images' labels."""

    module = "qat.train"
    needs = frozenset({"images", "seed", "checkpoint", "labels", "heavy"})


class Repair(Step, frozen=True):
    """Repair what the task requires: move a detector's scores back to the float model's."""

    module = "ptq.repair"
    needs = frozenset({"images"})


KeptStep = Equalize | Calibrate | ChooseClipping | SplitChannels | Center
"""The steps that are stages of their own."""


class _Module(Protocol):
    @staticmethod
    def apply(step: Any, state: Any) -> int: ...


def apply(step: Step, state: Any) -> int:
    """Run `step` on `state` (see `state`), in place. Returns how many places it changed."""
    module = cast("_Module", importlib.import_module(f"{__package__}.{step.module}"))
    return module.apply(step, state)
