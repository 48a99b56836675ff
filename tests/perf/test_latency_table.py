"""How well the latency table predicts networks with fewer channels, and in which steps channels save time.

Each network is narrowed ten times at random, every width that can shrink to 40 to 100 % of it, rounded to what the
runtime wants (`targets/channels.py`). Predicted is from the table and the unchanged network's latency alone; then all
are measured, interleaved in one run. Weights and images are random: only latency is looked at.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from edgewright.bench.latency import Rules, Timing, measure_interleaved
from edgewright.bench.layer_table import outside, predict
from edgewright.core.spec import Detect, Input, ModelSpec, Preprocess
from edgewright.core.store import Store
from edgewright.graph import clean, files, metadata, slim
from edgewright.graph.layers import Layer, layers
from edgewright.pipeline import latency_table
from edgewright.pipeline.stages import Workshop
from edgewright.quantize.quantize import quantize
from edgewright.runtimes import artifact, openvino
from edgewright.runtimes.options import Options
from edgewright.targets.channels import CPU, POOLED

COUNT = 10
SIDES = {"resnet18": 224, "mobilenetv3_large_100": 224, "yolo11n": 320}
RULES = Rules(min_duration_s=3.0, min_count=60, max_duration_s=10.0, rounds=15, warm_up_s=0.5, cold_starts=1)


@pytest.mark.parametrize("scheme", [None, "openvino"], ids=["f32", "int8"])
@pytest.mark.parametrize("name", list(SIDES))
def test_predicted_and_measured(benchmark: Any, name: str, scheme: str | None, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    options = Options(runtime="openvino")
    artifacts, shapes = {}, {}
    for seed in range(COUNT + 1):
        model = tmp_path / f"{seed}.onnx"
        shapes[str(seed)] = export(narrower(name, seed), name, model)
        if scheme:
            (tmp_path / f"q{seed}").mkdir()
            quantize(str(model), scheme, "minmax", images, str(tmp_path / f"q{seed}"))
            model = tmp_path / f"q{seed}" / "model.onnx"
        artifacts[str(seed)] = tmp_path / f"a{seed}"
        artifact.build(model, spec_of(name), options, artifacts[str(seed)])
    shop = Workshop(store=Store(tmp_path / "store"))
    table = benchmark.pedantic(
        lambda: latency_table.measure(shop, shapes["0"], options, scheme, "here"), rounds=1
    )  # fmt: skip
    # A process may be slow or fast for all of its life, by where its memory lies, and so may the machine for minutes:
    # ratios to the unchanged network of the same run, the middle one of three.
    runs = [
        measure_interleaved(artifacts, images[:2], tmp_path / f"run{number}", rules=RULES, reference="0")
        for number in range(3)
    ]
    whole, least, share = (float(np.median(values)) for values in zip(*(parts_ms(run["0"]) for run in runs)))
    kind = f"{name} {scheme or 'f32'}"
    print(f"\n{kind}: {len(table.costs)} layers in the table, {whole:.2f} ms unchanged, {least:.2f} the least")
    errors = []
    for seed in map(str, range(1, COUNT + 1)):
        # As `prune` does: what is left of the least latency, which is the table's own measure, is left of the median.
        told = whole * predict(table, shapes["0"], shapes[seed], least, share * least) / least
        found = whole * float(np.median([parts_ms(run[seed])[0] / parts_ms(run["0"])[0] for run in runs]))
        errors.append(told / found - 1)
        busy = max((load.other_cpu_percent or 0.0 for run in runs if (load := run[seed].load)), default=0.0)
        beside = f"at most {busy:.0f} % of the machine busy with others"
        print(f"  predicted {told:8.2f} ms, measured {found:8.2f} ms, {errors[-1]:+6.1%}  {beside}")
    print(f"  mean {np.mean(errors):+.1%}, standard deviation {np.std(errors):.1%}, most {np.abs(errors).max():.1%}")


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


def parts_ms(timing: Timing) -> tuple[float, float, float]:
    """The median latency, the least, and the share of it that is not the network's."""
    found = timing.latency
    assert found and found.p50_ms and found.min_ms, timing.reason
    return found.p50_ms, found.min_ms, outside(found)


def narrower(name: str, seed: int) -> Any:
    """The network `name` with random widths; with seed 0 as it is."""
    import torch

    torch.manual_seed(0)
    share = random.Random(seed)
    if name == "yolo11n":
        return narrower_yolo(lambda: share.uniform(0.4, 1.0) if seed else 1.0)
    timm = pytest.importorskip("timm")
    pruning = pytest.importorskip("torch_pruning")
    model = timm.create_model(name, pretrained=False).eval()
    if not seed:
        return model
    graph = pruning.DependencyGraph().build_dependency(model, torch.zeros(1, 3, SIDES[name], SIDES[name]))
    outputs = (pruning.prune_conv_out_channels, pruning.prune_depthwise_conv_out_channels)
    done: set[Any] = set()
    for root in [m for m in model.modules() if isinstance(m, torch.nn.Conv2d) and m.groups == 1]:
        if root in done:
            continue
        group = graph.get_pruning_group(root, pruning.prune_conv_out_channels, list(range(root.out_channels)))
        own = {item.target.module for item, _ in group if item.handler in outputs}
        done |= own
        # The first width of a ResNet is that of its max pool.
        step = POOLED if name == "resnet18" and not len(done - own) else CPU
        kept = max(step, round(root.out_channels * share.uniform(0.4, 1.0) / step) * step)
        if kept < root.out_channels:
            gone = share.sample(range(root.out_channels), root.out_channels - kept)
            graph.get_pruning_group(root, pruning.prune_conv_out_channels, gone).prune()
    return model


def narrower_yolo(share: Callable[[], float]) -> Any:
    """YOLO11n with other widths in its description; the attention and what enters it are left as they are."""
    tasks = pytest.importorskip("ultralytics.nn.tasks")
    described = tasks.yaml_model_load("yolo11n.yaml")
    described |= {"scales": {"n": [0.5, 1.0, 1_000_000]}, "scale": "n"}
    for number, row in enumerate(described["backbone"] + described["head"]):
        if row[2] in ("Conv", "C3k2", "SPPF", "C2PSA"):
            width = row[3][0] // 4
            row[3][0] = width if number in (8, 9, 10) else max(16, round(width * share() / 8) * 8)
    model = tasks.DetectionModel(described, verbose=False).eval().fuse(verbose=False)
    head = model.model[-1]
    head.export = True

    def forward(features: list[Any]) -> Any:
        import torch

        raw = head.forward_head(features, **head.one2many)
        return torch.cat([raw["boxes"], raw["scores"]], 1)

    head.forward = forward
    return model


def export(module: Any, name: str, path: Path) -> Sequence[Layer]:
    """Write `module` as ONNX; its layers."""
    import torch

    sample = torch.zeros(1, 3, SIDES[name], SIDES[name])
    module.requires_grad_(False)
    exported = torch.export.export(module, (sample,))
    model = torch.onnx.export(
        exported, dynamo=True, opset_version=20, external_data=False, verbose=False, input_names=["images"],
        output_names=["logits"],
    ).model_proto  # fmt: skip
    for change in (clean, slim, clean):
        change.apply(model)
    metadata.set_spec(model, spec_of(name))
    files.save(model, path)
    return tuple(layers(model).values())


def spec_of(name: str) -> ModelSpec:
    side = SIDES[name]
    plain = {"input": Input(height=side, width=side), "preprocess": Preprocess(resize="exact", resize_to=(side, side))}
    if name == "yolo11n":
        return ModelSpec(
            name=name, task="detect", outputs=("logits",), classes=80, detect=Detect(decoder="dfl", scores="sigmoid"),
            **plain,
        )  # fmt: skip
    return ModelSpec(name=name, classes=1000, **plain)


def write_images(folder: Path) -> list[str]:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for index in range(32):
        pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
    return sorted(map(str, folder.iterdir()))
