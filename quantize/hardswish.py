"""HardSwish in place of SiLU, fitted channel by channel: on x86 a SiLU can cost as much as the layer before it.

SiLU needs an exponential and a division for every value, HardSwish (Howard et al. 2019, "Searching for MobileNetV3") a
few additions and products. Both are computed within the layer before, but the former takes much of a small network's
time. By itself HardSwish is off by up to 0.14, which a network that was not trained with it need not stand. Here
``c * HardSwish(s * x + b) + d`` takes the place of ``SiLU(x)``, with `s`, `b`, `c`, `d` of each channel by least
squares on what the channel sees on real images: most see a small part of the curve, which is fitted more closely. `s`
and `b` go into the layer's weights and bias, `c` and `d` are a multiplication and an addition, fused as well. Which
SiLUs are replaced: those by which the answers change least for the values that they are computed for.

What is fitted layer by layer takes from what stands out, so that a detector's scores fall: they are levelled at last.
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
"""What a channel is fitted on: so many positions in each of so many images."""

SLOPES, SHIFTS = np.linspace(0.7, 1.5, 6), np.linspace(-1.2, 1.2, 7)
"""Where `s` and `b` are looked for; then around the best, at a half, a quarter and an eighth of these steps."""
FINER = 3


class Silu(NamedTuple):
    """``x * Sigmoid(x)`` behind a convolution that nothing else reads."""

    layer: onnx.NodeProto
    gate: onnx.NodeProto
    product: onnx.NodeProto

    @property
    def name(self) -> str:
        """The tensor that it makes, which a replacement makes too."""
        return str(self.product.output[0])


class Replaceable(msgspec.Struct, frozen=True, kw_only=True):
    """A SiLU by the `name` of its output: how many `values` it is computed for in an image, and the `loss` of the
    answers when it alone is replaced (the task's `loss.divergence`)."""

    name: str
    values: int
    loss: float


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """``hardswish.json``: the SiLUs of a model that can be replaced, those first that lose least for their values."""

    schema_version: int = 1
    images: int
    functions: tuple[Replaceable, ...]

    def chosen(self, share: float) -> list[str]:
        """The first, until `share` of the values of all of them is reached."""
        wanted, found, values = share * sum(f.values for f in self.functions), list[str](), 0
        for function in self.functions:
            if values >= wanted - 0.5:
                break
            found.append(function.name)
            values += function.values
        return found


def fit(model: str, images: list[str], out: str, count: int = 16, progress: Tick | None = None) -> None:
    """Fit a HardSwish to every SiLU of the float model at `model`, and find what each loses; runs in a child.

    Writes ``hardswish.json`` and ``hardswish.safetensors`` (for each SiLU a float32 array (4, channels): s, b, c,
    d) into the folder `out`; of a model without SiLU the former alone. `count`: images that the loss is of. Raises
    `InvalidInput` for a model without a spec.
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
        tick(len(silus) + done + 1, 2 * len(silus), "loss of each HardSwish")
    rows.sort(key=lambda row: row.loss / row.values)
    found = Fitted(images=len(exact[0]), functions=tuple(rows))
    core_files.write(Path(out, WEIGHTS), save(fits))
    core_files.write(Path(out, FILE), encode(found))


def put(model: str, images: list[str], fitted: str, share: float, folder: str, progress: Tick | None = None) -> None:
    """Write ``model.onnx`` and ``spec.json``: `model` with HardSwish for `share` of the values; runs in a child.

    `fitted`: the folder that `fit` wrote of the same model. Raises `InvalidInput` for a model without a spec.
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
    """The ``hardswish.json`` of a stage."""
    return msgspec.json.decode((folder / FILE).read_bytes(), type=Fitted)


def find(model: onnx.ModelProto) -> list[Silu]:
    """The SiLUs that can be replaced, in order: those behind a convolution with weights and a bias of its own."""
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
    """A copy of `model` with HardSwish for the SiLUs named in `fits`, (4, channels) each."""
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
    """The s, b, c, d of each channel, float32 (4, channels), with which HardSwish is nearest to SiLU.

    `x` (channels, values): what each channel sees. For s and b from a grid, then finer ones, c and d follow by least
    squares.
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
    """The fit of each SiLU by its name, and for how many values of an image it is computed."""
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
