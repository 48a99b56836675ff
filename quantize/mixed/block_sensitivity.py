"""The sensitivity of each block: the loss when it alone is quantized, and when everything except it is quantized.

The graph is walked once, block by block. At each block the tensors that cross the graph there are kept, for the float
and the INT8 network, so that earlier layers are not computed again. On average a figure costs half a network.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edgewright import tasks
from edgewright.core import files as core_files
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec, encode
from edgewright.graph import blocks, metadata
from edgewright.graph.blocks import Block
from edgewright.graph.index import constants_of
from edgewright.quantize import schemes
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.calibration.sessions import Feed, open_session, until
from edgewright.quantize.calibration.statistics import Tick

from . import compose

if TYPE_CHECKING:
    import onnx

FILE = "sensitivity.json"
IMAGES = 8
"""Number of calibration images for sensitivity."""


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """The difference of outputs from the float model's. `loss`: the task's `divergence`. SQNR of the outputs in dB. For
    classifiers, the share of images with the same top class in percent."""

    loss: float
    sqnr_db: float
    agreement: float | None = None


class Sensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """A block: the loss when only it is quantized (`alone`), and when everything except it is (`others`)."""

    block: Block
    operators: tuple[str, ...]
    alone: Loss
    others: Loss


class Sensitivities(msgspec.Struct, frozen=True, kw_only=True):
    """``sensitivity.json``: blocks and single layers in graph order, and the complete network in INT8.

    `tensors`: the node that writes each tensor.
    """

    schema_version: int = 1
    images: int
    seconds: float
    whole: Loss
    blocks: tuple[Sensitivity, ...]
    layers: tuple[Sensitivity, ...]
    tensors: dict[str, str]


def measure(
    model: str, quantized: str, images: list[str], folder: str, layers: bool = True, progress: Tick | None = None
) -> None:  # fmt: skip
    """Write ``sensitivity.json`` into `folder`. Runs in a child process.

    `quantized`: the folder of an INT8 file by `quantize`. At most `IMAGES` of `images` are used. `layers`: measure each
    layer too, not only blocks. Raises `InvalidInput` for a model without a spec.
    """
    begin = time.monotonic()
    how = compose.scheme_of(Path(quantized))
    exact, whole = compose.load(Path(quantized), Path(model))
    spec = metadata.get_spec(exact)
    if spec is None:
        raise InvalidInput(
            f"{model} has no ModelSpec.",
            "",
            "Export the model first: edgewright export MODEL.onnx --spec FILE -o NEW.onnx",
        )
    calibration = Calibration(images, spec)
    tick = progress or (lambda _done, _total, _what: None)
    large, small = blocks.find(exact), blocks.find(exact, most=1)
    walk = _Walk(exact, whole, how, calibration, alone_corrected=not compose.repairs(Path(quantized)))
    rows = {row.block: row for row in walk.run(large, tick, "sensitivity of blocks")}
    if layers:
        rest = [part for part in small if part not in rows]  # A block of one layer is already known.
        rows |= {row.block: row for row in walk.run(rest, tick, "sensitivity of layers")}
    found = Sensitivities(
        images=min(IMAGES, len(images)), seconds=round(time.monotonic() - begin, 3), whole=walk.whole,
        blocks=tuple(rows[part] for part in large), layers=tuple(rows[part] for part in small if layers),
        tensors={name: node.name for node in exact.graph.node for name in node.output if name},
    )  # fmt: skip
    core_files.write(Path(folder, FILE), encode(found))


def read(folder: Path) -> Sensitivities:
    """Read ``sensitivity.json`` of a stage."""
    return msgspec.json.decode((folder / FILE).read_bytes(), type=Sensitivities)


def ranked(found: Sensitivities) -> list[Sensitivity]:
    """The blocks, most sensitive first: by the larger of the loss alone and the gain when only the block is float.

    Ties (a detector may lose no box by any block) are ordered by noise.
    """

    def sensitivity(row: Sensitivity) -> tuple[float, float]:
        return -max(row.alone.loss, found.whole.loss - row.others.loss), row.alone.sqnr_db

    return sorted(found.blocks, key=sensitivity)


def compare(exact: Sequence[np.ndarray], found: Sequence[np.ndarray], spec: ModelSpec) -> Loss:
    """The loss of the outputs `found`: one array (images, values) per output."""
    noise = sum(float(((b - a).astype(np.float64) ** 2).sum()) for a, b in zip(exact, found))
    power = sum(float((a.astype(np.float64) ** 2).sum()) for a in exact)
    loss = tasks.of(spec).loss
    sqnr = 10 * np.log10((power + 1e-30) / (noise + 1e-30))
    return Loss(
        loss=loss.divergence(exact, found, spec), sqnr_db=round(float(min(sqnr, 150.0)), 3),
        agreement=loss.agreement(exact, found),
    )  # fmt: skip


class _Walk:
    """The float and the INT8 network on some images, and the loss of the complete network in INT8."""

    def __init__(
        self, exact: onnx.ModelProto, quantized: onnx.ModelProto, scheme: schemes.Scheme, calibration: Calibration,
        alone_corrected: bool,
    ) -> None:  # fmt: skip
        self.alone_corrected = alone_corrected
        self.exact, self.quantized, self.scheme, self.spec = exact, quantized, scheme, calibration.spec
        self.feeds = list(calibration.batches(IMAGES))
        self.outputs = [value.name for value in exact.graph.output]
        self.every = {node.name for node in exact.graph.node}
        self.full = self._mix(())
        self.plain = _answers(_run(exact, self.outputs, self.feeds), self.outputs)
        self.whole = self._loss(_run(self.full, self.outputs, self.feeds))

    def run(self, parts: Sequence[Block], tick: Tick, what: str) -> Iterator[Sensitivity]:
        """The sensitivity of each of `parts`, which are in graph order."""
        places = {node.name: i for i, node in enumerate(self.exact.graph.node)}
        operators = {node.name: node.op_type for node in self.exact.graph.node}
        exact = int8 = self.feeds
        for step, part in enumerate(parts):
            crossing = self._crossing(min(places[name] for name in part.nodes))
            exact, int8 = _run(self.exact, crossing, exact), _run(self.full, crossing, int8)
            only = self._mix(self.every.difference(part.nodes), self.alone_corrected)
            alone = _run(only, self.outputs, exact)
            others = _run(self._mix(part.nodes), self.outputs, int8)
            yield Sensitivity(
                block=part, operators=tuple(dict.fromkeys(operators[name] for name in part.layers)),
                alone=self._loss(alone), others=self._loss(others),
            )  # fmt: skip
            tick(step + 1, len(parts), what)

    def _loss(self, rows: list[Feed]) -> Loss:
        return compare(self.plain, _answers(rows, self.outputs), self.spec)

    def _mix(self, float_nodes: Collection[str], corrected: bool = True) -> onnx.ModelProto:
        return compose.compose(self.exact, self.quantized, float_nodes, self.scheme, corrected)

    def _crossing(self, place: int) -> list[str]:
        """The earlier tensors that the nodes from `place` on, or the model's outputs, need."""
        nodes = self.exact.graph.node
        made = {v.name for v in self.exact.graph.input} - constants_of(self.exact.graph).keys()
        made.update(name for node in nodes[:place] for name in node.output if name)
        needed = {name for node in nodes[place:] for name in node.input} | set(self.outputs)
        return sorted(made & needed)


def _run(model: onnx.ModelProto, outputs: list[str], states: list[Feed]) -> list[Feed]:
    """The tensors `outputs` of `model` for each of `states`, which hold the tensors computed before."""
    import onnx

    wanted = [name for name in outputs if name not in states[0]]
    rows: list[list[np.ndarray]] = [[] for _ in states]
    if wanted:
        cut = until(model, wanted, states[0])
        used = {name for node in cut.graph.node for name in node.input}
        del cut.graph.input[:]
        for name in sorted(used.intersection(states[0])):
            array = states[0][name]
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            cut.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, array.shape))
        session = open_session(cut, optimize=True)
        rows = [session.run(wanted, {v.name: state[v.name] for v in cut.graph.input}) for state in states]
    return [
        {name: state[name] for name in outputs if name in state} | dict(zip(wanted, row))
        for state, row in zip(states, rows)
    ]


def _answers(rows: list[Feed], outputs: list[str]) -> list[np.ndarray]:
    """Every output over all images. Some exporters drop the batch axis when the batch is 1."""
    found = []
    for name in outputs:
        arrays = [row[name] for row in rows]
        found.append(np.concatenate(arrays) if arrays[0].ndim > 1 else np.stack(arrays))
    return found
