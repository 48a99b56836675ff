"""Prepare a float model for quantization."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.graph import files, metadata, names, precision
from edgewright.graph.index import constants_of, reads_of

from .qdq import plain_forms

if TYPE_CHECKING:
    import onnx

OPSET = 17
"""The lowest opset that supports per-channel Q/DQ pairs and everything that the quantizers write."""

BIASED = frozenset({"Conv", "ConvTranspose", "Gemm"})
"""Layers that can have a bias."""


def read(model: str) -> tuple[onnx.ModelProto, ModelSpec]:
    """Read the float model `model` and its spec.

    Raises `InvalidInput` if the model is already quantized or has no spec.
    """
    source = files.load(Path(model))
    precision.require_float(source, Path(model).name)
    spec = metadata.get_spec(source)
    if spec is None:
        raise InvalidInput(
            f"{model} has no ModelSpec.",
            "Without it the calibration images cannot be preprocessed as in training.",
            "Export the model first: edgewright export MODEL.onnx --spec FILE -o NEW.onnx",
        )
    return source, spec


def prepare(model: onnx.ModelProto) -> None:
    """Prepare `model` for quantization, in place.

    Raises the opset to what per-channel Q/DQ pairs need, names every node, brings layers into a plain form
    (`qdq.plain_forms`), and gives every layer its own bias.
    """
    from edgewright.graph import upgrade

    upgrade.apply(model, OPSET)
    names.name_nodes(model)
    plain_forms.apply(model)
    plain_forms.add_types(model)
    add_biases(model)


def add_biases(model: onnx.ModelProto) -> bool:
    """Give every Conv, ConvTranspose and Gemm its own bias, zeros if it had none. In place."""
    from onnx import numpy_helper

    initial = constants_of(model.graph)
    uses = reads_of(model.graph)
    free = names.Names(model.graph)
    modified = False
    for node in model.graph.node:
        if node.op_type not in BIASED or node.input[1] not in initial:
            continue
        bias = node.input[2] if len(node.input) > 2 else ""
        if bias and (bias not in initial or uses[bias] == 1):
            continue
        value = numpy_helper.to_array(initial[bias]) if bias else np.zeros(_channels(node, initial), np.float32)
        del node.input[2:]
        node.input.append(free.free(f"{node.name}_bias"))
        model.graph.initializer.append(numpy_helper.from_array(value, node.input[2]))
        modified = True
    return modified


def _channels(node: onnx.NodeProto, initial: dict[str, onnx.TensorProto]) -> int:
    options = {a.name: a.i for a in node.attribute}
    dims = initial[node.input[1]].dims
    if node.op_type == "ConvTranspose":
        return int(dims[1]) * (options.get("group") or 1)
    if node.op_type == "Gemm":
        return int(dims[0] if options.get("transB") else dims[1])
    return int(dims[0])
