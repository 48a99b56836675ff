"""The ways to find ranges and repair rounding errors, from cheap to thorough, as data."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgewright.core.errors import InvalidInput

from .calibration.statistics import Kind
from .schemes import SCHEMES


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is quantized.

    `engine` places the Q/DQ pairs. `ranges` are the ways to find the activations' clipping ranges ("output": the best
    for each tensor, see `clipping`); of several, the widest first, one is taken instead of those before it where it
    changes the answers less by more than chance (NNCF finds its own). `equalize`: first even out the channels of
    tensors (see `equalize`); for grids around zero, `split`: compute noisy channels twice in the places of dead ones
    (see `splitting`), and `centre`: move down what comes out of ReLUs (see `centre`). `bias_correction` "fast" is
    NNCF's (each layer by itself), "sequential" corrects a layer on the outputs of the corrected layers before it.
    `reround` rounds weights so that they make good one another's errors (GPTQ, Frantar et al. 2022). `float_layers` is
    the fraction of layers that stay in float, those that lose most when they alone are quantized. `smooth_quant` moves
    outliers of activations into weights where the model has LayerNorm (Xiao et al. 2022). `zero_points`: NNCF gives
    activations a zero point also where the scheme can do without: a SiLU's range is hardly negative. `distil`: at last
    learn weights, scales and biases from the float model (see `distil`); `labels`: and from the images' labels.
    """

    name: str
    engine: Literal["onnxruntime", "nncf"]
    ranges: tuple[Kind, ...] = ("minmax",)
    equalize: bool = False
    split: bool = False
    centre: bool = False
    bias_correction: Literal["none", "fast", "sequential"] = "none"
    reround: bool = False
    float_layers: float = 0.0
    smooth_quant: bool = False
    zero_points: bool = False
    distil: bool = False
    labels: bool = False

    def fits(self, scheme: str) -> bool:
        """Whether this method can make files of the scheme called `scheme`."""
        return self.engine == "onnxruntime" or SCHEMES[scheme].runtime == "openvino"


METHODS: dict[str, Method] = {
    m.name: m
    for m in (
        Method(name="minmax", engine="onnxruntime"),
        Method(
            name="round",
            engine="onnxruntime",
            ranges=("minmax", "mean", "output"),
            equalize=True,
            split=True,
            centre=True,
            bias_correction="sequential",
            reround=True,
        ),
        Method(
            name="round-mixed",
            engine="onnxruntime",
            ranges=("minmax", "mean", "output"),
            equalize=True,
            split=True,
            centre=True,
            bias_correction="sequential",
            reround=True,
            float_layers=0.2,
        ),
        Method(name="nncf", engine="nncf", bias_correction="fast"),
        Method(
            name="nncf-round",
            engine="nncf",
            bias_correction="sequential",
            reround=True,
            smooth_quant=True,
            zero_points=True,
        ),
    )
}
"""What the pipeline tries where a recipe does not say: for each engine what the tool does by itself, and the best."""

DISTIL = "distil"
"""What is tried where none of the others stays inside the budget."""

OTHERS: dict[str, Method] = {
    m.name: m
    for m in (
        Method(name="minmax-bias", engine="onnxruntime", bias_correction="sequential"),
        Method(
            name="percentile-round",
            engine="onnxruntime",
            ranges=("percentile",),
            bias_correction="sequential",
            reround=True,
        ),
        Method(
            name="entropy-round", engine="onnxruntime", ranges=("entropy",), bias_correction="sequential", reround=True
        ),
        Method(name="mse-round", engine="onnxruntime", ranges=("mse",), bias_correction="sequential", reround=True),
        Method(
            name=DISTIL,
            engine="onnxruntime",
            ranges=("minmax", "mean", "output"),
            equalize=True,
            split=True,
            centre=True,
            bias_correction="sequential",
            reround=True,
            distil=True,
        ),
        Method(
            name="qat",
            engine="onnxruntime",
            ranges=("minmax", "mean", "output"),
            equalize=True,
            split=True,
            centre=True,
            bias_correction="sequential",
            reround=True,
            distil=True,
            labels=True,
        ),
        Method(name="nncf-bias", engine="nncf", bias_correction="sequential"),
    )
}
"""Methods to ask for by name: for models with outliers, and to see what one part contributes."""


def get(name: str) -> Method:
    """The method called `name`; raises `InvalidInput` that lists the known ones."""
    known = METHODS | OTHERS
    if name not in known:
        raise InvalidInput(
            f"There is no quantization method '{name}'.", f"Known methods: {', '.join(known)}.", "Use one of them."
        )
    return known[name]
