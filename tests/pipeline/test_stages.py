"""What an export's key covers: an edit of anything that is read must export anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgewright.pipeline.stages import Source


@pytest.mark.parametrize("source", ["torch:net:build", "torch:net.py:build", "torch:{}/net.py:build"])
def test_an_edited_factory_is_another_source(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("def build(): ...")
    before = Source(source=source.format(tmp_path)).identity()
    (tmp_path / "net.py").write_text("def build(): return 1")
    assert Source(source=source.format(tmp_path)).identity() != before


def test_an_edited_checkpoint_or_its_toml_is_another_source(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"1")
    source = Source(source="timm:resnet18", checkpoint=str(path))
    seen = [source.identity()]
    path.write_bytes(b"2")
    seen.append(source.identity())
    (tmp_path / "net.toml").write_text('name = "a"')
    seen.append(source.identity())
    (tmp_path / "net.toml").write_text('name = "b"')
    seen.append(source.identity())
    assert len({str(one) for one in seen}) == 4


def test_edited_external_data_is_another_source(tmp_path: Path) -> None:
    weights = onnx.numpy_helper.from_array(np.zeros(300, np.float32), "w")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["w"], ["y"])], "g", [], [], [weights])
    model = onnx.helper.make_model(graph)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="weights.data", size_threshold=0)
    source = Source(source=str(tmp_path / "m.onnx"))
    before = source.identity()
    (tmp_path / "weights.data").write_bytes(b"2")
    assert source.identity() != before
