"""Q/DQ models by NNCF, fed one batch at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.core.errors import InvalidInput
from edgewright.graph.names import Aliases
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.calibration.statistics import Tick
from edgewright.quantize.methods import Method
from edgewright.quantize.schemes import Scheme

from . import unsigned

if TYPE_CHECKING:
    import onnx


def place(
    model: onnx.ModelProto, calibration: Calibration, scheme: Scheme, method: Method, float_nodes: list[str], tick: Tick
) -> onnx.ModelProto:
    """`model`, changed in place, with Q/DQ pairs for the OpenVINO scheme `scheme`; `float_nodes` stay in float.

    Raises `InvalidInput` for layers whose weights are computed.
    """
    import nncf

    _require_constant_weights(model)
    nncf.set_log_level(40)
    aliases = Aliases(model.graph)  # NNCF makes up names without a look whether they are taken
    aliases.apply(model.graph)
    transformer = any(node.op_type == "LayerNormalization" for node in model.graph.node)
    zero_points = scheme.activations == "u8" or method.zero_points
    placed = nncf.quantize(
        model,
        nncf.Dataset(_Batches(calibration, tick)),
        subset_size=len(calibration),
        preset=nncf.QuantizationPreset.MIXED if zero_points else nncf.QuantizationPreset.PERFORMANCE,
        target_device=nncf.TargetDevice.CPU,
        fast_bias_correction=True,
        ignored_scope=nncf.IgnoredScope(names=[aliases.node(name) for name in float_nodes], validate=False),
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
        advanced_parameters=_advanced(scheme, method),
    )
    aliases.restore(placed.graph)
    if zero_points:
        unsigned.apply(placed)
    return placed


def _require_constant_weights(model: onnx.ModelProto) -> None:
    """NNCF 3.4 fails on others with an AttributeError."""
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm") and node.input[1] not in constants:
            raise InvalidInput(
                f"NNCF cannot quantize this model: the weights of {node.op_type} '{node.name}' are computed.",
                "It reads weights that are constants.",
                "Use another method, e.g. --method minmax or round.",
            )


def _advanced(scheme: Scheme, method: Method) -> Any:
    from nncf.quantization import advanced_parameters as a

    return a.AdvancedQuantizationParameters(
        overflow_fix=a.OverflowFix.ENABLE if scheme.weight_bits == 7 else a.OverflowFix.DISABLE,
        disable_bias_correction=method.bias_correction != "fast",
        smooth_quant_alphas=a.AdvancedSmoothQuantParameters(matmul=0.95 if method.smooth_quant else -1),
    )


class _Batches:
    """What NNCF iterates over, possibly several times."""

    def __init__(self, calibration: Calibration, tick: Tick) -> None:
        self._calibration, self._tick = calibration, tick

    def __len__(self) -> int:
        return len(self._calibration)

    def __iter__(self) -> Any:
        for step, feed in enumerate(self._calibration.batches()):
            yield feed
            self._tick(step + 1, len(self), "activation statistics")
