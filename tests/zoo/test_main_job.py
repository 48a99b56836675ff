"""The main job on real weights and real images: the INT8 that is chosen keeps the answers of the float model."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgewright import api
from edgewright.bench.results import Measurement
from edgewright.pipeline.recipe import Recipe

pytestmark = pytest.mark.zoo
HERE = Path(__file__).parent
# One runtime and one method: eight models must fit into minutes. bf16 is left out so that the same runs everywhere.
RECIPE = Recipe(
    effort="thorough",
    runtimes=("openvino",), methods=("round-mixed",), precisions=("f32", "int8"), normalize=("host",), finalists=0,
    min_duration_s=0.3, min_count=20,
)  # fmt: skip


class Case(msgspec.Struct, frozen=True):
    """A model of the zoo, and what its best INT8 must keep: top-1 or points of it, and agreement with float."""

    source: str
    checkpoint: str
    spec: str
    data: str
    methods: tuple[str, ...] = ("round-mixed",)
    top1: float | None = None
    loss: float | None = None
    agreement: float | None = None


MODELS = f"torch:{HERE / 'models.py'}"
CASES = {
    "mobilenetv1_075": Case(
        f"{MODELS}:mobilenetv1?width=0.75", "mobilenetv1_075_keras_imagenet_timm.pt", "mobilenetv1", "imagenet",
        methods=("round-mixed", "nncf-round"), top1=80.5, agreement=93.0,
    ),
    "mobilenetv1_025": Case(
        f"{MODELS}:mobilenetv1?width=0.25", "mobilenetv1_025_keras_imagenet_timm.pt", "mobilenetv1", "imagenet",
        methods=("round",), top1=55.0, agreement=88.0,
    ),
    "squeezenet1_1": Case(
        "torchvision:squeezenet1_1", "squeezenet1_1_caffe_imagenet_torchvision.pt", "squeezenet", "imagenet",
        top1=55.0, agreement=95.0,
    ),
    "resnet18": Case(
        "timm:resnet18?num_classes=10", "resnet18_cifar10_64.safetensors", "cifar64", "cifar10", loss=0.5
    ),
    "mobilenetv3_small_100": Case(
        "timm:mobilenetv3_small_100?num_classes=10", "mobilenetv3_small_100_cifar10_64.safetensors", "cifar64",
        "cifar10", loss=0.5,
    ),
    "resnet20": Case(f"{MODELS}:resnet20", "cifar10_resnet20-12fca82f.th", "cifar_resnet", "cifar10", loss=0.5),
    "resnet56": Case(f"{MODELS}:resnet56", "cifar10_resnet56-4bfd9763.th", "cifar_resnet", "cifar10", loss=0.5),
    "vit": Case(f"{MODELS}:vit_cifar", "vit_cifar10_d128_depth4_timm.pt", "vit_cifar", "cifar10", loss=0.5),
}  # fmt: skip


def best_int8(report: api.Report) -> Measurement:
    """The fastest INT8 variant inside the budget."""
    found = [m for m in report.measurements if m.precision == "int8" and all(t.status == "met" for t in m.budget)]
    assert found, [(m.id, m.reason, m.accuracy and m.accuracy.score) for m in report.measurements]
    return min(found, key=lambda m: (m.latency.p50_ms or 0) if m.latency else 0)


QUICK = ("mobilenetv1_025",)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in CASES])
def test_int8_keeps_the_answers(name: str, zoo: Path, tmp_path: Path) -> None:
    case = CASES[name]
    budget = f"top1 >= {case.top1}%, agreement >= {case.agreement}%" if case.top1 else f"top1 >= -{case.loss}"
    outcome = api.optimize(
        case.source, checkpoint=zoo / "weights" / case.checkpoint, spec=HERE / "specs" / f"{case.spec}.toml",
        data=zoo / case.data, out=tmp_path, recipe=msgspec.structs.replace(RECIPE, methods=case.methods),
        trust_checkpoint=case.checkpoint.endswith(".th"), budget=budget,
    )  # fmt: skip
    assert outcome.report.chosen is not None
    accuracy = best_int8(outcome.report).accuracy
    print(name, outcome.report.reference, *outcome.report.measurements, sep="\n")
    assert accuracy is not None and accuracy.score is not None and accuracy.delta is not None
    if case.top1 is not None:
        assert accuracy.score >= case.top1
    if case.loss is not None:
        assert accuracy.delta.value >= -case.loss
    if case.agreement is not None:
        assert accuracy.agreement is not None and accuracy.agreement >= case.agreement
