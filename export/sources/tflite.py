"""A TensorFlow Lite file (.tflite), converted to ONNX; its spec is read or derived as that of an ONNX file.

OpenVINO reads the file, and `openvino_graph` converts OpenVINO's graph. This keeps the float arithmetic: the ONNX model
must give the outputs of OpenVINO running the file itself, up to float rounding, on random images. (OpenVINO's outputs
agree with those of LiteRT, TFLite's own runtime, to 1e-4 of the largest value.) No other way works without TensorFlow:
tf2onnx needs it, and tflite2onnx has had no release since 2022. The input keeps its layout, which is NHWC.

A quantized file is refused, also one with INT8 weights under float activations: its scales are those of TensorFlow
Lite's kernels, and edgewright chooses its own for each target. Weights that are stored as FP16 become float32.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.core import files
from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.lazy import require, version
from edgewright.graph import compare

from . import openvino_graph, tflite_metadata

if TYPE_CHECKING:
    import onnx

    from edgewright.core.spec import Input

SUFFIX = ".tflite"
_MAGIC = b"TFL3"
_LIMIT_BYTES = 2 << 30
_LIMIT = 1e-2
"""The largest difference to OpenVINO, relative to an output's largest value. Random images amplify rounding: LiteRT and
OpenVINO differ by up to 1e-3."""
_LEAST = 3e-2
"""Outputs whose largest value is smaller are compared with this value."""
_DRAWS = 2


def load(path: str) -> tuple[onnx.ModelProto, dict[str, Any], tuple[str, ...]]:
    """The model of the file `path` as ONNX, the fields of a description that its metadata gives, and notes.

    Raises `InvalidInput` for a file that is no float TFLite model or has operators without a counterpart,
    `Unavailable` without OpenVINO, and `RuntimeFailed` if the converted model gives other outputs.
    """
    where = files.absolute(path)
    content = _content(where)
    graph = _read(where)
    _require_float(graph, where.name)
    notes = _plain_outputs(graph)
    model = openvino_graph.to_onnx(graph, where.name)
    gap = _require_same(graph, model, where.name)
    known = tflite_metadata.read(content)
    count = f"OpenVINO {version('openvino')} running {where.name}"
    notes += (f"Converted from TFLite. The outputs differ from those of {count} by at most {gap:.1g} of the largest.",)
    return model, known, notes


def described(known: dict[str, Any], image: Input) -> dict[str, Any]:
    """The fields of a description for the input `image`, from the fields `known` of its metadata.

    TFLite's task library resizes a photo to the input without keeping its aspect ratio, bilinear and without
    antialiasing, as OpenCV does.
    """
    if "preprocess" not in known or image.channels != 3 or image.dtype != "float32":
        return {key: value for key, value in known.items() if key != "preprocess"}
    size = (image.height, image.width)
    fixed = {"resize": "exact", "resize_to": size, "interpolation": "opencv", "exif": "apply"}
    return {**known, "preprocess": {**fixed, **known["preprocess"]}}


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise InvalidInput(
            f"There is no file {path}.", "It must be a TFLite model.", "Check the path and the current folder."
        )
    size = path.stat().st_size
    if size > _LIMIT_BYTES:
        raise InvalidInput(f"{path.name} has {size} bytes.", f"The limit is {_LIMIT_BYTES}.", "Use a smaller model.")
    content = path.read_bytes()
    root = struct.unpack_from("<I", content)[0] if len(content) >= 8 else 0
    if content[4:8] != _MAGIC or not 8 <= root <= len(content) - 4:
        raise _damaged(path.name, f"Its {len(content)} bytes do not start with a TFLite header.")
    return content


def _damaged(name: str, why: str) -> InvalidInput:
    return InvalidInput(f"{name} is not a valid TFLite model.", why, "Convert the model again, or get another copy.")


def _read(path: Path) -> Any:
    """OpenVINO's graph of the file, by its reader of this format only."""
    require("openvino", "host")
    frontend = require("openvino.frontend", "host").FrontEndManager().load_by_framework("tflite")
    try:
        return frontend.convert(frontend.load(str(path)))
    except Exception as error:  # OpenVINO's errors have no common class
        text = " ".join(str(error).split())
        found = text.partition("No translator found for ")[2].partition(" node")[0]
        if found:
            raise openvino_graph.unsupported(path.name, [found]) from None
        raise _damaged(path.name, f"OpenVINO cannot read it: {text[-200:]}") from None


def _require_float(graph: Any, name: str) -> None:
    kinds = {str(value.get_element_type().get_type_name()) for value in (*graph.inputs, *graph.outputs)}
    quantized = sum(op.get_type_name() == "FakeQuantize" or _is_int8(op) for op in graph.get_ops())
    if quantized or kinds & {"i8", "i16"}:
        raise InvalidInput(
            f"{name} is quantized: {quantized} of its tensors have INT8 scales.",
            "edgewright chooses the scales itself, for each target, and needs the float model for that.",
            "Convert the original model to a float .tflite, without optimizations, or to ONNX.",
        )


def _is_int8(op: Any) -> bool:
    """Whether `op` holds weights of 8 bits. OpenVINO computes layers with them in INT8 itself."""
    if op.get_type_name() != "Constant" or op.get_output_element_type(0).get_type_name() not in ("i8", "u8", "i4"):
        return False
    return sum(int(side) > 1 for side in op.get_output_shape(0)) > 1


def _plain_outputs(graph: Any) -> tuple[str, ...]:
    """Remove the conversion of outputs to bytes from `graph`, with the factor 255 before it. Returns notes."""
    notes: tuple[str, ...] = ()
    for result in graph.get_results():
        op = result.input_value(0).get_node()
        while op.get_type_name() in ("Transpose", "Reshape"):
            op = op.input_value(0).get_node()
        kind = str(op.get_output_element_type(0).get_type_name())
        if op.get_type_name() == "Convert" and kind in ("u8", "i8"):
            name = result.input_value(0).get_any_name()
            before = _unscaled(op.input_value(0))
            op.output(0).replace(before or op.input_value(0))
            to = "from 0 to 1 instead of bytes from 0 to 255" if before else "and no longer rounded to bytes"
            notes += (f"The output '{name}' is float32 {to}.",)
    if notes:
        graph.validate_nodes_and_infer_types()
    return notes


def _unscaled(value: Any) -> Any:
    """The tensor that `value` is 255 times of; None if it is not such a product."""
    op = value.get_node()
    if op.get_type_name() != "Multiply":
        return None
    for factor, other in ((0, 1), (1, 0)):
        constant = op.input_value(factor).get_node()
        if constant.get_type_name() == "Constant" and (np.asarray(constant.get_data()) == 255).all():
            return op.input_value(other)
    return None


def _require_same(graph: Any, model: onnx.ModelProto, name: str) -> float:
    """The largest difference between OpenVINO running `graph` and `model` on random images."""
    ov = require("openvino", "host")
    if len(model.graph.input) != 1:
        raise InvalidInput(
            f"{name} has {len(model.graph.input)} inputs.",
            "A .tflite with one input is supported.",
            "Convert the model to ONNX and pass the .onnx file.",
        )
    sides = [int(side.get_length()) if side.is_static else 2 for side in graph.inputs[0].get_partial_shape()]
    random = np.random.default_rng(0)
    whole = str(graph.inputs[0].get_element_type().get_type_name())
    compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    worst = 0.0
    for scale, shift in ((1.0, 0.0), (2.0, -1.0)) * _DRAWS:
        x = random.random(sides, np.float32) * np.float32(scale) + np.float32(shift)
        if whole != "f32":
            x = random.integers(0, 256, sides).astype(_WHOLE.get(whole, np.float32))
        truth = [np.array(value, np.float64) for value in compiled(x).values()]
        worst = max(worst, _gap(truth, compare.run(model, x)))
    if not worst <= _LIMIT:
        raise RuntimeFailed(
            f"The ONNX of {name} gives other outputs than OpenVINO running the file: {worst:.3g} of the largest value.",
            f"The limit is {_LIMIT:g}.",
            "Convert the file with another tool (tf2onnx --tflite) and pass the .onnx file.",
        )
    return worst


_WHOLE: dict[str, Any] = {"u8": np.uint8, "i32": np.int32, "i64": np.int64}


def _gap(truth: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    gaps = [
        float(np.abs(a - b).max()) / max(float(np.abs(a).max()), _LEAST) if a.shape == b.shape else float("inf")
        for a, b in zip(truth, found, strict=True)
    ]
    return max(gaps, default=0.0)
