"""Mixed precision: a finished INT8 file in which some nodes return to float.

Nothing is calibrated or rounded again: the parts in INT8 keep their scales and weights. Biases that a method corrected
are corrected again.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from edgewright import tasks
from edgewright.core import files as core_files
from edgewright.core.errors import RuntimeFailed
from edgewright.graph import blocks, files, metadata
from edgewright.graph.index import constants_of, producers_of
from edgewright.graph.names import Names
from edgewright.quantize import methods, schemes
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.calibration.statistics import Tick
from edgewright.quantize.prepare import BIASED, prepare
from edgewright.quantize.ptq import bias_correction, centering, score_levelling
from edgewright.quantize.qdq import byte_input
from edgewright.quantize.steps import CorrectBiases

if TYPE_CHECKING:
    import onnx


def build(
    quantized: str, model: str, float_layers: list[str], images: list[str], out: str, progress: Tick | None = None
) -> None:  # fmt: skip
    """Write ``model.onnx`` and ``provenance.json`` in mixed precision into the folder `out`. Runs in a child process.

    `quantized`: the folder of an INT8 file by `quantize`. `model`: the float model that it was quantized from.
    `float_layers`: layers that return to float, with all of their block (`graph.blocks`). `images`: its calibration
    images, to correct biases and a detector's scores again if the method does so. Raises `RuntimeFailed` if the method
    changed the graph (see `compose`).
    """
    provenance = msgspec.json.decode(Path(quantized, "provenance.json").read_bytes())
    exact, whole = load(Path(quantized), Path(model))
    spec = metadata.get_spec(exact)
    assert spec is not None  # the quantizer read it there
    anew = repairs(Path(quantized))
    back = [block for block in blocks.find(exact) if not set(block.layers).isdisjoint(float_layers)]
    float_nodes = [name for block in back for name in block.nodes]
    mixed = compose(exact, whole, set(float_nodes), scheme_of(Path(quantized)), corrected=not anew)
    if anew:
        kept = tasks.of(spec).protect.nodes(exact)
        bias_correction.correct(mixed, exact, Calibration(images, spec), progress or (lambda *_: None), kept=kept)
    if tasks.of(spec).protect.score_layers(exact, spec):
        score_levelling.level(mixed, exact, Calibration(images, spec), progress or (lambda *_: None))
    files.check(mixed, "The model in mixed precision")
    files.save(mixed, Path(out, "model.onnx"))
    known = [*provenance["float_nodes"], *(name for name in float_nodes if name not in provenance["float_nodes"])]
    core_files.write(Path(out, "provenance.json"), msgspec.json.encode({**provenance, "float_nodes": known}))


def load(quantized: Path, model: Path) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The float model, prepared like the quantizer does, and the INT8 model of the folder `quantized`."""
    exact = files.load(model)
    spec = metadata.get_spec(exact)
    prepare(exact)
    whole = files.load(quantized / "model.onnx")
    if spec is not None:
        metadata.set_spec(exact, spec)
        byte_input.repeat(exact, spec, whole)
    return exact, whole


def scheme_of(quantized: Path) -> schemes.Scheme:
    """The scheme of the INT8 file in the folder `quantized`."""
    return schemes.get(msgspec.json.decode((quantized / "provenance.json").read_bytes())["scheme"])


def repairs(quantized: Path) -> bool:
    """Whether each bias of the INT8 file in the folder `quantized` also repairs the errors of earlier layers."""
    provenance = msgspec.json.decode((quantized / "provenance.json").read_bytes())
    return methods.get(provenance["method"]).has(CorrectBiases)


def compose(
    exact: onnx.ModelProto,
    quantized: onnx.ModelProto,
    float_nodes: Collection[str],
    scheme: schemes.Scheme,
    corrected: bool = True,
) -> onnx.ModelProto:
    """`quantized` with the nodes `float_nodes` as in the float model `exact`.

    `corrected` False: layers in INT8 get the biases of `exact` too, because a corrected bias also repairs the errors of
    earlier layers, which may be in float now.

    Node names must be those of `exact`, in which every node has one. A float node reads a tensor as computed. ONNX
    Runtime computes a layer in INT8 only if its output is quantized too, so after such a layer the node reads the
    pair's output. Raises `RuntimeFailed` if `quantized` has nodes that compute and are not in `exact`.
    """
    reads = _reads(exact, quantized)
    on_tensor = {read.tensor: read for read in reads.values() if read.tensor}
    makers = producers_of(exact.graph)
    mixed = type(quantized)()
    mixed.CopyFrom(quantized)
    for part in (mixed.graph.node, mixed.graph.initializer, mixed.graph.value_info):
        del part[:]
    constants = constants_of(exact.graph)
    changed = constants_of(quantized.graph)
    originals = {node.name: node for node in quantized.graph.node}
    placed = _Placed(set(), {}, Names(exact.graph))
    for node in exact.graph.node:
        new = type(node)()
        new.CopyFrom(node)
        is_float = node.name in float_nodes
        for i, name in enumerate(node.input):
            is_bias = i == 2 and node.op_type in BIASED
            read = None if is_bias and not corrected else reads.get((node.name, i))
            if is_float:
                bound = scheme.quantized_output and name in makers and makers[name].name not in float_nodes
                read = on_tensor.get(name) if bound else None
            if read:
                new.input[i] = _place(mixed.graph, read, changed, placed)
            elif name in constants:
                same = None if is_float or (is_bias and not corrected) else originals.get(node.name)  # None: a Relu
                theirs = changed.get(same.input[i]) if same else None  # e.g. a corrected bias
                new.input[i] = _constant(mixed.graph, theirs or constants[name], "/int8" if theirs else "", placed)
        mixed.graph.node.append(new)
    if scheme.centered and not corrected:
        centering.compensate(mixed, exact)
    return mixed


class _Placed(NamedTuple):
    """The names added to the model: constants of the float model, and the free name for each other wanted name."""

    kept: set[str]
    made: dict[str, str]
    taken: Names

    def name(self, wanted: str) -> tuple[str, bool]:
        """The name for `wanted`, and whether this is the first request."""
        is_new = wanted not in self.made
        if is_new:
            self.made[wanted] = self.taken.free(wanted)
        return self.made[wanted], is_new

    def own(self, name: str) -> tuple[str, bool]:
        """The same for a constant of the float model, which keeps its name."""
        is_new = name not in self.kept
        self.kept.add(name)
        return name, is_new


class _Read(NamedTuple):
    """How an INT8 node reads an input: a pair on `tensor` of the float model, or dequantized weights (None)."""

    tensor: str | None
    quantize: onnx.NodeProto | None
    dequantize: onnx.NodeProto


def _reads(exact: onnx.ModelProto, quantized: onnx.ModelProto) -> dict[tuple[str, int], _Read]:
    """The source of each (node, input) of `quantized` that reads a DequantizeLinear."""
    originals = {node.name: node for node in exact.graph.node}
    tensors = {name for node in exact.graph.node for name in (*node.input, *node.output)}
    makers = producers_of(quantized.graph)
    found = {}
    for node in quantized.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        if node.name not in originals:
            raise RuntimeFailed(
                f"No layer of this INT8 file can return to float: it contains {node.op_type} '{node.name}'.",
                "The INT8 method added this node; the float model does not have it.", "Choose another method.",
            )  # fmt: skip
        for i, name in enumerate(node.input):
            pair = makers.get(name)
            if pair is None or pair.op_type != "DequantizeLinear":
                continue
            quantizer = makers.get(pair.input[0])
            if quantizer is None or quantizer.op_type != "QuantizeLinear":
                found[node.name, i] = _Read(None, None, pair)
                continue
            tensor = quantizer.input[0]
            if tensor not in tensors:  # A pair on an output of the model takes the output's name.
                maker = makers[tensor]
                known = pair.output[0] in tensors
                tensor = pair.output[0] if known else originals[maker.name].output[list(maker.output).index(tensor)]
            found[node.name, i] = _Read(tensor, quantizer, pair)
    return found


def _place(graph: onnx.GraphProto, read: _Read, constants: dict[str, onnx.TensorProto], placed: _Placed) -> str:
    """Add the nodes of `read` to `graph` if they are missing; return the tensor to read."""
    last = read.tensor
    for node in (read.quantize, read.dequantize):
        if node is None:
            continue
        new = type(node)()
        new.CopyFrom(node)
        new.output[0], is_new = placed.name(f"{node.output[0]}/{'q' if node is read.quantize else 'dq'}")
        if is_new:
            new.input[:] = [
                _constant(graph, constants[n], "/int8", placed) if n in constants else n for n in node.input
            ]
            if last:
                new.input[0] = last
            graph.node.append(new)
        last = new.output[0]
    assert last
    return last


def _constant(graph: onnx.GraphProto, tensor: onnx.TensorProto, suffix: str, placed: _Placed) -> str:
    """Add a copy of `tensor` to `graph` if it is missing; return its name."""
    name, is_new = placed.name(f"{tensor.name}{suffix}") if suffix else placed.own(tensor.name)
    if is_new:
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = name
    return name
