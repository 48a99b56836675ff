"""A table of the time of each layer on a machine, and the predicted latency of a model with narrower layers.

The runtime's profiler measures the layers in the real precision (`graph.probe`), at a few widths each. Times for other
widths are interpolated. A model's latency is not the sum of its layers. Therefore the latencies of two networks
calibrate the prediction: the model itself and a narrower one.
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
"""A layer with this few channels keeps all of them: they are the channels of an image or a mask."""
QUANTILE = 0.0
"""The smallest of a kernel's times is used. Other work on the machine only adds time, and adds more to long kernels."""
_BEGIN = re.compile(r"spread(\d+)(?=$|_)")
_AROUND = re.compile(r"(?:spread|in|mean|keep|kept|flat|next)\d+(?=$|_)")
_INT8 = re.compile(r"_[IiUu]8$| [ui]8$")
_MOVES = ("Reorder", "Transpose", "Quantize", "Dequantize", "ReduceMean", "Convert")
_MAIN = (
    "Conv", "FusedConv", "NhwcFusedConv", "GroupConv", "Deconv", "FullyConnected", "MatMul", "FusedMatMul", "Gemm",
    "FusedGemm", "QLinear", "QGemm",
)  # fmt: skip


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """The time of a layer: microseconds of its kernels, the main kernel's name, and whether it computes in INT8."""

    microseconds: float
    kernel: str
    is_int8: bool


def grid(layer: Layer, block: int) -> list[Layer]:
    """Return `layer` at every pair of its measured widths, the layer itself first. Widths are multiples of `block`."""
    if layer.is_depthwise:
        return [narrowed(layer, width, width) for width in widths(layer.cin, block, layer.groups)]
    return [
        narrowed(layer, cin, cout)
        for cin in widths(layer.cin, block, layer.groups)
        for cout in widths(layer.cout, block, layer.groups)
    ]


def widths(channels: int, block: int, groups: int = 1) -> list[int]:
    """Return the numbers of channels to measure at, from `channels` down."""
    if channels <= max(FIXED, block):
        return [channels]
    if 1 < groups < channels:
        return [channels]  # grouped layers keep their channels
    rounded = {max(block, round(share * channels / block) * block) for share in WIDTHS[1:]}
    return [channels, *sorted((width for width in rounded if width < channels), reverse=True)]


def time_layers(model: Path, count: int, options: Options, folder: Path, rounds: int = 4, each: int = 10) -> list[Cost]:
    """Measure the cost of each of the `count` layers of a probe (an ONNX file of `graph.probe`) on this machine.

    Builds the artifact into `folder`. Raises `Unavailable` if the runtime has no profiler, and `RuntimeFailed` if the
    profile lacks a layer.
    """
    if not has_profiler(options.runtime):
        raise Unavailable(
            f"{options.runtime} reports no kernel times on this machine.",
            "A latency table needs the profiler of ONNX Runtime or OpenVINO.",
            "Prune with the table of one of these runtimes, or by the number of multiplications.",
        )
    runtime = registry.module(options.runtime)
    folder.mkdir(parents=True, exist_ok=True)
    runtime.build(model, options, folder)
    x = [np.ones((1, 1, 1, 1), np.float32)]
    turns = [runtime.profile(Contents(folder), options, x, each, QUANTILE) for _ in range(rounds)]  # type: ignore[attr-defined]
    kernels = [Kernel(row[0].names, row[0].kind, min(kernel.microseconds for kernel in row)) for row in zip(*turns)]
    return costs(kernels, count)


def costs(kernels: Sequence[Kernel], count: int) -> list[Cost]:
    """Return the costs of a probe's layers from its `kernels`, without kernels that only move data."""
    own: list[list[Kernel]] = [[] for _ in range(count)]
    main: list[Kernel | None] = [None] * count
    owner = None
    for kernel in kernels:
        # By position, not by name, because a fused kernel may have the name of none of its nodes.
        owner = next((int(m[1]) for name in kernel.names if (m := _BEGIN.match(name))), owner)
        if owner is None or kernel.kind.startswith(_MOVES) or _AROUND.match(kernel.names[0]):
            continue
        own[owner].append(kernel)
        if main[owner] is None and kernel.kind.startswith(_MAIN):
            main[owner] = kernel
    if (missing := next((i for i, kernel in enumerate(main) if kernel is None), None)) is not None:
        raise RuntimeFailed(
            f"The profiler reports no kernel of layer {missing} of {count}.",
            "This version of the runtime may replace the layer or use another name for it.",
            "Use another runtime of the target. Please report the problem with the version of the runtime.",
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
    """A measured network: the sum of its layers in the table, and its latency from image to answer."""

    microseconds: float
    ms: float


class Table(NamedTuple):
    """The costs of measured layers. `block`: the number of channels that the runtime computes at once
    (`channel_block`)."""

    costs: Mapping[Layer, Cost]
    block: int

    def microseconds(self, layer: Layer, of: Layer | None = None) -> float:
        """Return the time of `layer`. If it was not measured, interpolate between the widths of the measured layer
        `of`.

        Channels are rounded up to a multiple of `block`. Times are linear in input and output channels between measured
        widths, and are extrapolated below the smallest. Raises `InvalidInput` if the table has neither layer.
        """
        if layer in self.costs:
            return self.costs[layer].microseconds
        if of is None or not all(point in self.costs for point in grid(of, self.block)):
            raise InvalidInput(
                f"The latency table has no layer {layer}.", "It contains only measured layers.", "Measure it first."
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
    """Return the latency in ms of a narrowed network whose layers take `microseconds` by the table.

    Two networks were measured: `wide`, at first the unchanged one, and `narrow`. The latency is linear in the table's
    time through these two points. The table has the time of the layers. The two measurements have the time of
    everything else, such as additions, pools, calls and shared caches. If `narrow` is not faster, the result is the
    latency of `wide`, because the widths do not limit this network.
    """
    layers, saved = wide.microseconds - narrow.microseconds, wide.ms - narrow.ms
    if layers <= 0 or saved <= 0:
        return wide.ms
    # At most in proportion, so that the rest of the time is never negative.
    each = min(saved / layers, wide.ms / wide.microseconds)
    return wide.ms - each * (wide.microseconds - microseconds)


def _linear(at: float, points: list[tuple[int, float]]) -> float:
    """Return the value at `at` on the line through the two nearest `points`, never below zero."""
    points = sorted(points)
    if len(points) == 1:
        return points[0][1]
    i = next((i for i in range(1, len(points)) if at <= points[i][0]), len(points) - 1)
    (x0, y0), (x1, y1) = points[i - 1], points[i]
    return max(y0 + (y1 - y0) * (at - x0) / (x1 - x0), 0.0)
