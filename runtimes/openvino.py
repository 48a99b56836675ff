"""OpenVINO on the CPU. The precision is always set explicitly, and the precision that OpenVINO chose is read back."""

from __future__ import annotations

import functools
import io
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgewright.core.errors import IntegrityError, Unavailable
from edgewright.core.lazy import require
from edgewright.targets.detect import physical_cores

from .contents import Contents
from .options import Kernel, Options, Precision, Probe, failure, require_precision
from .traits import Saturation, Traits

MODEL, WEIGHTS = "model.xml", "model.bin"
TRAITS = Traits(
    distribution="openvino", prefers_hardswish=True, prefers_slices=True,
    # For signed activations, OpenVINO halves the weights, so nothing saturates.
    saturation=Saturation(activations=("u8",), fused=False, padded=True),
    # Without AVX-512, an INT8 max pool takes ten times as long if its channels exceed 32 and are not a multiple of 32
    # (`tests/perf/test_latency_table.py`).
    pooled_int8=32,
)  # fmt: skip
_NAME = "openvino"
_DEVICE = "CPU"
_CAPABILITIES: dict[str, Precision] = {"FP32": "f32", "BF16": "bf16", "FP16": "f16"}
_NOT_WORK = {"Const", "Input", "Output", "Parameter", "Result"}
_LAYERS = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}
_LEAD = 2
"""Inferences that fill caches before a profile counts."""
_REORDERS = {"Reorder", "Convert", "FakeQuantize"}


class Handle(NamedTuple):
    """A compiled model and its one inference request."""

    compiled: Any
    request: Any
    tensor: Any
    outputs: range
    precision: str


def probe() -> Probe:
    """Return the abilities of OpenVINO here, without precisions that OpenVINO would silently replace by f32."""
    try:
        version = _openvino().__version__
        device = str(_core().get_property(_DEVICE, "FULL_DEVICE_NAME"))
        return Probe(
            available=True,
            version=version.partition("-")[0],
            precisions=_precisions(),
            device=f"CPU {device}",
        )
    except (Unavailable, ImportError, RuntimeError) as error:
        return Probe(available=False, why=str(error))


def build(model: Path, options: Options, folder: Path) -> None:
    """Check `model` (an ONNX file) and write it as OpenVINO IR. Weights stay unchanged; by default, they become FP16.

    This does not use `convert_model`, which is the same reader with telemetry and writes the host's paths into the
    file.
    """
    ov = _openvino()
    from edgewright.graph import files as graph_files

    checked = graph_files.load(model)  # check first, because OpenVINO hangs on some malformed files
    try:
        whole = io.BytesIO(checked.SerializeToString())
        ov.save_model(_core().read_model(whole), folder / MODEL, compress_to_fp16=False)
    except Exception as error:
        raise failure("OpenVINO", f"read {model.name}", error) from error


def load(contents: Contents, options: Options, trust: bool = False, profiled: bool = False) -> Handle:
    """Compile an artifact.

    Raises `Unavailable` (library, precision), `IntegrityError`, `RuntimeFailed` (model rejected).
    """
    ov = _openvino()
    why = "The CPU has no instructions for it, and OpenVINO would silently compute in f32."
    require_precision(options, _precisions(), why)
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": options.precision,
        "PERFORMANCE_HINT": options.hint.upper(),
        "INFERENCE_NUM_THREADS": options.threads or physical_cores(),
        "NUM_STREAMS": 1,
        "PERF_COUNT": profiled,
    }
    network, weights = contents.read(MODEL), contents.read(WEIGHTS)
    if not network.lstrip().startswith((b"<?xml", b"<net")):
        raise IntegrityError(
            f"{contents.folder / MODEL} is not an OpenVINO IR.",
            "OpenVINO would read it as another format, which can refer to other files.",
            "Build the bundle again with `edgewright compile`.",
        )
    try:
        tensor = ov.Tensor(ov.Type.u8, ov.Shape([len(weights)]))  # aligned as OpenVINO's kernels like it
        tensor.data[:] = np.frombuffer(weights, np.uint8)
        compiled = _core().compile_model(_core().read_model(network, tensor), _DEVICE, settings)
        really = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        request = compiled.create_infer_request()
    except Exception as error:
        raise failure("OpenVINO", f"compile {MODEL}", error) from error
    require_precision(options, (really,), "OpenVINO chose another precision than the requested one.")
    return Handle(compiled, request, ov.Tensor, range(len(compiled.outputs)), really)


def run(handle: Handle, *x: np.ndarray) -> list[np.ndarray]:
    """Return all outputs for the batch `x`, an array for each input. Writable, C-contiguous arrays are not copied.

    Raises `RuntimeFailed`.
    """
    try:
        request = handle.request
        for index, array in enumerate(x):
            shared = array if array.flags.c_contiguous and array.flags.writeable else array.copy()
            request.set_input_tensor(index, handle.tensor(shared, shared_memory=True))
        request.infer(share_outputs=True)
        # The request's own output memory is overwritten by the next inference.
        return [request.get_output_tensor(index).data.copy() for index in handle.outputs]
    except Exception as error:
        raise failure("OpenVINO", "run the model", error) from error


def profile(
    contents: Contents, options: Options, x: Sequence[np.ndarray], count: int, quantile: float = 0.5
) -> list[Kernel]:
    """Return the kernels of an artifact in execution order.

    Their times in microseconds are medians, or another `quantile`, of `count` inferences on `x`.
    """
    handle = load(contents, options, profiled=True)
    layers = {op.get_friendly_name(): op.get_rt_info() for op in handle.compiled.get_runtime_model().get_ops()}
    averages: dict[str, list[float]] = {}
    kinds: dict[str, str] = {}
    for _ in range(count + _LEAD):
        run(handle, *x)
        for info in handle.request.get_profiling_info():
            # The status is ignored: OpenVINO reports a kernel below a microsecond as not executed.
            if info.node_type not in _NOT_WORK:
                averages.setdefault(info.node_name, []).append(info.real_time.total_seconds() * 1e6)
                kinds[info.node_name] = f"{info.node_type} {info.exec_type}"
    return [
        Kernel(_originals(name, layers.get(name)), kinds[name], float(np.quantile(_each(found), quantile)))
        for name, found in averages.items()
    ]


def _each(averages: list[float]) -> np.ndarray:
    """Return the times of single inferences from the profiler's values, without the first `_LEAD` inferences.

    The profiler reports the mean since the model was compiled, in integer microseconds, so a slow inference would
    affect all later values. If the difference of two values has a rounding error above 5%, several inferences are
    combined.
    """
    totals = np.asarray(averages) * np.arange(1, len(averages) + 1)
    count = len(averages) - _LEAD
    whole = max(float(np.median(np.diff(totals)[_LEAD - 1 :])), 1.0)
    together = min(count, max(1, round(len(averages) / (0.05 * whole))))
    ends = totals[_LEAD - 1 :: together]
    return np.maximum(np.diff(ends) / together, 0.0)


def _originals(name: str, layer: Any) -> tuple[str, ...]:
    """Return the names in the model of a kernel's operations. One kernel can run several operations."""
    names = _text(layer["originalLayersNames"]) if layer and "originalLayersNames" in layer else ""
    return tuple(part for part in names.split(",") if part) or (name,)


def describe(handle: Handle) -> dict[str, Any]:
    """Describe the layers that run, from the compiled graph.

    "census" counts layers by computing precision, "operators" by type. "layers" counts those with weights or matrix
    products by precision, "reorders" those that only change a layout or type.
    """
    layers = [op.get_rt_info() for op in handle.compiled.get_runtime_model().get_ops()]
    work = [layer for layer in layers if _text(layer["layerType"]) not in _NOT_WORK]
    kinds = [(_text(layer["layerType"]), _text(layer["runtimePrecision"])) for layer in work]
    return {
        "precision": handle.precision,
        "threads": handle.compiled.get_property("INFERENCE_NUM_THREADS"),
        "device": f"CPU {_core().get_property(_DEVICE, 'FULL_DEVICE_NAME')}",
        "census": dict(Counter(precision for _, precision in kinds)),
        "operators": dict(Counter(operator for operator, _ in kinds)),
        "layers": dict(Counter("int8" if kind in ("u8", "i8") else kind for op, kind in kinds if op in _LAYERS)),
        "reorders": sum(operator in _REORDERS for operator, _ in kinds),
    }


def _openvino() -> Any:
    """Import OpenVINO without its model converter.

    The converter takes as long to import as the rest, and sends telemetry at every import. An explicit import of the
    converter still works.
    """
    converter = "openvino.tools.ovc"
    if _NAME in sys.modules or converter in sys.modules:
        return require(_NAME, _NAME)
    sys.modules[converter] = None  # type: ignore[assignment]  # marks the module as missing; openvino works without it
    try:
        return require(_NAME, _NAME)
    finally:
        sys.modules.pop(converter, None)


@functools.cache
def _core() -> Any:
    return _openvino().Core()


def _precisions() -> tuple[Precision, ...]:
    capabilities = _core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    return tuple(precision for name, precision in _CAPABILITIES.items() if name in capabilities)


def _text(value: Any) -> str:
    return str(value.astype(str) if hasattr(value, "astype") else value)
