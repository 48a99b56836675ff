"""How well the latency table predicts networks with fewer channels, and in which steps channels save time.

Each network is narrowed ten times at random: every group of channels that `prune` would narrow to 40 to 100 % of it, in
steps of what the runtime wants (`targets/channels.py`). Predicted is from the table and from two measured networks, the
unchanged one and one with half of all channels; measured are all interleaved. Told is the latency from image to answer,
which `prune` predicts, and that of the runtime's own call. Weights and images are random: only latency is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from edgewright.bench.latency import Rules, Setup, measure_interleaved
from edgewright.bench.layer_table import Network, predict
from edgewright.core.spec import ModelSpec
from edgewright.core.store import Store
from edgewright.data import sets
from edgewright.graph import files
from edgewright.graph.layers import Layer, layers
from edgewright.pipeline.jobs import distill
from edgewright.pipeline.stages import latency_table
from edgewright.pipeline.stages.export import Source, export
from edgewright.pipeline.stages.model import MODEL, spec_of
from edgewright.pipeline.stages.runner import StageRunner
from edgewright.quantize.quantize import QuantizeRequest, quantize
from edgewright.runtimes import artifact, openvino, registry
from edgewright.runtimes.options import Options
from edgewright.targets.detect import this_machine

COUNT, NARROW = 10, "half"
SOURCES = {
    "resnet18": "timm:resnet18?pretrained=false",
    "mobilenetv3_large_100": "timm:mobilenetv3_large_100?pretrained=false",
    "yolo11n": "ultralytics:yolo11n.yaml?imgsz=320",
}
SIDES = {"resnet18": 224, "mobilenetv3_large_100": 224, "yolo11n": 320}
POOLED = {"resnet18": "conv1", "mobilenetv3_large_100": None, "yolo11n": "model.9.cv1.conv"}
"""The layer that a max pool reads."""
RULES = Rules(min_duration_s=3.0, min_count=60, max_duration_s=10.0, rounds=15, warm_up_s=0.5)


@pytest.mark.parametrize("int8", [False, True], ids=["f32", "int8"])
@pytest.mark.parametrize("name", list(SOURCES))
def test_predicted_and_measured(benchmark: Any, name: str, int8: bool, tmp_path: Path) -> None:
    target = this_machine()
    options = Options(runtime="openvino")
    scheme = next(one for one in target.runtimes if one.name == "openvino").schemes[0] if int8 else None
    block = registry.traits("openvino").channel_block("int8" if int8 else "f32", target.isa)
    pooled = registry.traits("openvino").pooled_block("int8" if int8 else "f32", target.isa)
    runner = StageRunner(store=Store(tmp_path / "store"))
    side = SIDES[name]
    images = write_images(tmp_path / "images", side)
    few = sets.read(Path(images[0]).parent)
    few = few.only(few.items[:2])
    described = tmp_path / "spec.toml"
    described.write_text(f'[preprocess]\nresize = "exact"\nresize_to = [{side}, {side}]\n')
    given = Source(source=SOURCES[name], spec_file=str(described))
    artifacts, shapes = {}, {}
    whole = export(runner, given, few, None)
    for id, source in [("0", given), *narrower(name, spec_of(whole), block, pooled, tmp_path)]:
        made = export(runner, source, few, None)
        model = made.path / MODEL
        shapes[id] = tuple(layers(files.load(model)).values())
        if scheme:
            (tmp_path / f"q{id}").mkdir()
            quantize(QuantizeRequest(model=str(model), images=images), scheme, "minmax", str(tmp_path / f"q{id}"))
            model = tmp_path / f"q{id}" / "model.onnx"
        artifacts[id] = tmp_path / f"a{id}"
        artifact.build(model, spec_of(made), options, artifacts[id])
    table = benchmark.pedantic(
        lambda: latency_table.measure(runner, shapes["0"], options, scheme, "here", target.isa), rounds=1
    )  # fmt: skip
    assert {len(own) for own in shapes.values()} == {len(shapes["0"])}
    us = {id: sum(map(table.microseconds, own, shapes["0"])) for id, own in shapes.items()}
    # A process may be slow or fast for all of its life, by where its memory lies, and so may the machine for minutes:
    # ratios to the unchanged network of the same run, the middle one of three.
    runs = [
        measure_interleaved(artifacts, images[:2], tmp_path / f"run{number}", Setup(rules=RULES), reference="0")
        for number in range(3)
    ]
    print(f"\n{name} {scheme or 'f32'}, widths by {block}: {len(table.costs)} layers in the table")
    for what in ("p50_ms", "runtime_p50_ms"):
        compare(what, us, {id: np.array([getattr(run[id].latency, what) for run in runs]) for id in artifacts})


def compare(what: str, us: Mapping[str, float], ms: Mapping[str, np.ndarray]) -> None:
    """Print what was predicted of each network and what was measured in the runs, `ms`; `us` is what the table says."""
    whole = float(np.median(ms["0"]))
    found = {id: whole * float(np.median(row / ms["0"])) for id, row in ms.items()}
    anchors = [Network(us[id], found[id]) for id in ("0", NARROW)]
    print(f"{what}: unchanged {anchors[0].ms:.2f}, half of all channels {anchors[1].ms:.2f}; ", end="")
    print(f"their layers by the table {anchors[0].microseconds / 1e3:.2f} and {anchors[1].microseconds / 1e3:.2f}")
    errors = []
    for id in map(str, range(1, COUNT + 1)):
        told = predict(us[id], *anchors)
        errors.append(100 * (told / found[id] - 1))
        print(f"  predicted {told:8.2f} ms, measured {found[id]:8.2f} ms, {errors[-1]:+6.1f} %")
    print(f"  mean {np.mean(errors):+.1f} %, standard deviation {np.std(errors):.1f}, most {np.abs(errors).max():.1f}")


@pytest.mark.parametrize(
    ("runtime", "scheme"),
    [("openvino", None), ("openvino", "openvino"), ("onnxruntime", None), ("onnxruntime", "ort-x86")],
)
def test_steps_of_widths(benchmark: Any, runtime: str, scheme: str | None) -> None:
    """What a pointwise layer takes with 44 to 73 inputs or outputs (`targets/channels.py`)."""
    options = {"runtime": runtime, "threads": 1}
    sizes = list(range(44, 74))
    rows = {
        "outputs": [Layer(kind="conv", cin=64, cout=n, height=28, width=28, activation="relu") for n in sizes],
        "inputs": [Layer(kind="conv", cin=n, cout=64, height=28, width=28, activation="relu") for n in sizes],
    }

    def measure() -> dict[str, list[float]]:
        return {
            what: [cost.microseconds for cost in latency_table.time(msgspec.to_builtins(row), options, scheme)]
            for what, row in rows.items()
        }

    for what, found in benchmark.pedantic(measure, rounds=1).items():
        print(f"\n{runtime} {scheme or 'f32'}, {what}:", *(f"{n}:{us:.0f}" for n, us in zip(sizes, found)), end="")
    print()


def test_steps_of_max_pools(benchmark: Any, tmp_path: Path) -> None:
    """What OpenVINO takes for an INT8 max pool of 16 to 96 channels."""
    options = Options(runtime="openvino", threads=1)
    (tmp_path / "artifact").mkdir()
    files.save(max_pools(range(16, 97, 8)), tmp_path / "pools.onnx")
    openvino.build(tmp_path / "pools.onnx", options, tmp_path / "artifact")
    x = np.ones((1, 1, 1, 1), np.float32)
    kernels = benchmark.pedantic(lambda: openvino.profile(tmp_path / "artifact", options, x, 20, 0.0), rounds=1)
    print("\nmax pools:", *(f"{k.names[0]}:{k.microseconds:.0f}" for k in kernels if k.kind.startswith("MaxPool")))


def max_pools(widths: Sequence[int]) -> onnx.ModelProto:
    """One INT8 max pool of 112 x 112 behind the other; a number goes from each to the next."""
    nodes, last = [], "x"
    constants = {"s": np.array(0.02, np.float32), "z": np.array(0, np.uint8)}
    for c in widths:
        constants[f"shape{c}"] = np.array([1, c, 112, 112])
        sides = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
        for operator, given, made, told in (
            ("Expand", [last, f"shape{c}"], f"e{c}", {}), ("QuantizeLinear", [f"e{c}", "s", "z"], f"q{c}", {}),
            ("DequantizeLinear", [f"q{c}", "s", "z"], f"d{c}", {}), ("MaxPool", [f"d{c}"], f"p{c}", sides),
            ("QuantizeLinear", [f"p{c}", "s", "z"], f"r{c}", {}),
            ("DequantizeLinear", [f"r{c}", "s", "z"], f"t{c}", {}),
            ("ReduceMean", [f"t{c}"], f"m{c}", {"axes": [0, 1, 2, 3], "keepdims": 1}),
        ):  # fmt: skip
            nodes.append(helper.make_node(operator, given, [made], f"{operator}{c}", **told))
        last = f"m{c}"
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, 1, 1]) for name in ("x", last)]
    made = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "pools", values[:1], values[1:], made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def narrower(name: str, spec: ModelSpec, block: int, pooled: int, folder: Path) -> Iterator[tuple[str, Source]]:
    """Folders of the network `name` with other widths, each behind its number: `COUNT` at random, and `NARROW`, half of
    all channels, as `prune` anchors its predictions.

    Every group of channels that `prune` would narrow keeps 40 to 100 %, a multiple of `block`, or of `pooled` where a
    max pool reads them.
    """
    import torch

    from edgewright.quantize.pruning import choice, groups

    torch.manual_seed(0)
    source, first = SOURCES[name], torch.zeros(spec.input.shape(1))
    whole = distill.trainable_of(Source(source=source))
    found = groups.find(whole.module, whole.answers, first).groups
    step = {
        group.name: pooled if any(one.layer == POOLED[name] and one.side == "out" for one in group.members) else block
        for group in found
    }
    cuts = {NARROW: choice.uniform(found, 0.5, dict.fromkeys(step, block))}
    for seed in range(1, COUNT + 1):
        random = Random(seed)
        options = {group.name: choice.options(group, step[group.name], 0.4 * group.channels) for group in found}
        cuts[str(seed)] = {name: random.choice(some) for name, some in options.items()}
    for id, gone in cuts.items():
        chosen = {group.name: groups.indices(group, torch.rand(group.channels), gone[group.name]) for group in found}
        less = groups.prune(whole.module, whole.answers, first, chosen, found)
        distill.write(folder / f"less{id}", source, less, spec, {})
        yield id, Source(source=str(folder / f"less{id}"))


def write_images(folder: Path, side: int) -> list[str]:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for index in range(32):
        pixels = rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
    return sorted(map(str, folder.iterdir()))
