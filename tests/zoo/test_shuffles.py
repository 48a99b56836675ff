"""Channel shuffles are taken out of real networks: all of them, and the answers stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewright import api
from edgewright.graph import compare, files, metadata
from edgewright.pipeline.stages.model import MODEL
from edgewright.pipeline.stages.rewrite import take_shuffles_out

HERE = Path(__file__).parent


def taken_out(path: Path, folder: Path) -> tuple[int, int, float]:
    """Transposes before and after, and the relative difference of the answers."""
    take_shuffles_out(str(path), str(folder))
    before, after = files.load(path), files.load(folder / MODEL)
    assert metadata.get_spec(after) == metadata.get_spec(before)
    counts = [sum(node.op_type == "Transpose" for node in model.graph.node) for model in (before, after)]
    return counts[0], counts[1], compare.difference(before, after, compare.random_feeds(before))


@pytest.mark.zoo
@pytest.mark.parametrize(
    ("file", "spec", "shuffles"), [("nanodet_m_320_coco", "nanodet320", 16), ("FastestDet_352_coco", "fastestdet", 13)]
)
def test_of_detectors(file: str, spec: str, shuffles: int, zoo: Path, tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    api.export(
        str(zoo / "weights" / f"{file}.onnx"), out=path, spec=HERE / "specs" / f"{spec}.toml", data=zoo / "coco-val"
    )
    (tmp_path / "out").mkdir()
    before, after, gap = taken_out(path, tmp_path / "out")
    assert before - after == shuffles
    assert gap < 1e-5


@pytest.mark.parametrize("batch", [1, 0])
def test_of_torchvisions_network(batch: int, tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    api.export("torchvision:shufflenet_v2_x0_5?pretrained=false", out=path, batch=batch or None)
    (tmp_path / "out").mkdir()
    before, after, gap = taken_out(path, tmp_path / "out")
    assert (before, after) == (16, 0)
    assert gap < 1e-5
