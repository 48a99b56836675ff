"""Run a model in ONNX Runtime with any tensor as an output, without fusion, in constant memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.graph.index import constants_of

if TYPE_CHECKING:
    import onnx

Feed = dict[str, np.ndarray]


def float_tensors(model: onnx.ModelProto) -> list[str]:
    """The names of all float32 tensors that nodes compute, in order, and the model's float input."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model)
    floats = {
        value.name
        for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    initial = constants_of(model.graph)
    names = [v.name for v in model.graph.input] + [o for node in model.graph.node for o in node.output]
    return [name for name in names if name in floats and name not in initial]


def until(model: onnx.ModelProto, outputs: Sequence[str], given: Collection[str] = ()) -> onnx.ModelProto:
    """A model that computes only the tensors `outputs`, without the nodes that they do not need.

    Tensors in `given` are available; the caller adds them to the inputs.
    """
    import onnx

    wanted, kept = set(outputs), []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output).difference(given):
            wanted.update(node.input)
            kept.append(node)
    cut = onnx.ModelProto()
    cut.ir_version = model.ir_version
    cut.opset_import.extend(model.opset_import)
    cut.functions.extend(model.functions)
    graph = model.graph
    cut.graph.name = graph.name
    cut.graph.node.extend(reversed(kept))
    cut.graph.initializer.extend(tensor for tensor in graph.initializer if tensor.name in wanted)
    cut.graph.input.extend(value for value in graph.input if value.name in wanted)
    cut.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return cut


def open_session(model: onnx.ModelProto, threads: int = 0, optimize: bool = False) -> Any:
    """A session that computes the graph as written.

    Q/DQ pairs are computed in float: exact INT8 arithmetic up to rounding, on every processor. `optimize`: fuse
    everything except Q/DQ pairs, which is faster. The order of sums changes then, so a value between two steps may
    round to the other.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = False  # The arena keeps the memory of the largest batch and grows in steps.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the cores to others
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def channel_means(
    model: onnx.ModelProto, outputs: Sequence[str], axes: Sequence[int], feeds: Iterable[Feed]
) -> list[np.ndarray]:
    """The mean of each tensor of `outputs` for each feed, per index of its channel axis; float64, (feeds, channels)."""
    session = open_session(until(model, outputs))
    rows = [[mean(a, axis) for a, axis in zip(session.run(list(outputs), feed), axes)] for feed in feeds]
    return [np.stack(column) for column in zip(*rows)]


def mean(array: np.ndarray, axis: int) -> np.ndarray:
    """The mean of `array` over all axes except `axis`; float64."""
    others = tuple(a for a in range(array.ndim) if a != axis % array.ndim)
    return np.asarray(array.mean(axis=others, dtype=np.float64))


class Stretches:
    """Runs a model in sections for several inputs at once. It keeps what later sections need and drops the rest.

    The part of the model after the current position may be changed.
    """

    def __init__(self, model: onnx.ModelProto, feeds: Iterable[Feed]) -> None:
        self._model = model
        self._live = [dict(feed) for feed in feeds]
        self._done: set[int] = set()

    def advance(self, output: str) -> list[np.ndarray]:
        """Compute the tensor `output`; return its array for each input. In-place changes affect what follows."""
        import onnx

        given = self._live[0]
        if output in given:
            return [live[output] for live in self._live]
        cut = until(self._model, [output], given)
        ran = {node.output[0] for node in cut.graph.node}
        nodes = self._model.graph.node
        self._done.update(i for i, node in enumerate(nodes) if node.output[0] in ran)
        needed = {name for i, node in enumerate(nodes) if i not in self._done for name in node.input}
        made = [name for node in cut.graph.node for name in node.output if name and (name in needed or name == output)]
        del cut.graph.output[:]
        cut.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
        used = {name for node in cut.graph.node for name in node.input}
        del cut.graph.input[:]
        for name in sorted(used.intersection(given)):
            kind = onnx.helper.np_dtype_to_tensor_dtype(given[name].dtype)
            cut.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, given[name].shape))
        session = open_session(cut)
        for live in self._live:
            live.update(zip(made, session.run(made, {v.name: live[v.name] for v in cut.graph.input})))
            for name in [name for name in live if name not in needed and name != output]:
                del live[name]
        return [live[output] for live in self._live]
