"""Compare the outputs of two models for the same input, to check a graph pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.lazy import require

from . import inputs

if TYPE_CHECKING:
    import onnx


Align = Callable[[np.ndarray, np.ndarray], np.ndarray]


def random_input(model: onnx.ModelProto, batch: int = 2, seed: int = 0) -> np.ndarray:
    """Seeded random images for the model's input: integers 0..255 or float32 normal. `batch`: for a dynamic batch."""
    image = inputs.image(model)
    shape = image.shape(image.batch or batch)
    random = np.random.default_rng(seed)
    if image.dtype != "float32":
        return random.integers(0, 256, shape, np.dtype(image.dtype).type)
    return random.standard_normal(shape, np.float32)


def run(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    """The outputs of `model` for `x` (ONNX Runtime, CPU, float32). Raises `RuntimeFailed` if it refuses the model."""
    return _ask(_session(model), None, inputs.real(model)[0].name, x)


def answers(model: onnx.ModelProto, images: np.ndarray, outputs: Sequence[str]) -> np.ndarray:
    """The `outputs` of `model` for `images`, computed in the model's batch size (8 if dynamic) and input type.

    Returns an array (images, values); several outputs, or outputs with more than two dimensions, are flattened and
    concatenated.
    """
    value = inputs.real(model)[0]
    size = inputs.shape(value)[0] or min(8, len(images))
    images = images.astype(_type(value), copy=False)
    session, rows = _session(model), []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        padded = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
        found = _ask(session, list(outputs), value.name, padded)
        rows.append(np.concatenate([array.reshape(size, -1)[: len(part)] for array in found], axis=1))
    return np.concatenate(rows)


def difference(
    first: onnx.ModelProto, second: onnx.ModelProto, x: np.ndarray, align: Align = lambda _, found: found
) -> float:
    """The largest difference between the outputs of two models, each relative to the first's largest value.

    `align`: sorts an output of the second as in the first, for outputs without a fixed order.
    """
    worst = 0.0
    for a, b in zip(run(first, x), run(second, x), strict=True):
        if a.shape != b.shape:
            raise InvalidInput(
                f"An output has shape {list(b.shape)} instead of {list(a.shape)}.",
                "A change to the graph changed the computation.",
                "Export the model again with a plain, single-output head.",
            )
        found = align(a, b)
        if not np.array_equal(np.isfinite(a), np.isfinite(found)):
            return float("inf")
        finite = np.isfinite(a)
        if finite.any():
            gap = float(np.abs(a[finite].astype(np.float64) - found[finite]).max())
            worst = max(worst, gap / max(float(np.abs(a[finite]).max()), 1e-12))
    return worst


def _type(value: onnx.ValueInfoProto) -> np.dtype[Any]:
    """The numpy type of an input; for BF16, which numpy lacks, that of the package that onnx uses."""
    import onnx

    found: np.dtype[Any] = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return found


def _session(model: onnx.ModelProto) -> Any:
    ort = require("onnxruntime", "host")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes have no common base
        raise _failure(error, "It does not accept the graph.") from error


def _ask(session: Any, outputs: list[str] | None, name: str, x: np.ndarray) -> list[np.ndarray]:
    try:
        return [np.asarray(output) for output in session.run(outputs, {name: x})]
    except Exception as error:  # as above
        raise _failure(error, f"The input has shape {list(x.shape)} and type {x.dtype}.") from error


def _failure(error: Exception, why: str) -> RuntimeFailed:
    text = " ".join(str(error).split())[:300]
    return RuntimeFailed(f"ONNX Runtime cannot run the model: {text}", why, "Export it again, or with another opset.")
