"""Detectors from elsewhere on real photos: our float mAP is the published one, and INT8 keeps boxes and scores."""

from __future__ import annotations

import shutil
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
    effort="thorough",
    runtimes=("openvino",), methods=("nncf-round",), precisions=("f32", "int8"), normalize=("host",), finalists=0,
    min_duration_s=0.3, min_count=10,
)  # fmt: skip


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A detector of the zoo: its mAP (percent) by the zoo's own measurement, and the share that INT8 keeps by `method`,
    or by `signed` where the processor has VNNI, for which OpenVINO's activations are signed.

    The zoo `scaled` some images with Pillow; we do it as the detectors were trained, with OpenCV's pixels.
    """

    file: str
    spec: str
    map: float
    kept: float
    method: str = "nncf-round"
    signed: str = "nncf-round"
    scaled: str = "bilinear"


CASES = {
    "yolox_nano": Case(file="yolox_nano_416_coco.onnx", spec="yolox", map=29.8, kept=0.99),
    "nanodet_m_320": Case(file="nanodet_m_320_coco.onnx", spec="nanodet320", map=25.7, kept=0.99, signed="round-mixed"),
    "fastestdet": Case(
        file="FastestDet_352_coco.onnx", spec="fastestdet", map=16.6, kept=0.98, signed="round", scaled="opencv"
    ),
}
HAS_VNNI = "vnni" in detect.this_machine().isa
MARKS: dict[str, list[pytest.MarkDecorator]] = {
    "fastestdet": [pytest.mark.slow],
    "nanodet_m_320": [
        pytest.mark.slow,
        pytest.mark.xfail(not HAS_VNNI, raises=AssertionError, reason="INT8 keeps 98.2 % of its mAP, not 99"),
    ],
    "yolox_nano": [pytest.mark.slow],
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == "fastestdet" else [pytest.mark.slow]) for n in CASES]
)
def test_float_has_the_zoos_map_on_the_zoos_pixels(name: str, zoo: Path, tmp_path: Path) -> None:
    case = CASES[name]
    spec = (HERE / "specs" / f"{case.spec}.toml").read_text()
    assert '"opencv"' in spec
    (tmp_path / "spec.toml").write_text(spec.replace('"opencv"', f'"{case.scaled}"'))
    shutil.copy(HERE / "specs" / "coco.txt", tmp_path)
    report = api.optimize(
        str(zoo / "weights" / case.file), spec=tmp_path / "spec.toml", data=zoo / "coco-val",
        calibration=zoo / "coco-train", out=tmp_path / "out",
        recipe=msgspec.structs.replace(RECIPE, precisions=("f32",)),
    ).report  # fmt: skip
    assert report.reference is not None and report.reference.accuracy is not None
    assert report.reference.accuracy.score == pytest.approx(case.map, abs=0.4)


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
    method = case.signed if HAS_VNNI else case.method
    outcome = api.optimize(
        str(zoo / "weights" / case.file), spec=HERE / "specs" / f"{case.spec}.toml", data=zoo / "coco-val",
        calibration=zoo / "coco-train", out=tmp_path, recipe=msgspec.structs.replace(RECIPE, methods=(method,)),
    )  # fmt: skip
    report = outcome.report
    assert report.reference is not None and report.reference.accuracy is not None
    truth = report.reference.accuracy
    # The name holds the scheme, which is the processor's.
    shuffled = [m for m in report.measurements if "unshuffled" not in m.id]
    (int8,) = (m for m in shuffled if m.precision == "int8" and "bf16" not in m.id)
    print(name, truth, int8.accuracy, int8.latency, sep="\n")
    assert int8.latency is not None and int8.latency.p50_ms, int8.reason
    assert int8.accuracy is not None and int8.accuracy.score is not None and truth.score is not None, int8.reason
    assert truth.score >= case.map - 0.4
    assert int8.accuracy.score >= case.kept * truth.score
    assert int8.accuracy.confidence is not None
    assert abs(int8.accuracy.confidence.shift) <= 0.02
    assert int8.accuracy.confidence.verdict == "kept"
    assert (len(shuffled) < len(report.measurements)) == (name != "yolox_nano"), "the others are tried without shuffles"
    assert all(m.status == "ok" for m in report.measurements)
