"""Ultralytics' models of instance masks, and their ONNX files: the masks are those of the library's predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from edgewright.core.spec import ModelSpec
from edgewright.export.exporter import ExportRequest, export
from edgewright.graph import compare
from edgewright.graph import files as onnx_files
from edgewright.tasks.instances.decode import read
from edgewright.tasks.instances.spec import of
from edgewright.vision import preprocess

library = pytest.importorskip("ultralytics")
SIDE, LEAST = 160, 0.05


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    y, x = np.mgrid[:120, :200]
    waves = 128 + 90 * np.sin(x / 9 + np.arange(3)[:, None, None]) * np.cos(y / 13)
    noise = np.random.default_rng(0).normal(0, 20, waves.shape)
    Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def lively(name: str, path: Path, photo: Path) -> Any:
    """A model with random weights that finds something in `photo`; its weights are written to `path`."""
    from safetensors.torch import save_file

    torch.manual_seed(3)
    model, random = library.YOLO(name), np.random.default_rng(3)
    module = model.model
    for norm in (part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)):
        norm.momentum = 0.5
    with Image.open(photo) as image:
        pixels = np.asarray(image.resize((SIDE, SIDE))).transpose(2, 0, 1) / np.float32(255)
    x = torch.from_numpy(np.stack([pixels, pixels[:, ::-1].copy()]))
    head, seen = module.model[-1], dict[Any, float]()

    def note(layer: Any, given: Any, _output: Any) -> None:
        seen[layer] = float(given[0].square().mean().sqrt())

    classes = [level[-1] for prefix in ("", "one2one_") for level in getattr(head, f"{prefix}cv3", None) or ()]
    hooks = [layer.register_forward_hook(note) for layer in classes]
    with torch.no_grad():
        module.train()
        for _ in range(8):
            module(x)
        module.eval()
        module(x)  # the features as they are after training
    for hook in hooks:
        hook.remove()
    for layer in classes:  # logits of -5 with a deviation of 2: no score rounds to 1
        scale = 2 / (seen[layer] * layer.weight.shape[1] ** 0.5)
        layer.weight.data = torch.from_numpy(random.normal(0, scale, tuple(layer.weight.shape)).astype(np.float32))
        layer.bias.data[:] = -5
    for prefix in ("", "one2one_"):
        for level in getattr(head, f"{prefix}cv2", None) or ():
            level[-1].weight.data *= 10
    save_file({key: value.contiguous().clone() for key, value in module.state_dict().items()}, path)
    return model


def masks(folder: Path, spec: ModelSpec, photo: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """(box, score and class; mask) of each object that the exported file finds and whose mask has pixels."""
    outputs = compare.run(onnx_files.load(folder / "model.onnx"), preprocess.batch([photo], spec))
    with Image.open(photo) as image:
        (found,) = read(outputs, spec, [image.size], LEAST)
    rows = np.column_stack([found.boxes, found.scores, found.indices])
    return [(row, mask) for row, mask in zip(rows, found.masks) if mask.any()]


def require_same(ours: list[tuple[np.ndarray, np.ndarray]], theirs: Any) -> None:
    """Each object of the library's predictor has one of ours with its box, score, class and mask."""
    height, width = theirs.orig_shape
    rows = theirs.boxes.data.numpy()
    rows[:, :4] = rows[:, :4].clip(0, (width, height, width, height))
    checked = 0
    for row, mask in zip(rows, theirs.masks.data.numpy() > 0):
        if row[4] < LEAST + 2e-3:
            continue
        near = [
            m for r, m in ours
            if r[5] == row[5] and np.abs(r[:4] - row[:4]).max() < 0.5 and abs(r[4] - row[4]) < 1e-3
        ]  # fmt: skip
        assert near, row
        # A corner next to a whole number can round to the other side, so a mask may differ at its border.
        assert min(int((one != mask).sum()) for one in near) <= 4 + 2 * sum(mask.shape)
        checked += min(int((one != mask).sum()) for one in near) == 0
    assert checked > 0.6 * len(rows) > 3


@pytest.mark.parametrize("name", ["yolo11n-seg.yaml", "yolo26n-seg.yaml"])
def test_masks_of_a_source_are_those_of_the_librarys_predictor(name: str, photo: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    model = lively(name, weights, photo)
    spec = export(
        f"ultralytics:{name}?imgsz={SIDE}", tmp_path / "out",
        ExportRequest(checkpoint=str(weights), images=[str(photo)]),
    )  # fmt: skip
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    assert [value.name for value in graph.output] == ["head", "coefficients", "prototypes"]
    assert (of(spec).coefficients, of(spec).mask_stride) == (32, 4)
    alone = False if "26" in name else None
    (theirs,) = model.predict(
        photo, imgsz=SIDE, rect=False, conf=LEAST, retina_masks=True, verbose=False, device="cpu", nms=alone
    )
    require_same(masks(tmp_path / "out", spec, photo), theirs)


@pytest.mark.parametrize(
    ("arguments", "decoder"), [({}, "dfl"), ({"dynamic": True, "simplify": False}, "dfl"), ({"nms": True}, "end2end")]
)
def test_a_file_that_the_library_exported_gives_its_masks(
    arguments: dict[str, Any], decoder: str, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = lively("yolo11n-seg.yaml", tmp_path / "weights.safetensors", photo)
    model.model.names = {k: f"thing {k}" for k in range(80)}
    file = str(model.export(format="onnx", imgsz=SIDE, verbose=False, device="cpu", **arguments))
    spec = export(file, tmp_path / "out", ExportRequest(images=[str(photo)]))
    assert (of(spec).decoder, spec.label(3)) == (decoder, "thing 3")
    (theirs,) = library.YOLO(file, task="segment").predict(
        photo, imgsz=SIDE, rect=False, conf=LEAST, retina_masks=True, verbose=False, device="cpu"
    )
    if decoder == "end2end":  # the graph leaves out boxes with a score below 0.25
        theirs = theirs[theirs.boxes.conf >= 0.25]
    require_same(masks(tmp_path / "out", spec, photo), theirs)
