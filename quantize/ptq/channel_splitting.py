"""Channel splitting: use the places of dead channels to compute noisy channels twice.

After ReLUs some channels are zero for every image, because training decayed their weights to zero. They cost as much
time as the others. In their places we compute the channels whose rounding changes the outputs most once more, and the
layers that sum over channels use the mean (after Zhao et al. 2019, "Improving Neural Network Quantization without
Retraining using Outlier Channel Splitting", who add channels for outliers). k copies, shifted by a k-th of a step each,
are rounded like one channel on a grid that is k times as fine. (The step is that of the widest range; if a narrower
range is chosen later, the gain is smaller.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgewright.graph import files, sparsity
from edgewright.graph.index import constants_of, readers_of, reads_of
from edgewright.quantize.calibration import statistics
from edgewright.quantize.calibration.statistics import Range, Statistics
from edgewright.quantize.qdq import tensorrt
from edgewright.quantize.state import FloatState
from edgewright.quantize.steps import SplitChannels

if TYPE_CHECKING:
    import onnx

    from edgewright.core.spec import ModelSpec

Constants = dict[str, np.ndarray]
"""The initializers of a model by name, floats as float64."""

ANY = (-np.inf, np.inf)
MOST_APART = 8.0
"""Distance of copies, in steps, after a depthwise layer whose inputs are not all shifted."""
_PASSES = frozenset({"AveragePool", "Concat", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool",
                     "ReduceMean", "Reshape", "Squeeze", "Transpose"})  # fmt: skip
"""Operators whose outputs stay within the bounds of their inputs, with zero included."""


class Splittable(NamedTuple):
    """A layer that computes channels, the ReLU after it, and the layers that sum over the channels.

    A depthwise convolution with a ReLU of its own may be in between: it passes each channel separately.
    """

    maker: onnx.NodeProto
    function: onnx.NodeProto
    depthwise: onnx.NodeProto | None
    passed: onnx.NodeProto | None
    readers: list[onnx.NodeProto]

    @property
    def tensors(self) -> tuple[str, str]:
        """The output of the ReLU after the maker, and the tensor that the readers read (the same without a depthwise
        layer)."""
        last = self.passed or self.depthwise or self.function
        return self.function.output[0], last.output[0]


def apply(_step: SplitChannels, state: FloatState) -> int:
    """Split channels of the float model, for TensorRT's grids. Its statistics stay valid for the new model.

    In float nothing changes except where a ReLU cuts off some of the copies: by at most one step of the grid (an eighth
    of the distance of the copies, see `spread`). So nothing is collected again. Returns the number of copies.
    """
    source, seen = state.model, state.seen
    known = statistics.find(seen, "minmax", False)
    slopes = dict(zip(seen.names, np.split(seen.slopes, np.cumsum(seen.slope_widths)[:-1])))
    values = constants(source)
    possible = bounds(source, state.spec, values)
    # Prove all dead channels in the original model before the first change.
    proven = [(site, dead(site, possible, values)) for site in sites(source, values)]
    count = 0
    for site, free in proven:
        if not all(len(slopes.get(name, ())) for name in site.tensors):
            continue  # an unknown shape, or missing gradients (see `seen.missing`)
        steps = grid_steps(site, known, values)
        noise = _noise(site, steps, slopes, values)
        places = choose(np.where(free, 0.0, noise), free)
        split(source, site, places, steps, values)
        count += sum(len(copies) - 1 for copies in places)
    if count:
        # Statistics per channel are not updated: schemes with grids around zero do not use them.
        none = np.zeros(len(seen.names), np.int64)
        empty = {"channels": np.zeros((2, 0)), "widths": none, "slopes": np.zeros(0), "slope_widths": none}
        state.statistics = Statistics(**{**seen._asdict(), **empty})
    return count


def sites(model: onnx.ModelProto, values: Constants) -> list[Splittable]:
    """All places in a float graph, in which every layer has its own bias, where channels can be split: between layers
    that TensorRT's scheme has in INT8."""
    graph = model.graph
    reads = reads_of(graph)
    behind = readers_of(graph)

    def groups(node: onnx.NodeProto | None) -> int:
        """The number of output channels of a convolution with constant weights and a bias that only it reads; 0 for
        other nodes."""
        if node is None or node.op_type != "Conv" or len(node.input) < 3:
            return 0
        own = all(name in values and reads[name] == 1 for name in node.input[1:])
        return int(files.attributes(node).get("group", 1)) if own else 0

    def in_int8(node: onnx.NodeProto) -> bool:
        return min(tensorrt.channels(node, values[node.input[1]].shape)) >= tensorrt.FEWEST_CHANNELS

    def is_depthwise(node: onnx.NodeProto) -> bool:
        return groups(node) > 1 and values[node.input[1]].shape[:2] == (groups(node), 1) and in_int8(node)

    def only(tensor: str) -> onnx.NodeProto | None:
        """The only reader of `tensor`, or None."""
        found = behind.get(tensor, [])
        return found[0] if len(found) == reads[tensor] == 1 else None

    def adds(node: onnx.NodeProto, tensor: str) -> bool:
        """Whether `node` sums over the channels of `tensor` with arbitrary weights."""
        return (
            groups(node) == 1 and node.input[0] == tensor and in_int8(node)
            and not sparsity.has_pattern(values[node.input[1]], 1)
        )  # fmt: skip

    found = []
    for maker in graph.node:
        function = only(maker.output[0]) if groups(maker) == 1 else None
        ends = _ends(function, values) if function is not None else None
        if function is None or ends is None or ends[0] != 0:
            continue
        site = Splittable(maker, function, None, None, [])
        follower = only(function.output[0])
        if follower is not None and is_depthwise(follower):
            passed = only(follower.output[0])
            known = passed is not None and _ends(passed, values) is not None
            site = site._replace(depthwise=follower, passed=passed if known else None)
        tensor = site.tensors[1]
        readers = behind.get(tensor, [])
        if readers and len(readers) == reads[tensor] and all(adds(node, tensor) for node in readers):
            found.append(site._replace(readers=readers))
    return found


def constants(model: onnx.ModelProto) -> Constants:
    """The values of the initializers of `model`."""
    from onnx import numpy_helper

    arrays = {name: numpy_helper.to_array(tensor) for name, tensor in constants_of(model.graph).items()}
    return {name: a.astype(np.float64) if a.dtype == np.float32 else a for name, a in arrays.items()}


def dead(site: Splittable, possible: Mapping[str, Range], values: Constants) -> np.ndarray:
    """Which channels (channels,) are zero after the ReLU of `site` for any image, by the `possible` bounds of its
    input, and can be removed from what follows."""
    weights, bias = (values[name] for name in site.maker.input[1:3])
    found = np.asarray(_most(weights, *possible.get(site.maker.input[0], ANY)) + bias <= 0)
    if any(files.pads(node) for node in site.readers):
        found &= _rest(site, values) == 0  # Padding is zero, so a constant cannot move into the biases.
    return found


def choose(noise: np.ndarray, free: np.ndarray) -> list[list[int]]:
    """The places of each split channel, its own first. The `free` places are assigned one by one to the largest gain.

    `noise` (channels,) falls with the square of the number of copies.
    """
    places = [[channel] for channel in range(len(noise))]
    for place in np.flatnonzero(free):
        copies = np.array([len(channel) for channel in places])
        gain = noise * (1 / copies**2 - 1 / (copies + 1) ** 2)
        most = int(gain.argmax())
        if gain[most] > 0:
            places[most].append(int(place))
    return [channel for channel in places if len(channel) > 1]


def spread(site: Splittable, steps: tuple[float, float], values: Constants) -> np.ndarray:
    """The possible distance of two copies of each channel after the depthwise layer, in steps of its grid, where its
    input is cut off or padding; (channels,)."""
    if site.depthwise is None or not steps[1]:
        return np.full(len(values[site.maker.input[2]]), 1.0 if site.depthwise is None else np.inf)
    weights = values[site.depthwise.input[1]]
    weights = weights.reshape(len(weights), -1)
    sums = np.stack([np.maximum(weights, 0).sum(axis=1), np.minimum(weights, 0).sum(axis=1)])
    return np.asarray(np.abs(1 - sums * (steps[0] / steps[1])).max(axis=0))


def split(
    model: onnx.ModelProto, site: Splittable, places: list[list[int]], steps: tuple[float, float], values: Constants
) -> None:
    """Compute the channels of `site` at `places`, in place: in `model`, and in `values`, its constants."""
    from onnx import numpy_helper

    if not places:
        return
    made = [node for node in (site.maker, site.depthwise) if node is not None]
    changed = {name: values[name].copy() for node in (*made, *site.readers) for name in node.input[1:3]}
    taken = [place for copies in places for place in copies[1:]]
    for node in site.readers:
        weights, bias = (changed[name] for name in node.input[1:3])
        bias += weights[:, taken].sum(axis=(2, 3)) @ _rest(site, values)[taken]
        for copies in places:
            weights[:, copies] = weights[:, copies[:1]] / len(copies)
    for copies in places:
        apart = (np.arange(len(copies)) - (len(copies) - 1) / 2) / len(copies)
        for name in (name for node in made for name in node.input[1:3]):
            changed[name][copies] = changed[name][copies[0]]
        changed[site.maker.input[2]][copies] += apart * steps[0]
        if site.depthwise is not None:
            weights, bias = (changed[name] for name in site.depthwise.input[1:3])
            bias[copies] += apart * (steps[1] - steps[0] * weights[copies[0]].sum())
    stored = constants_of(model.graph)
    for name, array in changed.items():
        stored[name].CopyFrom(numpy_helper.from_array(array.astype(np.float32), name))
    values.update(changed)


def grid_steps(site: Splittable, known: Mapping[str, Range], values: Constants) -> tuple[float, float]:
    """The steps of the grids of the site's tensors with the ranges `known`.

    A ReLU's output that is read without padding will be centered, so its step is half as long.
    """
    ends = _ends(site.passed, values) if site.passed is not None else None
    cut = site.depthwise is None or (ends is not None and ends[0] == 0)

    def step(tensor: str, readers: list[onnx.NodeProto], centered: bool) -> float:
        low, high = known[tensor]
        return high / 254 if centered and not any(files.pads(node) for node in readers) else max(-low, high) / 127

    first, last = site.tensors
    return step(first, [site.depthwise] if site.depthwise else site.readers, True), step(last, site.readers, cut)


def _noise(
    site: Splittable, steps: tuple[float, float], slopes: Mapping[str, np.ndarray], values: Constants
) -> np.ndarray:
    """How much rounding each channel of `site` changes the outputs; zero for channels whose copies would be too far
    apart."""
    first, last = site.tensors
    noise = slopes[first] * steps[0] ** 2
    if first != last:
        noise = noise + slopes[last] * steps[1] ** 2
    return np.where(spread(site, steps, values) <= MOST_APART, noise, 0.0)


def _rest(site: Splittable, values: Constants) -> np.ndarray:
    """The readers' values for channels that are zero after the maker: zero, or the constant that the depthwise layer's
    bias gives."""
    if site.depthwise is None:
        return np.zeros(len(values[site.maker.input[2]]))
    bias = values[site.depthwise.input[2]]
    ends = _ends(site.passed, values) if site.passed is not None else None
    return bias if ends is None else np.clip(bias, *ends)


def bounds(model: onnx.ModelProto, spec: ModelSpec | None, values: Constants) -> dict[str, Range]:
    """The lowest and highest possible value of tensors of a float graph, by interval arithmetic.

    Zero is included, because padding may replace any value. Tensors without known bounds are left out.
    """
    found: dict[str, Range] = {}
    if spec is not None and spec.takes_image and spec.preprocess.normalize == "host":
        p = spec.preprocess
        found[spec.input.name] = _hull([(x / p.divide - m) / s for x in (0, 255) for m, s in zip(p.mean, p.std)])

    def within(node: onnx.NodeProto) -> Range | None:
        read = [found.get(name, ANY) for name in node.input]
        ends = _ends(node, values)
        if ends is not None:
            return _hull(np.clip(read[0], *ends))
        if node.op_type in _PASSES:
            return _hull(read if node.op_type == "Concat" else read[0])
        if node.op_type == "Add" and not values.keys() & {*node.input}:
            return _hull(np.sum(read, axis=0))
        if node.op_type == "Conv" and all(name in values for name in node.input[1:]):
            weights = values[node.input[1]]
            bias = values[node.input[2]] if len(node.input) > 2 else 0.0
            return _hull([(bias - _most(-weights, *read[0])).min(), (bias + _most(weights, *read[0])).max()])
        return None

    for node in model.graph.node:
        known = within(node)
        if known is not None:
            found[node.output[0]] = known
    return found


def _most(weights: np.ndarray, low: float, high: float) -> np.ndarray:
    """The highest sum of products of each output's `weights` with values between `low` <= 0 and `high` >= 0."""
    with np.errstate(invalid="ignore"):
        products = np.where(weights == 0, 0.0, np.maximum(weights * low, weights * high))
    return np.asarray(products.reshape(len(weights), -1).sum(axis=1))


def _hull(ends: object) -> Range:
    found = np.asarray(ends, np.float64)
    return min(0.0, float(found.min())), max(0.0, float(found.max()))


def _ends(node: onnx.NodeProto, values: Constants) -> Range | None:
    """The cut-offs of a ReLU, or of a Clip with constant ends; None for other nodes."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type != "Clip" or any(name and name not in values for name in node.input[1:]):
        return None
    low, high = [values[name] if name else None for name in [*node.input[1:], "", ""][:2]]
    return -np.inf if low is None else float(low), np.inf if high is None else float(high)
