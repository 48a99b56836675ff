"""ONNX Runtime on the CPU."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgewright.core.errors import RuntimeFailed, Unavailable
from edgewright.core.lazy import require
from edgewright.targets.detect import physical_cores, this_machine

from . import kernels
from .contents import Contents
from .onnx_file import operators, require_whole
from .options import Kernel, Options, Precision, Probe, failure, require_precision
from .traits import Saturation, Traits

MODEL = "model.onnx"
TRAITS = Traits(
    distribution="onnxruntime", saturation=Saturation(activations=("u8", "s8"), fused=True, padded=False)
)  # fmt: skip
_NAME = "onnxruntime"
_PROVIDERS = ["CPUExecutionProvider"]
_DISABLED = ["WeightBiasQuantization"]
"""Optimizations that change the meaning of a Q/DQ file. This one quantizes float layers per tensor (ONNX Runtime 1.31:
a mixed-precision MobileNetV1-0.25 gives random outputs)."""
_PRECISIONS: tuple[Precision, ...] = ("f32",)
_KERNEL = "_kernel_time"
_INT8 = frozenset({"QLinearConv", "QGemm", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "ConvInteger"})
_FLOAT = frozenset(
    {"Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"}
)
"""Kernels of layers with weights or matrix products, in INT8 and in float."""
_REORDERS = frozenset({"ReorderInput", "ReorderOutput", "QuantizeLinear", "DequantizeLinear", "Cast"})
"""Kernels that only change the layout or type of a tensor."""
_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
_OF_QUANTIZED = _INT8 | {"DynamicQuantizeMatMul", "QLinearAdd", "QLinearConcat"}
"""Operators of files without Q/DQ pairs. They always run in INT8 kernels."""
_TYPES = {"float": "f32", "float16": "f16", "bfloat16": "bf16", "uint8": "u8", "int8": "i8"}
_NUMPY: dict[str, Any] = {
    "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(int32)": np.int32, "tensor(int64)": np.int64,
    "tensor(int16)": np.int16, "tensor(uint16)": np.uint16, "tensor(bool)": np.bool_,
}  # fmt: skip
"""Numpy types of inputs that are not float32."""


class Handle(NamedTuple):
    """A loaded model. `unfused`: the reason if its quantized layers run in float, else empty."""

    session: Any
    inputs: list[str]
    outputs: list[str]
    contents: Contents
    options: Options
    unfused: str = ""


def probe() -> Probe:
    """Return the abilities of ONNX Runtime on this machine."""
    try:
        ort = require(_NAME, _NAME)
    except (Unavailable, ImportError) as error:
        return Probe(available=False, why=str(error))
    return Probe(available=True, version=ort.__version__, precisions=_PRECISIONS, device=f"CPU {this_machine().model}")


def build(model: Path, options: Options, folder: Path) -> None:
    """Check `model` (an ONNX file) and write it as one file, with the oldest IR version that supports it.

    ONNX Runtime optimizes the graph at load time, because its layout optimizations fit one machine only. The package
    onnx writes its newest IR version, which the ONNX Runtime of a device (1.23 on Python 3.10) rejects.
    """
    require_precision(options, _PRECISIONS, "Its CPU kernels compute in float32 or INT8.")
    # Building happens on the host, which has onnx; a device only loads.
    from onnx.helper import find_min_ir_version_for

    from edgewright.graph import files as graph_files

    checked = graph_files.load(model)
    oldest = max(8, find_min_ir_version_for(checked.opset_import, ignore_unknown=True))
    checked.ir_version = min(checked.ir_version, oldest)
    graph_files.save(checked, folder / MODEL)


def fault() -> str:
    """Return a message about wrong INT8 kernels on this machine; empty if all are right (see `kernels`)."""
    return kernels.fault()


def load(contents: Contents, options: Options, trust: bool = False) -> Handle:
    """Open an artifact.

    Raises `Unavailable` (library, precision, wrong INT8 kernels), `IntegrityError` or `RuntimeFailed` (model rejected).
    With wrong INT8 kernels (see `kernels`), quantized layers run in float and a `RuntimeWarning` is issued.
    """
    ort = require(_NAME, _NAME)
    require_precision(options, _PRECISIONS, "Its CPU kernels compute in float32 or INT8.")
    handle = _open(ort, contents, options, _session_options(ort, options))
    if handle.unfused:
        text = f"Quantized layers run in float. The results are correct but slower. {handle.unfused}"
        warnings.warn(text, RuntimeWarning, stacklevel=4)  # of the caller of `edgewright.open`
    return handle


def run(handle: Handle, *x: np.ndarray) -> list[np.ndarray]:
    """Return all outputs for the batch `x`, an array for each input. C-contiguous arrays are not copied.

    Raises `RuntimeFailed`.
    """
    try:
        outputs: list[np.ndarray] = handle.session.run(handle.outputs, dict(zip(handle.inputs, x)))
    except Exception as error:
        # A file that loads can still fail here: QLinearConv checks its scales only when it runs.
        raise failure("ONNX Runtime", "run the model", error) from error
    return outputs


def describe(handle: Handle) -> dict[str, Any]:
    """Describe the kernels that run, from a profiled inference.

    "census" counts kernels by computing type, "operators" by name (a DequantizeLinear in it is not fused into an INT8
    kernel). "layers" counts kernels with weights or matrix products by type, "reorders" those that only change a layout
    or type. "unfused", if present, is the reason why quantized layers run in float.
    """
    (events,) = _events(handle.contents, handle.options, None, 1)
    ran = [(event["args"]["op_name"], _type(event), event["args"]["provider"]) for event in events]
    foreign = {provider for _, _, provider in ran} - set(_PROVIDERS)
    if foreign:
        raise RuntimeFailed(
            f"ONNX Runtime placed part of the model on {', '.join(sorted(foreign))}.",
            "edgewright selected only the CPU provider.",
            "Report this error with the model. It is unexpected.",
        )
    return {
        "precision": handle.options.precision,
        "threads": handle.options.threads or physical_cores(),
        "device": f"CPU {this_machine().model}",
        "census": dict(Counter(kind for _, kind, _ in ran)),
        "operators": dict(Counter(operator for operator, _, _ in ran)),
        "layers": dict(Counter("int8" if op in _INT8 else kind for op, kind, _ in ran if op in _INT8 | _FLOAT)),
        "reorders": sum(operator in _REORDERS for operator, _, _ in ran),
        **({"unfused": handle.unfused} if handle.unfused else {}),
    }


def profile(
    contents: Contents, options: Options, x: Sequence[np.ndarray], count: int, quantile: float = 0.5
) -> list[Kernel]:
    """Return the kernels of an artifact in execution order.

    Their times in microseconds are medians, or another `quantile`, of `count` inferences on `x`.
    """
    require_precision(options, _PRECISIONS, "Its CPU kernels compute in float32 or INT8.")
    rows = _events(contents, options, x, count + 2)[2:]  # the first two fill caches
    return [
        Kernel(
            (runs[0]["name"].removesuffix(_KERNEL),), f"{runs[0]['args']['op_name']} {_type(runs[0])}",
            float(np.quantile([event["dur"] for event in runs], quantile)),
        )
        for runs in zip(*rows)
    ]  # fmt: skip


def _type(kernel: dict[str, Any]) -> str:
    """Return the type of the first input of a kernel."""
    types = [next(iter(entry)) for entry in kernel["args"].get("input_type_shape", []) if entry]
    return _TYPES.get(types[0], types[0]) if types else "none"


def _session_options(ort: Any, options: Options) -> Any:
    settings = ort.SessionOptions()
    level = ort.GraphOptimizationLevel
    settings.graph_optimization_level = level.ORT_DISABLE_ALL if options.emulate else level.ORT_ENABLE_ALL
    settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    settings.intra_op_num_threads = options.threads or physical_cores()
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    # Threads that wait in a loop take cores from other processes and save little time on an idle machine.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return settings


def _open(ort: Any, contents: Contents, options: Options, settings: Any) -> Handle:
    content = contents.read(MODEL)
    require_whole(content, str(contents.folder / MODEL))
    unfused = "" if options.emulate else _why_unfused(operators(content))
    if unfused:
        kernels.unfuse(settings)
    # Without this, ONNX Runtime guesses the format from the first bytes and could use its own format.
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = ort.InferenceSession(content, settings, providers=_PROVIDERS, disabled_optimizers=_DISABLED)
    except Exception as error:
        raise failure("ONNX Runtime", f"load {MODEL}", error) from error
    # The session keeps the file's bytes for a change of providers. Drop them: they need as much memory as the weights.
    session._model_bytes = None
    outputs = [output.name for output in session.get_outputs()]
    return Handle(session, [value.name for value in session.get_inputs()], outputs, contents, options, unfused)


def _why_unfused(found: set[str]) -> str:
    """Return why a graph with these operators must not use INT8 kernels; empty if it may, or has no INT8."""
    held = sorted(found & _OF_QUANTIZED)
    if not held and not found & _QDQ:
        return ""
    fault = kernels.fault()
    if fault and held:
        raise Unavailable(
            fault, f"The operators {', '.join(held)} of the model run only in these kernels.",
            "Update onnxruntime, or build the bundle from a file with Q/DQ pairs, which can run in float.",
        )  # fmt: skip
    return fault


def _events(
    contents: Contents, options: Options, x: Sequence[np.ndarray] | None, count: int
) -> list[list[dict[str, Any]]]:
    """Return the profiler's kernel events, in order, for each of `count` inferences on `x` (None: zeros)."""
    ort = require(_NAME, _NAME)
    with tempfile.TemporaryDirectory(prefix="edgewright-") as folder:
        settings = _session_options(ort, options)
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder, "profile"))
        handle = _open(ort, contents, options, settings)
        if x is None:
            x = [
                np.zeros(
                    [side if isinstance(side, int) else 1 for side in what.shape], _NUMPY.get(what.type, np.float32)
                )
                for what in handle.session.get_inputs()
            ]
        for _ in range(count):
            run(handle, *x)
        events = json.loads(Path(handle.session.end_profiling()).read_text())
    ran = [e for e in events if e.get("cat") == "Node" and e["name"].endswith(_KERNEL)]
    each = len(ran) // count
    return [ran[start : start + each] for start in range(0, len(ran), each)] if each else [[]] * count
