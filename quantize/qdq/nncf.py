"""Q/DQ models by NNCF, fed one batch at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.core.errors import InvalidInput
from edgewright.graph import files
from edgewright.graph.index import constants_of
from edgewright.graph.names import Aliases
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.calibration.statistics import Tick
from edgewright.quantize.schemes import Scheme
from edgewright.quantize.state import Int8State
from edgewright.quantize.steps import PlaceByNncf

from . import unsigned

if TYPE_CHECKING:
    import onnx


def apply(step: PlaceByNncf, state: Int8State) -> int:
    """Quantize with NNCF. Raises `InvalidInput` for layers whose weights are computed."""
    model, scheme, calibration = files.copy(state.model), state.scheme, state.calibration
    import nncf

    _require_constant_weights(model)
    nncf.set_log_level(40)
    aliases = Aliases(model.graph)  # NNCF creates names without checking whether they are used.
    aliases.apply(model.graph)
    transformer = any(node.op_type == "LayerNormalization" for node in model.graph.node)
    zero_points = scheme.activations == "u8" or step.zero_points
    placed = nncf.quantize(
        model,
        nncf.Dataset(_Batches(calibration, state.tick)),
        subset_size=len(calibration),
        preset=nncf.QuantizationPreset.MIXED if zero_points else nncf.QuantizationPreset.PERFORMANCE,
        target_device=nncf.TargetDevice.CPU,
        fast_bias_correction=True,
        ignored_scope=nncf.IgnoredScope(names=[aliases.node(name) for name in state.float_nodes], validate=False),
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
        advanced_parameters=_advanced(scheme, step),
    )
    aliases.restore(placed.graph)
    if zero_points:
        unsigned.apply(placed)
    state.quantized = placed
    return 1


def _require_constant_weights(model: onnx.ModelProto) -> None:
    """Raise `InvalidInput` for computed weights: NNCF 3.4 fails on them with an AttributeError."""
    constants = constants_of(model.graph)
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm") and node.input[1] not in constants:
            raise InvalidInput(
                f"NNCF cannot quantize this model: the weights of {node.op_type} '{node.name}' are computed.",
                "NNCF needs constant weights.",
                "Use another method: --method minmax or --method round.",
            )


def _advanced(scheme: Scheme, step: PlaceByNncf) -> Any:
    from nncf.quantization import advanced_parameters as a

    return a.AdvancedQuantizationParameters(
        overflow_fix=a.OverflowFix.ENABLE if scheme.weight_bits == 7 else a.OverflowFix.DISABLE,
        disable_bias_correction=not step.correct_biases,
        smooth_quant_alphas=a.AdvancedSmoothQuantParameters(matmul=0.95 if step.smooth_quant else -1),
    )


class _Batches:
    """The data set that NNCF iterates over, possibly several times."""

    def __init__(self, calibration: Calibration, tick: Tick) -> None:
        self._calibration, self._tick = calibration, tick

    def __len__(self) -> int:
        return len(self._calibration)

    def __iter__(self) -> Any:
        for step, feed in enumerate(self._calibration.batches()):
            yield feed
            self._tick(step + 1, len(self), "activation statistics")
