"""What the keys of stages cover: an edit of anything that is read, and of the code that reads it, works anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgewright.core.store import Entry, Store
from edgewright.data.sets import ImageSet
from edgewright.pipeline.candidate import Variant
from edgewright.pipeline.stages import runner as running
from edgewright.pipeline.stages.export import Source, export
from edgewright.pipeline.stages.model import MODEL
from edgewright.pipeline.stages.quantize import quantize
from edgewright.pipeline.stages.runner import Stage, StageRunner, code_digest
from edgewright.quantize.calibration.statistics import STATISTICS


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


@pytest.mark.parametrize("room", ["export", "quantize", "graph"])
def test_edited_code_of_a_room_works_anew(room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def keep(self: StageRunner, stage: Stage, **_: object) -> Entry:
        seen.append(f"{stage.name}: {stage.inputs}")
        return model

    monkeypatch.setattr(StageRunner, "keep", keep)
    runner = StageRunner(store=Store(tmp_path))
    model = Entry(path=tmp_path, key="1", reused=True, seconds=0.0)

    images = ImageSet(name="", split="", items=(), classes=())

    def keys() -> list[str]:
        seen.clear()
        export(runner, Source(source="timm:resnet18"), None, 1)
        quantize(runner, model, Variant(scheme="ort-x86", method="round"), images, 0)
        return [key for key in seen if room == "graph" or key.startswith(room)]

    before = keys()
    real = code_digest
    monkeypatch.setattr(running, "code_digest", lambda name: "edited" if name == room else real(name))
    assert before and all(old != new for old, new in zip(before, keys()))


def test_tensorrts_grids_are_served_by_split_and_centered_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its statistics come with it: nothing is observed again. Other schemes and plain methods do without."""
    made: list[tuple[str, str]] = []

    def run(self: StageRunner, stage: str, what: str, inputs: dict[str, Any], target: str, **kwargs: Any) -> Entry:
        made.append((stage, inputs.get("statistics", "")))
        folder = tmp_path / stage
        folder.mkdir(exist_ok=True)
        if stage in ("equalize", "split-channels", "center"):
            (folder / MODEL).touch()
        if stage in ("calibrate", "choose-clipping", "split-channels", "center"):
            (folder / STATISTICS).touch()
        return Entry(path=folder, key=stage, reused=False, seconds=0.0)

    monkeypatch.setattr(StageRunner, "run", run)
    runner = StageRunner(store=Store(tmp_path / "store"))
    model = Entry(path=tmp_path, key="model", reused=True, seconds=0.0)
    images = ImageSet(name="", split="", items=(), classes=())

    def of(scheme: str, method: str) -> list[tuple[str, str]]:
        made.clear()
        quantize(runner, model, Variant(scheme=scheme, method=method), images, 0)
        return made

    seen = [("equalize", ""), ("calibrate", ""), ("choose-clipping", "calibrate")]
    around_zero = [("split-channels", "choose-clipping"), ("center", "split-channels")]
    assert of("tensorrt", "round") == [*seen, *around_zero, ("quantize", "center")]
    assert of("ort-x86-vnni", "round") == [*seen, ("quantize", "choose-clipping")]
    assert of("tensorrt", "minmax") == [("calibrate", ""), ("quantize", "calibrate")]
