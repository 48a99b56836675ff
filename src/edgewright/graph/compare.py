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


def random_feeds(model: onnx.ModelProto, batch: int = 2, seed: int = 0) -> list[np.ndarray]:
    """Seeded random arrays for the model's inputs, in order. `batch`: for a dynamic batch.

    Images of integers are 0..255, other integers 0 or 1, because they may be indices. Floats are normal.
    """
    import onnx

    random, found = np.random.default_rng(seed), []
    for value in inputs.real(model):
        shape = [batch if side is None else side for side in inputs.shape(value)]
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if kind.kind in "iub":
            most = 256 if inputs.layout(inputs.shape(value)) else 2
            found.append(random.integers(0, most, shape).astype(kind))
        else:
            found.append(random.standard_normal(shape, np.float32).astype(kind))
    return found


def run(model: onnx.ModelProto, *x: np.ndarray) -> list[np.ndarray]:
    """The outputs of `model` for `x`, an array for each input (ONNX Runtime, CPU, float32).

    Raises `RuntimeFailed` if ONNX Runtime refuses the model.
    """
    return _ask(_session(model), None, {value.name: array for value, array in zip(inputs.real(model), x)})


def answers(model: onnx.ModelProto, ones: Sequence[Sequence[np.ndarray]], outputs: Sequence[str]) -> list[np.ndarray]:
    """The `outputs` of `model` for the samples `ones`, computed in the model's batch size (8 if dynamic) and types.

    Each sample has one array for each input, without a batch axis. Returns an array (samples, values) for each output.
    """
    values = inputs.real(model)
    batched = [len(inputs.shape(value)) > np.ndim(array) for value, array in zip(values, ones[0])]
    fixed = next((inputs.shape(value)[0] for value, has in zip(values, batched) if has), 1)
    size = 1 if not all(batched) else fixed or min(8, len(ones))
    session = _session(model)
    rows: list[list[np.ndarray]] = []
    for start in range(0, len(ones), size):
        part = [*ones[start : start + size]]
        part += [part[-1]] * (size - len(part))
        feeds = {
            value.name: (np.stack([one[k] for one in part]) if batched[k] else part[0][k]).astype(
                _type(value), copy=False
            )
            for k, value in enumerate(values)
        }
        found = _ask(session, list(outputs), feeds)
        rows.append([array.reshape(size, -1)[: len(ones) - start] for array in found])
    return [np.concatenate(column) for column in zip(*rows)]


def difference(
    first: onnx.ModelProto, second: onnx.ModelProto, x: Sequence[np.ndarray], align: Align = lambda _, found: found
) -> float:
    """The largest difference between the outputs of two models, each relative to the first's largest value.

    `align`: sorts an output of the second as in the first, for outputs without a fixed order.
    """
    worst = 0.0
    for a, b in zip(run(first, *x), run(second, *x), strict=True):
        if a.shape != b.shape:
            raise InvalidInput(
                f"An output has shape {list(b.shape)} instead of {list(a.shape)}.",
                "A change to the graph changed the computation.",
                "Export the model again with a plain, single-output head.",
            )
        found = align(a, b) if a.dtype.kind == "f" else b
        if not np.array_equal(np.isfinite(a), np.isfinite(found)):
            return float("inf")
        finite = np.isfinite(a)
        if finite.any():
            gap = float(np.abs(a[finite].astype(np.float64) - found[finite].astype(np.float64)).max())
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


def _ask(session: Any, outputs: list[str] | None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    try:
        return [np.asarray(output) for output in session.run(outputs, feeds)]
    except Exception as error:  # as above
        given = ", ".join(f"'{name}' {array.dtype} {list(array.shape)}" for name, array in feeds.items())
        raise _failure(error, f"The inputs are {given}.") from error


def _failure(error: Exception, why: str) -> RuntimeFailed:
    text = " ".join(str(error).split())[:300]
    return RuntimeFailed(f"ONNX Runtime cannot run the model: {text}", why, "Export it again, or with another opset.")
