"""What layers cost: measured through each runtime's profiler, interpolated between widths, added up to a latency."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewright.bench import layer_table
from edgewright.bench.layer_table import Cost, Network, Table, grid, predict, time_layers, widths
from edgewright.core.errors import InvalidInput, RuntimeFailed, Unavailable
from edgewright.graph import files, probe
from edgewright.graph.layers import Layer, narrowed
from edgewright.quantize import schemes
from edgewright.quantize.calibration.statistics import Ranges
from edgewright.quantize.qdq import place
from edgewright.runtimes.options import Kernel, Options

CONV = Layer(kind="conv", cin=32, cout=64, kernel=(3, 3), pads=(1, 1, 1, 1), height=20, width=20, activation="silu")
LAYERS = [
    CONV,
    Layer(kind="conv", cin=32, cout=32, kernel=(3, 3), groups=32, height=20, width=20, activation="hardswish"),
    Layer(kind="conv", cin=32, cout=16, height=20, width=20, signed=True),
    Layer(kind="conv", cin=32, cout=16, activation="hardsigmoid"),
    Layer(kind="conv", cin=32, cout=16, stride=(2, 2), height=20, width=20),
    Layer(kind="linear", cin=64, cout=100, height=9),
    Layer(kind="transposed", cin=16, cout=8, kernel=(2, 2), stride=(2, 2), height=10, width=10, activation="relu"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("runtime", "scheme"),
    [("openvino", None), ("openvino", "openvino"), ("onnxruntime", None), ("onnxruntime", "ort-x86")],
)
def test_every_layer_is_timed_in_its_own_precision(runtime: str, scheme: str | None, tmp_path: Path) -> None:
    model = probe.build(LAYERS)
    if scheme:
        ranges = Ranges("minmax", probe.ranges(LAYERS), {})
        model = place.place(model, ranges, schemes.get(scheme), probe.outside(model))
    files.save(model, tmp_path / "probe.onnx")
    options = Options(runtime=runtime, threads=1)
    found = time_layers(tmp_path / "probe.onnx", len(LAYERS), options, tmp_path / "artifact", rounds=2, each=4)
    assert len(found) == len(LAYERS)
    assert found[0].microseconds > 0
    assert found[0].microseconds == max(cost.microseconds for cost in found), "it has the most products by far"
    # ONNX Runtime has no INT8 kernel for a transposed convolution.
    kinds = [cost.is_int8 for cost in found]
    assert kinds == ([bool(scheme)] * 6 + [scheme == "openvino"]), found


def test_a_runtime_without_a_profiler_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="tensorrt reports no kernel times"):
        time_layers(tmp_path / "no.onnx", 1, Options(runtime="tensorrt"), tmp_path)


def test_a_layer_without_a_kernel_is_told() -> None:
    kernels = [
        Kernel(("spread0",), "Broadcast", 7.0), Kernel(("Convolution_7",), "Convolution jit_I8", 3.0),
        Kernel(("spread1_abcd_acdb",), "Reorder", 1.0), Kernel(("mean1",), "ReduceMean", 1.0),
    ]  # fmt: skip
    assert layer_table.costs(kernels, 1) == [Cost(microseconds=3.0, kernel="Convolution jit_I8", is_int8=True)]
    with pytest.raises(RuntimeFailed, match="no kernel of layer 1 of 2"):
        layer_table.costs(kernels, 2)


def test_widths_are_whole_blocks() -> None:
    assert widths(64, 8) == [64, 48, 32, 16]
    assert widths(40, 16) == [40, 32, 16]
    assert widths(3, 8) == [3]
    assert widths(64, 8, groups=4) == [64]
    depthwise = narrowed(LAYERS[1], 32, 32)
    assert [layer.groups for layer in grid(depthwise, 8)] == [32, 24, 16, 8]


def linear(layer: Layer) -> Cost:
    return Cost(microseconds=10.0 + layer.cin + 2 * layer.cout + 0.1 * layer.cin * layer.cout, kernel="", is_int8=False)


def test_between_measured_widths_times_are_interpolated_in_steps_of_the_block() -> None:
    table = Table({point: linear(point) for point in grid(CONV, 8)}, 8)
    for cin, cout in ((32, 64), (24, 40), (16, 56), (8, 8)):
        layer = narrowed(CONV, cin, cout)
        assert table.microseconds(layer, CONV) == pytest.approx(linear(layer).microseconds)
    assert table.microseconds(narrowed(CONV, 32, 41), CONV) == table.microseconds(narrowed(CONV, 32, 48), CONV)
    with pytest.raises(InvalidInput, match="has no layer"):
        table.microseconds(narrowed(CONV, 32, 41))


def test_a_prediction_is_anchored_by_the_model_and_a_narrower_one() -> None:
    head = Layer(kind="linear", cin=64, cout=10)
    before, after = [CONV, head], [narrowed(CONV, 32, 32), narrowed(head, 32, 10)]
    table = Table({point: linear(point) for layer in before for point in grid(layer, 8)}, 8)
    us = [sum(map(table.microseconds, row, before)) for row in (before, after)]
    whole, narrow = Network(us[0], 1.7), Network(us[1], 1.3)
    assert predict(us[0], whole, narrow) == pytest.approx(1.7)
    assert predict(us[1], whole, narrow) == pytest.approx(1.3)
    assert predict((us[0] + us[1]) / 2, whole, narrow) == pytest.approx(1.5)
    assert predict(us[1] / 2, whole, Network(us[1], 0.1)) > 0, "saves more than the table has: in proportion at most"
    assert predict(us[1], whole, Network(us[1], 1.8)) == 1.7, "narrower and not faster: its depth costs all"
