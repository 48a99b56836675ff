"""The INT8 schemes as data: what a quantized file needs for one runtime on one kind of processor.

No single file is best for every runtime. A wrong scheme costs up to ten times the latency, crashes, or is refused, and
the tools do not report it. The values here come from the runtimes' documentation and were checked on the runtimes.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from edgewright.core.errors import InvalidInput


class Scheme(msgspec.Struct, frozen=True, kw_only=True):
    """Data types, symmetry and placement of Q/DQ pairs. Weights are always s8, symmetric, per output channel.

    `weight_bits` 7 keeps weights within [-64, 64]: without VNNI two u8 x s8 products are added in 16 bits (VPMADDUBSW),
    which saturates with the full range. Depthwise kernels do not use that instruction and keep 8 bits.

    `activations`: "u8" may have any zero point. "s8" has zero point 0 if `symmetric` (asymmetric s8 is up to eight
    times slower in OpenVINO, and without VNNI OpenVINO computes s8 activations incorrectly, see `qdq.unsigned`).

    `placement`: "all" also quantizes tensors between quantized operators, so that a chain stays in INT8. "inputs"
    quantizes only the inputs of convolutions and matrix products, and the skip input of residual additions.

    `fuses_functions`: the runtime fuses activation functions into layers and needs no pair between them.
    `depthwise_input` "channel": tensors that only depthwise convolutions read have a scale per channel (see
    `qdq.per_channel_activations`). `quantized_output`: a convolution runs in INT8 only if its output is quantized too.
    `nncf`: NNCF supports the scheme.
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
        """Whether the range of an activation is symmetric around zero in the files that our quantizers write."""
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
    """The scheme called `name`. Raises `InvalidInput` with the known names."""
    if name not in SCHEMES:
        raise InvalidInput(
            f"There is no quantization scheme '{name}'.", f"Known schemes: {', '.join(SCHEMES)}.", "Use one of them."
        )
    return SCHEMES[name]
