"""Detectors from elsewhere on real photos: our float mAP is the published one, and INT8 keeps boxes and scores."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgewright import api
from edgewright.graph import files
from edgewright.pipeline.recipe import Recipe
from edgewright.targets import detect

pytestmark = pytest.mark.zoo
HERE = Path(__file__).parent
RECIPE = Recipe(
    runtimes=("openvino",), methods=("nncf-round",), precisions=("f32", "int8"), normalize=("host",), finalists=0,
    min_duration_s=0.3, min_count=10,
)  # fmt: skip


class Case(msgspec.Struct, frozen=True):
    """A detector of the zoo: its mAP (percent) by the zoo's own measurement, and the share that INT8 must keep."""

    file: str
    spec: str
    map: float
    kept: float


CASES = {
    "yolox_nano": Case("yolox_nano_416_coco.onnx", "yolox", 29.8, 0.99),
    "nanodet_m_320": Case("nanodet_m_320_coco.onnx", "nanodet320", 25.7, 0.99),
    "fastestdet": Case("FastestDet_352_coco.onnx", "fastestdet", 16.6, 0.98),
}
MARKS: dict[str, list[pytest.MarkDecorator]] = {
    "nanodet_m_320": [
        pytest.mark.slow,
        pytest.mark.xfail(raises=AssertionError, reason="INT8 keeps 98.2 % of its mAP, not 99"),
    ],
    "yolox_nano": [pytest.mark.slow],
    "fastestdet": [
        pytest.mark.xfail(
            "vnni" in " ".join(detect.this_machine().isa),
            raises=AssertionError,
            reason="INT8 keeps 96.2 % of its mAP by the signed activations of VNNI, not 98",
        )
    ],
}


@pytest.mark.parametrize(("name", "maps"), [("yolox_nano", 3), ("nanodet_m_320", 6)])
def test_heads_are_exported_with_channels_last_and_no_slices(name: str, maps: int, zoo: Path, tmp_path: Path) -> None:
    case, path = CASES[name], tmp_path / "model.onnx"
    api.export(str(zoo / "weights" / case.file), out=path, spec=HERE / "specs" / f"{case.spec}.toml")
    nodes = files.load(path).graph.node
    orders = [list(node.attribute[0].ints) for node in nodes if node.op_type == "Transpose"]
    assert orders.count([0, 2, 3, 1]) == maps
    assert not {(0, 2, 1), (1, 0)}.intersection(map(tuple, orders))
    assert name != "yolox_nano" or all(node.op_type != "Slice" for node in nodes)


@pytest.mark.parametrize("name", [pytest.param(n, marks=MARKS.get(n, [])) for n in CASES])
def test_int8_keeps_boxes_and_scores(name: str, zoo: Path, tmp_path: Path) -> None:
    case = CASES[name]
    outcome = api.optimize(
        str(zoo / "weights" / case.file), spec=HERE / "specs" / f"{case.spec}.toml", data=zoo / "coco-val",
        calibration=zoo / "coco-train", out=tmp_path, recipe=RECIPE,
    )  # fmt: skip
    report = outcome.report
    assert report.reference is not None and report.reference.accuracy is not None
    truth = report.reference.accuracy
    # The name holds the scheme, which is the processor's.
    (int8,) = (m for m in report.measurements if m.precision == "int8" and "bf16" not in m.id)
    print(name, truth, int8.accuracy, int8.latency, sep="\n")
    assert int8.latency is not None and int8.latency.p50_ms, int8.reason
    assert truth.map == pytest.approx(case.map, abs=0.4)
    assert int8.accuracy is not None and int8.accuracy.map is not None and truth.map is not None, int8.reason
    assert int8.accuracy.map >= case.kept * truth.map
    assert int8.accuracy.confidence is not None
    assert abs(int8.accuracy.confidence.shift) <= 0.02
    assert int8.accuracy.confidence.verdict == "kept"
