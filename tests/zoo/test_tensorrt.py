"""INT8 and FP16 for TensorRT on real weights, emulated in ONNX Runtime: the bounds of the x86 schemes hold.

No GPU is needed: the same graph that TensorRT gets is computed on the CPU, every tensor rounded as there. What
TensorRT's kernels make of it is not seen.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec
import pytest

from edgewright import api
from edgewright.pipeline.recipe import Recipe

pytestmark = pytest.mark.zoo
HERE = Path(__file__).parent
RECIPE = Recipe(
    effort="thorough", runtimes=("tensorrt",), methods=("round-mixed",), precisions=("f16", "int8"), normalize=("host",)
)


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"zoo_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CLASSIFIERS, DETECTORS = load("test_main_job").CASES, load("test_detectors").CASES


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_keep_their_answers(name: str, zoo: Path, tmp_path: Path) -> None:
    case = CLASSIFIERS[name]
    report = api.optimize(
        case.source, checkpoint=zoo / "weights" / case.checkpoint, spec=HERE / "specs" / f"{case.spec}.toml",
        data=zoo / case.data, out=tmp_path, recipe=RECIPE, target="jetson-orin-nano",
        trust_checkpoint=case.checkpoint.endswith(".th"),
    ).report  # fmt: skip
    int8, half = report.measurement("tensorrt-int8-f16-round-mixed"), report.measurement("tensorrt-f16")
    print(name, report.reference, int8, half, sep="\n")
    assert int8.status == half.status == "built", (int8.reason, half.reason)
    assert int8.latency is None and report.choice is not None and report.choice.id is None
    assert half.accuracy is not None and half.accuracy.agreement is not None and half.accuracy.agreement >= 98
    accuracy = int8.accuracy
    assert accuracy is not None and accuracy.score is not None and accuracy.delta is not None
    if case.top1 is not None:
        assert accuracy.score >= case.top1
    if case.loss is not None:
        assert accuracy.delta.value >= -case.loss
    if case.agreement is not None:
        assert accuracy.agreement is not None and accuracy.agreement >= case.agreement


MISSED = pytest.mark.xfail(raises=AssertionError, reason="INT8 keeps 98.4 % of its mAP, not 99, as on x86")


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=[MISSED] if n == "nanodet_m_320" else []) for n in DETECTORS])
def test_detectors_keep_boxes_and_scores(name: str, zoo: Path, tmp_path: Path) -> None:
    case = DETECTORS[name]
    report = api.optimize(
        str(zoo / "weights" / case.file), spec=HERE / "specs" / f"{case.spec}.toml", data=zoo / "coco-val",
        calibration=zoo / "coco-train", out=tmp_path, target="jetson-orin-nano",
        recipe=msgspec.structs.replace(RECIPE, methods=("minmax", "round", "round-mixed", "mse-round")),
    ).report  # fmt: skip
    found = {m.id: m.accuracy for m in report.measurements if m.accuracy}
    print(name, report.reference, *found.items(), sep="\n")
    assert report.reference is not None and report.reference.accuracy is not None
    truth = report.reference.accuracy.score
    int8 = [a for id, a in found.items() if "int8" in id and a.confidence and a.confidence.verdict == "kept"]
    assert truth is not None and int8
    assert max(a.score or 0 for a in int8) >= case.kept * truth
