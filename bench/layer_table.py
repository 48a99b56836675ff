"""A table of what each layer costs on a machine, and from it the latency of a model whose layers were narrowed.

Layers are timed on the runtime itself, in the real precision, by its profiler (`graph.probe`), at a few widths each;
between them times are interpolated. A model's latency is not the sum of its layers, so two measured networks, the model
itself and a narrower one, anchor the prediction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from edgewright.core.errors import InvalidInput, RuntimeFailed, Unavailable
from edgewright.graph.layers import Layer, narrowed
from edgewright.runtimes import registry
from edgewright.runtimes.contents import Contents
from edgewright.runtimes.options import Kernel, Options

from .profile import has_profiler

WIDTHS = (1.0, 0.75, 0.5, 0.25)
"""Shares of a layer's channels at which it is measured."""
FIXED = 4
"""So few channels are an image's or a mask's: nothing is taken from them."""
QUANTILE = 0.0
"""Of a kernel's times the least: other work on the machine only adds to them, and adds more to the longer ones."""
_BEGIN = re.compile(r"spread(\d+)(?=$|_)")
_AROUND = re.compile(r"(?:spread|in|mean|keep|kept|flat|next)\d+(?=$|_)")
_INT8 = re.compile(r"_[IiUu]8$| [ui]8$")
_MOVES = ("Reorder", "Transpose", "Quantize", "Dequantize", "ReduceMean", "Convert")
_MAIN = (
    "Conv", "FusedConv", "NhwcFusedConv", "GroupConv", "Deconv", "FullyConnected", "MatMul", "FusedMatMul", "Gemm",
    "FusedGemm", "QLinear", "QGemm",
)  # fmt: skip


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a layer took: microseconds of its own kernels, the main one's name, and whether that computes in INT8."""

    microseconds: float
    kernel: str
    is_int8: bool


def grid(layer: Layer, block: int) -> list[Layer]:
    """`layer` at every pair of the widths that it is measured at, itself first; widths are multiples of `block`."""
    if layer.is_depthwise:
        return [narrowed(layer, width, width) for width in widths(layer.cin, block, layer.groups)]
    return [
        narrowed(layer, cin, cout)
        for cin in widths(layer.cin, block, layer.groups)
        for cout in widths(layer.cout, block, layer.groups)
    ]


def widths(channels: int, block: int, groups: int = 1) -> list[int]:
    """The numbers of channels to measure at, from `channels` down."""
    if channels <= max(FIXED, block):
        return [channels]
    if 1 < groups < channels:
        return [channels]  # of a layer in groups nothing is taken
    rounded = {max(block, round(share * channels / block) * block) for share in WIDTHS[1:]}
    return [channels, *sorted((width for width in rounded if width < channels), reverse=True)]


def time_layers(model: Path, count: int, options: Options, folder: Path, rounds: int = 4, each: int = 10) -> list[Cost]:
    """The cost of each of the `count` layers of a probe (an ONNX file by `graph.probe`), measured here.

    Builds the artifact into `folder`. Raises `Unavailable` where the runtime has no profiler, `RuntimeFailed` where it
    does not tell the time of a layer.
    """
    if not has_profiler(options.runtime):
        raise Unavailable(
            f"{options.runtime} tells no times of its kernels here.",
            "A table of layers is measured with the profilers of ONNX Runtime and OpenVINO.",
            "Prune by the table of one of these, or by the number of multiplications.",
        )
    runtime = registry.module(options.runtime)
    folder.mkdir(parents=True, exist_ok=True)
    runtime.build(model, options, folder)
    x = np.ones((1, 1, 1, 1), np.float32)
    turns = [runtime.profile(Contents(folder), options, x, each, QUANTILE) for _ in range(rounds)]  # type: ignore[attr-defined]
    kernels = [Kernel(row[0].names, row[0].kind, min(kernel.microseconds for kernel in row)) for row in zip(*turns)]
    return costs(kernels, count)


def costs(kernels: Sequence[Kernel], count: int) -> list[Cost]:
    """The costs of a probe's layers from its `kernels`: those that do a layer's work, without what moves its data."""
    own: list[list[Kernel]] = [[] for _ in range(count)]
    main: list[Kernel | None] = [None] * count
    owner = None
    for kernel in kernels:
        # By the place, not the name: what runtimes make of several nodes may be called after none of them.
        owner = next((int(m[1]) for name in kernel.names if (m := _BEGIN.match(name))), owner)
        if owner is None or kernel.kind.startswith(_MOVES) or _AROUND.match(kernel.names[0]):
            continue
        own[owner].append(kernel)
        if main[owner] is None and kernel.kind.startswith(_MAIN):
            main[owner] = kernel
    if (missing := next((i for i, kernel in enumerate(main) if kernel is None), None)) is not None:
        raise RuntimeFailed(
            f"The profiler tells no kernel of layer {missing} of {count}.",
            "The runtime replaced it by something else, or named it otherwise than the versions that are known.",
            "Report it with the version of the runtime; another runtime of the target may do.",
        )
    return [
        Cost(
            microseconds=sum(kernel.microseconds for kernel in kernels), kernel=kernel.kind,
            is_int8=bool(_INT8.search(kernel.kind)),
        )
        for kernels, kernel in zip(own, main)
        if kernel is not None
    ]  # fmt: skip


class Network(NamedTuple):
    """A network that was measured: what the table says of its layers, and its latency from image to answer."""

    microseconds: float
    ms: float


class Table(NamedTuple):
    """What measured layers cost, and `block`: the channels that the runtime computes at once (`channel_block`)."""

    costs: Mapping[Layer, Cost]
    block: int

    def microseconds(self, layer: Layer, of: Layer | None = None) -> float:
        """What `layer` takes; where it was not measured itself, interpolated between the widths measured of layer `of`.

        Channels count as filled up to a whole `block`; between measured widths times are linear in inputs and in
        outputs, below the least they go on so. Raises `InvalidInput` where the table has neither.
        """
        if layer in self.costs:
            return self.costs[layer].microseconds
        if of is None or not all(point in self.costs for point in grid(of, self.block)):
            raise InvalidInput(
                f"The latency table has no layer {layer}.", "It holds what was measured.", "Measure it first."
            )
        cins, couts = (widths(channels, self.block, of.groups) for channels in (of.cin, of.cout))
        cin, cout = self._filled(layer.cin, of.cin), self._filled(layer.cout, of.cout)
        if of.is_depthwise:
            return _linear(cin, [(c, self.costs[narrowed(of, c, c)].microseconds) for c in cins])
        across = [(a, _linear(cout, [(b, self.costs[narrowed(of, a, b)].microseconds) for b in couts])) for a in cins]
        return _linear(cin, across)

    def _filled(self, channels: int, most: int) -> int:
        return min(-(-channels // self.block) * self.block, most)


def predict(microseconds: float, wide: Network, narrow: Network) -> float:
    """The latency in ms of a narrowed network whose layers take `microseconds` by the table.

    Measured were a network, at first the unchanged one, and one that is narrower; between them, and beyond, latency
    follows the table: it knows where time goes, they know how much of it does not (additions, pools, calls, caches that
    layers share). Where the narrower one was not faster nothing is: the network is bound by something else than widths.
    """
    layers, saved = wide.microseconds - narrow.microseconds, wide.ms - narrow.ms
    if layers <= 0 or saved <= 0:
        return wide.ms
    # At most in proportion: less than nothing is never left.
    each = min(saved / layers, wide.ms / wide.microseconds)
    return wide.ms - each * (wide.microseconds - microseconds)


def _linear(at: float, points: list[tuple[int, float]]) -> float:
    """The value at `at` of the line through the two `points` around it (or nearest to it), never below zero."""
    points = sorted(points)
    if len(points) == 1:
        return points[0][1]
    i = next((i for i in range(1, len(points)) if at <= points[i][0]), len(points) - 1)
    (x0, y0), (x1, y1) = points[i - 1], points[i]
    return max(y0 + (y1 - y0) * (at - x0) / (x1 - x0), 0.0)
