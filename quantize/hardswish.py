"""Replace SiLU by a HardSwish that is fitted channel by channel. On x86 a SiLU can cost as much as the layer before it.

SiLU needs an exponential and a division per value. HardSwish (Howard et al. 2019, "Searching for MobileNetV3") needs a
few additions and products. Runtimes fuse both into the layer before, but SiLU still takes much of a small network's
time.

A plain HardSwish differs from SiLU by up to 0.14, which a network that was not trained with it may not tolerate. We
replace ``SiLU(x)`` by ``c * HardSwish(s * x + b) + d`` and fit `s`, `b`, `c`, `d` of each channel by least squares to
the values that the channel has on real images. Most channels see a small part of the curve, so the fit is closer. `s`
and `b` are folded into the layer's weights and bias. `c` and `d` become a multiplication and an addition, which are
fused too. The SiLUs that change the outputs least per computed value are replaced first.

The approximation lowers the largest values, so a detector's scores fall. The last step levels the scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from edgewright import tasks
from edgewright.core import files as core_files
from edgewright.core.spec import encode
from edgewright.graph import files
from edgewright.graph.index import constants_of, producers_of
from edgewright.graph.names import Names

from .calibration import sensitivity
from .calibration.images import Calibration
from .calibration.sessions import open_session, until
from .calibration.statistics import Tick
from .prepare import prepare, read
from .ptq import score_levelling

if TYPE_CHECKING:
    import onnx

FILE, WEIGHTS = "hardswish.json", "hardswish.safetensors"
IMAGES, POSITIONS = 32, 80
"""The fit uses this many positions in each of this many images."""

SLOPES, SHIFTS = np.linspace(0.7, 1.5, 6), np.linspace(-1.2, 1.2, 7)
"""The grid on which `s` and `b` are searched; then finer grids around the best, at 1/2, 1/4 and 1/8 of these steps."""
FINER = 3


class Silu(NamedTuple):
    """``x * Sigmoid(x)`` after a convolution whose output has no other reader."""

    layer: onnx.NodeProto
    gate: onnx.NodeProto
    product: onnx.NodeProto

    @property
    def name(self) -> str:
        """The output tensor, which the replacement also writes."""
        return str(self.product.output[0])


class Replaceable(msgspec.Struct, frozen=True, kw_only=True):
    """A SiLU, named by its output tensor. `values`: how many values it computes per image. `loss`: the loss of the
    outputs when only this SiLU is replaced (the task's `loss.divergence`)."""

    name: str
    values: int
    loss: float


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """``hardswish.json``: the SiLUs that can be replaced, ordered by loss per value, lowest first."""

    schema_version: int = 1
    images: int
    functions: tuple[Replaceable, ...]

    def chosen(self, share: float) -> list[str]:
        """The first SiLUs that together compute at least `share` of all SiLU values."""
        wanted, found, values = share * sum(f.values for f in self.functions), list[str](), 0
        for function in self.functions:
            if values >= wanted - 0.5:
                break
            found.append(function.name)
            values += function.values
        return found


def fit(model: str, images: list[str], out: str, count: int = 16, progress: Tick | None = None) -> None:
    """Fit a HardSwish to every SiLU of the float model `model` and measure the loss of each. Runs in a child process.

    Writes ``hardswish.json`` and ``hardswish.safetensors`` into the folder `out`. The latter has a float32 array (4,
    channels) for each SiLU: s, b, c, d. A model without SiLUs gives only the former. `count`: the number of images for
    the loss. Raises `InvalidInput` for a model without a spec.
    """
    from safetensors.numpy import save

    if not _products(files.load(Path(model))):
        core_files.write(Path(out, FILE), encode(Fitted(images=0, functions=())))
        return
    source, spec = read(model)
    calibration = Calibration(images, spec)
    prepare(source)
    tick = progress or (lambda _done, _total, _what: None)
    silus = find(source)
    fits, values = _fits(source, silus, calibration, tick)
    feeds = list(calibration.batches(count))
    exact = sensitivity.answers(source, feeds, optimize=True)
    divergence = tasks.of(calibration.spec).loss.divergence
    rows = []
    for done, silu in enumerate(silus):
        changed = replaced(source, {silu.name: fits[silu.name]})
        loss = divergence(exact, sensitivity.answers(changed, feeds, optimize=True), calibration.spec)
        rows.append(Replaceable(name=silu.name, values=values[silu.name], loss=loss))
        tick(len(silus) + done + 1, 2 * len(silus), "measure each HardSwish")
    rows.sort(key=lambda row: row.loss / row.values)
    found = Fitted(images=len(exact[0]), functions=tuple(rows))
    core_files.write(Path(out, WEIGHTS), save(fits))
    core_files.write(Path(out, FILE), encode(found))


def put(model: str, images: list[str], fitted: str, share: float, folder: str, progress: Tick | None = None) -> None:
    """Write ``model.onnx`` and ``spec.json``: `model` with HardSwish for `share` of the SiLU values. Runs in a child
    process.

    `fitted`: the folder that `fit` wrote for the same model. Raises `InvalidInput` for a model without a spec.
    """
    from safetensors.numpy import load_file

    source, spec = read(model)
    calibration = Calibration(images, spec)
    prepare(source)
    fits = load_file(Path(fitted, WEIGHTS))
    changed = replaced(source, {name: fits[name] for name in read_fitted(Path(fitted)).chosen(share)})
    score_levelling.level(changed, source, calibration, progress or (lambda _done, _total, _what: None))
    files.save(changed, Path(folder, "model.onnx"))
    core_files.write(Path(folder, "spec.json"), encode(calibration.spec))


def read_fitted(folder: Path) -> Fitted:
    """Read ``hardswish.json`` of a stage."""
    return msgspec.json.decode((folder / FILE).read_bytes(), type=Fitted)


def find(model: onnx.ModelProto) -> list[Silu]:
    """The replaceable SiLUs in graph order: those after a convolution that has weights and a bias of its own."""
    makers = producers_of(model.graph)
    uses = Counter(name for node in model.graph.node for name in node.input)
    uses.update(value.name for value in model.graph.output)
    constants = constants_of(model.graph)
    found = []
    for product, gate in _products(model):
        layer = makers.get(gate.input[0])
        if layer is None or layer.op_type != "Conv" or len(layer.input) < 3:
            continue
        own = all(name in constants and uses[name] == 1 for name in layer.input[1:3])
        if own and uses[gate.input[0]] == 2 and uses[gate.output[0]] == 1:
            found.append(Silu(layer, gate, product))
    return found


def replaced(model: onnx.ModelProto, fits: dict[str, np.ndarray]) -> onnx.ModelProto:
    """A copy of `model` with HardSwish for the SiLUs in `fits`, an array (4, channels) each."""
    from onnx import helper, numpy_helper

    changed = files.copy(model)
    graph = changed.graph
    initial = constants_of(graph)
    names = Names(graph)
    instead: dict[str, list[onnx.NodeProto]] = {}
    gone = set()
    for silu in find(changed):
        if silu.name not in fits:
            continue
        slope, shift, factor, offset = fits[silu.name]
        weights, bias = (initial[name] for name in silu.layer.input[1:3])
        old = numpy_helper.to_array(weights)
        outputs = [-1] + [1] * (old.ndim - 1)
        weights.CopyFrom(numpy_helper.from_array(old * slope.reshape(outputs), weights.name))
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * slope + shift, bias.name))
        name, x = silu.name, silu.gate.input[0]
        made = {what: names.free(f"{name}_{what}") for what in ("factor", "offset", "hardswish", "scaled")}
        for array, what in ((factor, "factor"), (offset, "offset")):
            graph.initializer.append(numpy_helper.from_array(array.reshape([1, *outputs[:-1]]), made[what]))
        inner, scaled = made["hardswish"], made["scaled"]
        instead[name] = [
            helper.make_node("HardSwish", [x], [inner], name=inner),
            helper.make_node("Mul", [inner, made["factor"]], [scaled], name=scaled),
            helper.make_node("Add", [scaled, made["offset"]], [name], name=silu.product.name),
        ]
        gone.add(silu.gate.output[0])
    nodes = [
        new
        for node in graph.node
        if node.output[0] not in gone
        for new in instead.get(node.output[0], [node])
    ]  # fmt: skip
    del graph.node[:]
    graph.node.extend(nodes)
    return changed


def nearest(x: np.ndarray) -> np.ndarray:
    """The s, b, c, d of each channel for which HardSwish is closest to SiLU: float32 (4, channels).

    `x` (channels, values): the inputs of each channel. s and b are searched on a grid, then on finer grids; c and d
    follow by least squares.
    """
    from scipy.special import expit

    wanted = x * expit(x)
    mean = wanted.mean(axis=1)
    centered = wanted - mean[:, None]
    found = np.zeros((4, len(x)), np.float32)
    least = np.full(len(x), np.inf)

    def try_out(slope: np.ndarray, shift: np.ndarray) -> None:
        y = slope[:, None] * x + shift[:, None]
        h = y * np.clip(y / 6 + 0.5, 0, 1)
        middle = h.mean(axis=1)
        h -= middle[:, None]
        factor = (h * centered).mean(axis=1) / (np.square(h).mean(axis=1) + 1e-9)
        error = np.square(centered - factor[:, None] * h).mean(axis=1)
        better = error < least
        least[better] = error[better]
        for row, value in zip(found, (slope, shift, factor, mean - factor * middle)):
            row[better] = value[better]

    every = np.ones(len(x), np.float32)
    for slope in SLOPES:
        for shift in SHIFTS:
            try_out(slope * every, shift * every)
    steps = np.array([SLOPES[1] - SLOPES[0], SHIFTS[1] - SHIFTS[0]], np.float32)
    for _ in range(FINER):
        steps /= 2
        slopes, shifts = found[0].copy(), found[1].copy()
        for i in (-1, 0, 1):
            for j in (-1, 0, 1):
                try_out(slopes + i * steps[0], shifts + j * steps[1])
    return found


def _products(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Every ``x * Sigmoid(x)``: the Mul and the Sigmoid."""
    makers = producers_of(model.graph)
    found = []
    for node in model.graph.node:
        if node.op_type != "Mul":
            continue
        for x, gated in (node.input, [*node.input][::-1]):
            gate = makers.get(gated)
            if gate is not None and gate.op_type == "Sigmoid" and gate.input[0] == x:
                found.append((node, gate))
                break
    return found


def _fits(
    model: onnx.ModelProto, silus: Sequence[Silu], calibration: Calibration, tick: Tick
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """The fit of each SiLU by name, and how many values per image it computes."""
    if not silus:
        return {}, {}
    names = [silu.gate.input[0] for silu in silus]
    session = open_session(until(model, names))
    generator = np.random.default_rng(0)
    seen: list[list[np.ndarray]] = [[] for _ in silus]
    values: dict[str, int] = {}
    for feed in calibration.batches(IMAGES):
        for silu, rows, array in zip(silus, seen, session.run(names, feed)):
            values[silu.name] = array[0].size
            flat = np.moveaxis(array, 1, 0).reshape(array.shape[1], -1)
            most = min(POSITIONS * len(array), flat.shape[1])
            rows.append(flat[:, generator.choice(flat.shape[1], most, replace=False)])
    fits = {}
    for done, (silu, rows) in enumerate(zip(silus, seen)):
        fits[silu.name] = nearest(np.concatenate(rows, axis=1))
        tick(done + 1, 2 * len(silus), "fit of HardSwish")
    return fits, values
