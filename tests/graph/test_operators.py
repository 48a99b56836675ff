"""ONNX's own tests of its operators: reading a file (order, clean, upgrade, slim) leaves what it computes alone."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.graph import clean, files, inference, order, slim, upgrade

REFUSED = {
    "test_batchnorm_epsilon_training_mode": "training mode",
    "test_batchnorm_example_training_mode": "training mode",
    "test_mvn": "is not a valid ONNX model",  # onnx's own shape inference refuses the file that onnx's tests make
    "test_scan_sum": "Scan of operator set 8",
}
"""Test cases that are refused, each with a part of the message."""


def _cases() -> Iterator[tuple[str, onnx.ModelProto, list[Any]]]:
    """Name, model and inputs: the operators' own test cases, and the converted models in the package."""
    from onnx.backend.test.case.node import collect_testcases

    for case in collect_testcases(None):
        if case.data_sets:
            yield case.name, case.model, list(case.data_sets[0][0])
    for path in sorted(Path(onnx.__file__).parent.glob("backend/test/data/*/*/model.onnx")):
        inputs = [_tensor(file) for file in sorted((path.parent / "test_data_set_0").glob("input_*.pb"))]
        if inputs:
            yield path.parent.name, onnx.load(path), inputs


def _tensor(path: Path) -> np.ndarray:
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(tensor)


def _answers(model: onnx.ModelProto, inputs: dict[str, Any] | list[Any]) -> tuple[list[Any], dict[str, Any]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    feed = {name: inputs[name] for name in names} if isinstance(inputs, dict) else dict(zip(names, inputs))
    return session.run(None, feed), feed


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (list, dict)) or a is None:
        if type(a) is not type(b) or (a is not None and len(a) != len(b)):
            return False
        keys = a if isinstance(a, dict) else range(len(a or ()))
        return all(_same(a[key], b[key]) for key in keys)
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return np.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True) if a.dtype.kind in "fc" else np.array_equal(a, b)


def _read(model: onnx.ModelProto, name: str) -> None:
    order.apply(model.graph, name)
    files.check(model, name)
    clean.apply(model)
    inference.require(model, name)
    upgrade.apply(model)
    with contextlib.suppress(RuntimeFailed):  # the export keeps the graph as it is, and notes it
        slim.apply(model)
    clean.apply(model)
    files.check(model, name)


@pytest.mark.filterwarnings("ignore")
def test_every_operator_computes_the_same_after_reading_or_is_refused_by_name() -> None:
    onnxruntime.set_default_logger_severity(4)
    counts: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    refused: dict[str, str] = {}
    for name, model, inputs in _cases():
        try:
            before, feed = _answers(model, inputs)
        except Exception:  # ONNX Runtime lacks the operator or type: onnxruntime raises classes without a common base
            counts["not in ONNX Runtime"] += 1
            continue
        read = files.copy(model)
        try:
            _read(read, name)
        except InvalidInput as error:
            refused[name] = error.what
            continue
        try:
            after, _ = _answers(read, feed)
        except Exception as error:
            wrong[name] = str(error)
            continue
        counts["same"] += 1
        if not _same(before, after):
            wrong[name] = "other answers"
    assert not wrong
    assert refused.keys() == REFUSED.keys()
    assert all(part in refused[name] for name, part in REFUSED.items()), refused
    assert counts["same"] >= 1400, counts
