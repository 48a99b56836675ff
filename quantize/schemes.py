"""The flavours of INT8, as data: what one runtime on one kind of processor wants of a quantized file.

One file does not serve every runtime: a wrong flavour costs up to ten times the latency, a crash or a refused file, and
none of the tools says so. What stands here is documented by the runtimes and was checked on them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from edgewright.core.errors import InvalidInput


class Scheme(msgspec.Struct, frozen=True, kw_only=True):
    """Data types, symmetry and placement of Q/DQ pairs. Weights are always s8, symmetric, per output channel.

    `weight_bits` 7 keeps weights within [-64, 64]: without VNNI two products of u8 and s8 are added in 16 bits
    (VPMADDUBSW), which saturates with the full range. Depthwise kernels do not use that instruction and keep 8 bits.
    `activations` "u8" may have any zero point, "s8" has zero point 0 where `symmetric` (an asymmetric s8 is up to eight
    times slower in OpenVINO; without VNNI it computes with s8 activations wrongly, see `unsigned`). `placement` "all":
    tensors between quantized operators are quantized too, so that a chain stays in INT8; "inputs": only the inputs of
    convolutions and matrix products, and the skip input of residual additions. `fuses_functions`: the runtime computes
    a layer's activation function within the layer, and wants no pair between them. `depthwise_input` "channel": what
    depthwise convolutions alone read has a scale for each channel (see `qdq.per_channel_activations`).
    `quantized_output`: a convolution runs in INT8 only where its output is quantized too. `nncf`: NNCF makes files of
    it.
    """

    name: str
    title: str
    runtime: str
    activations: Literal["u8", "s8", "u8 or s8"]
    symmetric: bool
    weight_bits: Literal[7, 8] = 8
    placement: Literal["all", "inputs"] = "all"
    quantize_bias: bool = False
    fuses_functions: bool = False
    depthwise_input: Literal["tensor", "channel"] = "tensor"
    quantized_output: bool = False
    nncf: bool = False

    @property
    def centered(self) -> bool:
        """Whether the range of an activation is the same on both sides of zero, as our engines write it."""
        return self.symmetric and self.activations == "s8"


SCHEMES: dict[str, Scheme] = {
    s.name: s
    for s in (
        Scheme(
            name="ort-x86-vnni", title="ONNX Runtime, x86 with VNNI or AMX", runtime="onnxruntime",
            activations="u8", symmetric=False, quantize_bias=True, quantized_output=True,
        ),
        Scheme(
            name="ort-x86", title="ONNX Runtime, x86 without VNNI: 7-bit weights", runtime="onnxruntime",
            activations="u8", symmetric=False, weight_bits=7, quantize_bias=True, quantized_output=True,
        ),
        Scheme(
            name="ort-arm", title="ONNX Runtime, Arm: signed activations", runtime="onnxruntime",
            activations="s8", symmetric=False, quantize_bias=True, quantized_output=True,
        ),
        Scheme(
            name="openvino", title="OpenVINO, any x86: 7-bit weights and unsigned activations",
            runtime="openvino", activations="u8", symmetric=False, weight_bits=7, fuses_functions=True,
            depthwise_input="channel", nncf=True,
        ),
        Scheme(
            name="openvino-vnni", title="OpenVINO, x86 with VNNI or AMX", runtime="openvino",
            activations="u8 or s8", symmetric=True, fuses_functions=True, depthwise_input="channel", nncf=True,
        ),
        Scheme(
            name="tensorrt", title="TensorRT 8.6 and later", runtime="tensorrt",
            activations="s8", symmetric=True, placement="inputs",
        ),
    )
}  # fmt: skip
"""All schemes by name."""


def get(name: str) -> Scheme:
    """The scheme called `name`; raises `InvalidInput` that lists the known ones."""
    if name not in SCHEMES:
        raise InvalidInput(
            f"There is no quantization scheme '{name}'.", f"Known schemes: {', '.join(SCHEMES)}.", "Use one of them."
        )
    return SCHEMES[name]
