"""The steps that INT8 methods are made of, as data; the module that a step names does its work.

A step's module has ``apply(step, state) -> int``: it changes the state (`state.FloatState`, and from `Protect` on
`state.Int8State`) in place and returns how many places it changed.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, Literal, Protocol, cast

import msgspec

from .schemes import Scheme

Need = Literal["images", "statistics", "seed", "labels", "checkpoint", "heavy"]
Kind = Literal["minmax", "mean", "percentile", "entropy", "mse", "output"]
"""Ways to find a range: by statistics of the tensor alone, or by what the model's answers lose (`ChooseClipping`)."""


class Step(msgspec.Struct, frozen=True, tag=True):
    """A step with its own parameters.

    `module`: where its work is done, below `edgewright.quantize`. `needs`: what it reads beside the float model, and
    "heavy" where that imports torch. `keeps`: what of the float model and its statistics it makes anew; such a step
    serves several schemes and methods, and is kept as a stage of its own, called `stage`; messages call the model that
    it makes `result`. `centered`: it is for grids around zero only.
    """

    module: ClassVar[str]
    stage: ClassVar[str] = ""
    result: ClassVar[str] = ""
    needs: ClassVar[frozenset[Need]] = frozenset()
    keeps: ClassVar[frozenset[Literal["model", "statistics"]]] = frozenset()
    centered: ClassVar[bool] = False

    def fits(self, scheme: Scheme) -> bool:
        """Whether methods with this step can make files of `scheme`."""
        return True

    def is_for(self, scheme: Scheme) -> bool:
        """Whether it is done for `scheme` at all."""
        return scheme.centered or not self.centered


class Equalize(Step, frozen=True):
    """Even out the channels of tensors."""

    module, stage, result = "ptq.equalize", "equalize", "The equalized model"
    needs, keeps = frozenset({"images"}), frozenset({"model"})


class Calibrate(Step, frozen=True):
    """Collect the statistics of activations."""

    module, stage = "calibration.collect", "calibrate"
    needs, keeps = frozenset({"images"}), frozenset({"statistics"})


class ChooseClipping(Step, frozen=True):
    """Find for each tensor the range that changes the answers least: ranges of the kind "output"."""

    module, stage = "calibration.clipping", "choose-clipping"
    needs, keeps = frozenset({"images", "statistics", "seed", "heavy"}), frozenset({"statistics"})


class SplitChannels(Step, frozen=True):
    """Compute noisy channels twice, in the places of dead ones."""

    module, stage, result = "ptq.channel_splitting", "split-channels", "The model with split channels"
    centered = True
    needs, keeps = frozenset({"statistics"}), frozenset({"model", "statistics"})


class Center(Step, frozen=True):
    """Move down what comes out of ReLUs."""

    module, stage, result = "ptq.centering", "center", "The centered model"
    centered = True
    needs, keeps = frozenset({"statistics"}), frozenset({"model", "statistics"})


class Protect(Step, frozen=True):
    """Keep what the model's task wants exact in float: a detector's head."""

    module = "qdq.protect"


class ChooseRanges(Step, frozen=True):
    """Take one of the `kinds` of clipping ranges.

    The widest stands first; another is taken instead of those before it where it changes the answers less by more than
    chance.
    """

    module = "calibration.choose_ranges"
    needs = frozenset({"images", "statistics"})
    kinds: tuple[Kind, ...]


class FloatLayers(Step, frozen=True):
    """Keep the `share` of layers in float that lose most when they alone are quantized."""

    module = "qdq.float_layers"
    needs = frozenset({"images"})
    share: float


class ByteInput(Step, frozen=True):
    """Put the network's input on the grid of the image's bytes, where that is exact."""

    module = "qdq.byte_input"

    def is_for(self, scheme: Scheme) -> bool:
        """Those that quantize the input: TensorRT's first convolutions stay in float."""
        return scheme.placement == "all"


class PlaceQdq(Step, frozen=True):
    """Put Q/DQ pairs where the scheme wants them, for the ranges that were chosen."""

    module = "qdq.place"


class PlaceByNncf(Step, frozen=True, kw_only=True):
    """Let NNCF find ranges and put Q/DQ pairs.

    `correct_biases`: each layer by itself, NNCF's fast way. `smooth_quant`: outliers of activations move into weights
    where the model has LayerNorm (Xiao et al. 2022). `zero_points`: activations get one also where the scheme can do
    without: a SiLU's range is hardly negative.
    """

    module = "qdq.nncf"
    needs = frozenset({"images", "heavy"})
    correct_biases: bool = False
    smooth_quant: bool = False
    zero_points: bool = False

    def fits(self, scheme: Scheme) -> bool:
        """Those of which NNCF makes files."""
        return scheme.nncf


class FloatTail(Step, frozen=True):
    """Keep what comes behind the last layer in INT8 in float."""

    module = "qdq.float_tail"


class RequireInt8(Step, frozen=True):
    """Fail where too few layers came out in INT8."""

    module = "qdq.coverage"


class CorrectBiases(Step, frozen=True, kw_only=True):
    """Take the mean error of each layer's output into its bias, on the outputs of the corrected layers before it.

    `gptq`: before its bias, round each layer's weights so that they make good one another's errors.
    """

    module = "ptq.bias_correction"
    needs = frozenset({"images"})
    gptq: bool = False


class Distil(Step, frozen=True):
    """Learn weights, scales and biases from the float model."""

    module = "qat.train"
    needs = frozenset({"images", "seed", "checkpoint", "heavy"})


class Train(Step, frozen=True):
    """Learn weights, scales and biases from the float model and from the images' labels."""

    module = "qat.train"
    needs = frozenset({"images", "seed", "checkpoint", "labels", "heavy"})


class Repair(Step, frozen=True):
    """Repair what the model's task finds wrong: a detector's scores go back to where they were."""

    module = "ptq.repair"
    needs = frozenset({"images"})


KeptStep = Equalize | Calibrate | ChooseClipping | SplitChannels | Center
"""The steps that are kept as stages of their own."""


class _Module(Protocol):
    @staticmethod
    def apply(step: Any, state: Any) -> int: ...


def apply(step: Step, state: Any) -> int:
    """Do the work of `step` on `state` (see `state`), in place; returns how many places were changed."""
    module = cast("_Module", importlib.import_module(f"{__package__}.{step.module}"))
    return module.apply(step, state)
