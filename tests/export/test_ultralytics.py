"""Detectors of Ultralytics: our export and our decoding give the boxes of the library's own predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edgewright.boxes.decode import all_cells
from edgewright.core.description import structured
from edgewright.core.errors import IntegrityError, InvalidInput, Unavailable
from edgewright.core.spec import Input, ModelSpec, convert, flat_input
from edgewright.export.exporter import ExportRequest, export
from edgewright.export.sources import ultralytics as source
from edgewright.export.sources import ultralytics_onnx
from edgewright.graph import clean, compare, inputs, upcast, upgrade
from edgewright.graph import files as onnx_files
from edgewright.tasks.classify import spec as classify
from edgewright.tasks.detect.answer import Detections
from edgewright.tasks.detect.decode import read
from edgewright.tasks.detect.spec import of
from edgewright.vision import preprocess
from edgewright.vision.image import open_image

library = pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")
IMAGES = sorted(library.ASSETS.glob("*.jpg"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))


def lively(name: str, path: Path, side: int) -> Any:
    """A model of the library with seeded weights whose answers differ from place to place; its weights in `path`.

    Batch norms are set by what they see on the two images, and the last layers' weights are raised: with those that the
    library begins with, all cells answer nearly the same, and any of them may be the best.
    """
    from safetensors.torch import save_file
    from ultralytics import RTDETR, YOLO

    torch.manual_seed(0)
    model = (RTDETR if name.startswith("rtdetr") else YOLO)(name)
    random = np.random.default_rng(0)
    module = model.model
    for norm in (m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.momentum = 0.5
    x = torch.from_numpy(
        np.stack([np.asarray(open_image(p).resize((side, side))) for p in IMAGES]).transpose(0, 3, 1, 2)
        / np.float32(255)
    )
    module.train()
    with torch.no_grad():
        for _ in range(8):
            module(x)
    head = module.model[-1]
    for part in (
        *getattr(head, "cv3", []),
        *(getattr(head, "one2one_cv3", None) or []),
        *getattr(head, "dec_score_head", []),
    ):
        last = part[-1] if isinstance(part, torch.nn.Sequential) else part
        last.weight.data = torch.from_numpy(random.normal(0, 1, tuple(last.weight.shape)).astype(np.float32)) * 0.3
        last.bias.data[:] = -6
    for part in (*getattr(head, "cv2", []), *(getattr(head, "one2one_cv2", None) or [])):
        part[-1].weight.data *= 10
    module.eval()
    save_file({k: v.contiguous().clone() for k, v in module.state_dict().items()}, path)
    return model


def theirs(model: Any, image: Path, side: int, least: float) -> np.ndarray:
    """(boxes, 6): x1, y1, x2, y2, score, class of the library's predictor; YOLO26 by its head that needs no NMS."""
    nms = False if "26" in model.model.yaml["yaml_file"] else None
    (found,) = model.predict(image, imgsz=side, rect=False, conf=least, verbose=False, device="cpu", nms=nms)
    rows: np.ndarray = found.boxes.data.numpy()
    height, width = found.orig_shape
    rows[:, :4] = rows[:, :4].clip(0, (width, height, width, height))  # the library leaves RT-DETR's as they are
    return rows


def ours(folder: Path, spec: ModelSpec, image: Path, least: float) -> np.ndarray:
    model = onnx_files.load(folder / "model.onnx")
    outputs = compare.run(model, preprocess.batch([image], spec))
    found: Detections = read(outputs, spec, [open_image(image).size], least)[0]
    return np.hstack([found.boxes, found.scores[:, None], found.indices[:, None]])


def unmatched(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The rows of `a` without one in `b` of the same class, within half a pixel and 1e-3 in score."""
    near = (np.abs(a[:, None, :4] - b[None, :, :4]).max(-1) <= 0.5) & (np.abs(a[:, None, 4] - b[None, :, 4]) <= 1e-3)
    near &= a[:, None, 5] == b[None, :, 5]
    return a[~near.any(1)]


@pytest.mark.parametrize(
    "name",
    ["yolov8n.yaml", "yolo11n.yaml", "yolo26n.yaml", pytest.param("rtdetr-l.yaml", marks=pytest.mark.slow)],
)
def test_boxes_are_those_of_the_librarys_predictor(name: str, tmp_path: Path) -> None:
    side, least = 160 if name.startswith("rtdetr") else 320, 0.02
    weights = tmp_path / "weights.safetensors"
    model = lively(name, weights, side)
    spec = export(
        f"ultralytics:{name}?imgsz={side}",
        tmp_path / "out",
        ExportRequest(checkpoint=str(weights), images=[str(p) for p in IMAGES]),
    )
    for image in IMAGES:
        first, second = theirs(model, image, side, least), ours(tmp_path / "out", spec, image, least)
        assert len(first) > 10
        edge = least + 2e-3  # what lies at the threshold itself may be on either side of it
        assert not len(unmatched(first[first[:, 4] > edge], second)), unmatched(first[first[:, 4] > edge], second)
        assert not len(unmatched(second[second[:, 4] > edge], first)), unmatched(second[second[:, 4] > edge], first)


@pytest.mark.parametrize("name", ["yolo26n.yaml", "yolo11n.yaml"])
def test_the_exported_graph_ends_at_the_raw_head(name: str, tmp_path: Path) -> None:
    spec = export(f"ultralytics:{name}?imgsz=64&nc=3", tmp_path)
    graph = onnx.load(tmp_path / "model.onnx").graph
    bins = 1 if name.startswith("yolo26") else 16
    assert (of(spec).bins, of(spec).iou) == (bins, 1.0 if bins == 1 else 0.7)
    (output,) = graph.output
    assert [d.dim_value for d in output.type.tensor_type.shape.dim] == [1, 4 * bins + 3, 64 + 16 + 4]
    assert not {"TopK", "NonMaxSuppression", "GatherElements", "Exp"} & {node.op_type for node in graph.node}
    # Its last Softmax, if any, is the attention of the backbone: none belongs to a distribution over distances.
    assert graph.node[-1].op_type == "Concat"


@pytest.mark.parametrize("name", ["yolo11n.yaml", "yolo26n.yaml"])
@pytest.mark.parametrize("nms", [None, False], ids=["one to many", "no suppression"])
def test_a_file_that_the_library_exported_needs_no_description(
    name: str, nms: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if nms is False and name == "yolo11n.yaml":
        pytest.skip("YOLO11 has one head only")
    monkeypatch.chdir(tmp_path)  # the library writes beside itself
    side, least = 320, 0.02
    model = lively(name, tmp_path / "weights.safetensors", side)
    model.model.names = {k: f"thing {k}" for k in range(80)}
    file = model.export(format="onnx", imgsz=side, nms=nms, verbose=False)
    spec = export(str(file), tmp_path / "out", ExportRequest(images=[str(p) for p in IMAGES]))
    assert of(spec).decoder == ("end2end" if nms is False else "dfl")
    assert spec.label(3) == "thing 3"
    cut = "was removed from the graph" in (tmp_path / "out" / "parity.json").read_text()
    assert cut == (of(spec).decoder == "dfl"), "a change to the user's graph is told"
    for image in IMAGES:
        (found,) = library.YOLO(file, task="detect").predict(image, imgsz=side, conf=least, verbose=False, device="cpu")
        first, second = found.boxes.data.numpy(), ours(tmp_path / "out", spec, image, least)
        assert len(first) > 10
        assert not len(unmatched(first[first[:, 4] > least + 2e-3], second))
        assert not len(unmatched(second[second[:, 4] > least + 2e-3], first))


def opened(path: str) -> tuple[ModelSpec, onnx.ModelProto, tuple[str, ...]]:
    """What the source makes of the file that the library exported to `path`."""
    model = onnx_files.load(path)
    clean.apply(model)
    upcast.apply(model)
    upgrade.apply(model)
    image = inputs.image(model, ultralytics_onnx.size_of(model))
    fields, notes = ultralytics_onnx.read(model, image)
    fields |= {"name": "m", "input": flat_input(image), "outputs": tuple(value.name for value in model.graph.output)}
    return convert(structured(fields), ModelSpec), model, notes


@pytest.mark.parametrize(
    ("name", "arguments", "decoder"),
    [
        ("yolo11n.yaml", {"dynamic": True}, "dfl"),
        ("yolo11n.yaml", {"dynamic": True, "simplify": False, "opset": 12, "imgsz": (256, 352)}, "dfl"),
        ("yolo11n.yaml", {"batch": 4, "imgsz": (256, 352)}, "dfl"),
        ("yolo11n.yaml", {"nms": True, "conf": 0.01}, "end2end"),
        ("yolo11n.yaml", {"nms": True, "dynamic": True, "conf": 0.01}, "end2end"),
        ("yolo26n.yaml", {"dynamic": True}, "dfl"),
        ("yolo26n.yaml", {"nms": False, "dynamic": True}, "end2end"),
        ("yolov8n-p2.yaml", {"dynamic": True}, "dfl"),
        pytest.param("rtdetr-l.yaml", {}, "set", marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_export_gives_the_boxes_of_the_librarys_predictor(
    name: str, arguments: dict[str, Any], decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    side, least = (160, 0.05) if name.startswith("rtdetr") else (320, 0.05)
    size = arguments.get("imgsz", (side, side))
    model = lively(name, tmp_path / "weights.safetensors", side)
    model.model.names = {k: f"thing {k}" for k in range(80)}
    file = str(model.export(format="onnx", device="cpu", verbose=False, **{"imgsz": size, **arguments}))
    spec, graph, notes = opened(file)
    assert (of(spec).decoder, (spec.input.height, spec.input.width), spec.label(3)) == (decoder, size, "thing 3")
    assert any("removed from the graph" in note for note in notes) == (decoder != "end2end")
    assert any("nms=True" in note for note in notes) == bool(arguments.get("nms"))
    if decoder == "dfl":  # at the limit boxes of equal score may be chosen otherwise
        spec = spec.with_task(most=3000)
    for image in IMAGES:
        theirs = library.RTDETR(file) if name.startswith("rtdetr") else library.YOLO(file, task="detect")
        x = np.repeat(preprocess.batch([image], spec), spec.input.batch or 1, axis=0)
        outputs = [array[:1] for array in compare.run(graph, x)]
        found = read(outputs, spec, [open_image(image).size], least)[0]
        second = np.hstack([found.boxes, found.scores[:, None], found.indices[:, None]])
        given = [image] * arguments.get("batch", 1)
        first = theirs.predict(
            given, imgsz=size, conf=least, rect=False, batch=len(given), max_det=3000, verbose=False, device="cpu"
        )[0]
        height, width = first.orig_shape
        rows = first.boxes.data.numpy()
        rows[:, :4] = rows[:, :4].clip(0, (width, height, width, height))
        assert len(rows) > 5
        for one, other in ((rows, second), (second, rows)):
            # Of two boxes whose overlap is at the limit of suppression either may go.
            assert len(unmatched(one[one[:, 4] > least + 2e-3], other)) <= 0.01 * len(one)


def test_the_layout_of_older_exports_is_cut_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before version 8.4 distances and class scores of a level were joined, and split when all levels were."""
    from ultralytics.nn.modules.head import Detect
    from ultralytics.utils.tal import make_anchors

    def forward(self: Any, features: list[torch.Tensor]) -> torch.Tensor:
        maps = [torch.cat((a(x), b(x)), 1) for a, b, x in zip(self.cv2, self.cv3, features)]
        joined = torch.cat([one.view(one.shape[0], self.no, -1) for one in maps], 2)
        anchors, strides = (one.transpose(0, 1) for one in make_anchors(maps, self.stride, 0.5))
        box, scores = joined.split((self.reg_max * 4, self.nc), 1)
        boxes = self.decode_bboxes(self.dfl(box), anchors.unsqueeze(0)) * strides
        return torch.cat((boxes, scores.sigmoid()), 1)

    monkeypatch.chdir(tmp_path)
    model = lively("yolo11n.yaml", tmp_path / "weights.safetensors", 160)
    monkeypatch.setattr(Detect, "forward", forward)
    spec, _, notes = opened(str(model.export(format="onnx", imgsz=160, device="cpu", verbose=False)))
    assert (of(spec).decoder, of(spec).bins) == ("dfl", 16)
    assert "removed from the graph" in notes[0]  # which is only said where all boxes are the same


def test_an_export_in_half_precision_is_cut_and_answers_as_in_float(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = lively("yolo11n.yaml", tmp_path / "weights.safetensors", 160)
    whole = opened(str(model.export(format="onnx", imgsz=160, device="cpu", verbose=False)))
    half = opened(str(model.export(format="onnx", imgsz=160, half=True, device="cpu", verbose=False)))
    found = []
    for spec, graph, notes in (whole, half):
        assert of(spec).decoder == "dfl"
        assert any("removed from the graph" in note for note in notes)
        found.append(all_cells(compare.run(graph, preprocess.batch([IMAGES[0]], spec)), spec))
    (boxes, scores), (other_boxes, other_scores) = found
    assert np.median(np.abs(boxes - other_boxes)) < 0.5
    assert np.abs(scores - other_scores).mean() < 0.01 < scores.std()


@pytest.mark.parametrize("arguments", [{"imgsz": 64}, {"imgsz": 64, "dynamic": True}, {"imgsz": (64, 96)}])
def test_a_classifier_that_the_library_exported_is_read_as_its_predictor_does(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = library.YOLO("yolo11n-cls.yaml")
    model.model.names = {k: f"thing {k}" for k in range(1000)}
    model.model.model[-1].linear.weight.data *= 30  # with the weights that it begins with all classes are alike
    file = str(model.export(format="onnx", device="cpu", verbose=False, **arguments))
    spec, graph, _ = opened(file)
    assert (spec.task.kind, classify.of(spec).scores, spec.classes, spec.label(7)) == (
        "classify",
        "none",
        1000,
        "thing 7",
    )
    for image in IMAGES:
        (found,) = library.YOLO(file, task="classify").predict(
            image, imgsz=arguments["imgsz"], verbose=False, device="cpu"
        )
        (scores,) = compare.run(graph, preprocess.batch([image], spec))
        np.testing.assert_allclose(scores[0], found.probs.data.numpy(), atol=1e-4)


def test_an_export_for_another_task_is_refused_by_its_name(tmp_path: Path) -> None:
    model = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    onnx.helper.set_model_props(model, {"author": "Ultralytics", "task": "track"})
    with pytest.raises(InvalidInput, match="for the task 'track'"):
        ultralytics_onnx.spec_of(model, Input(height=64, width=64))


def test_an_export_with_rotated_boxes_needs_no_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = library.YOLO("yolo11n-obb.yaml").export(format="onnx", imgsz=64, device="cpu", verbose=False)
    spec = export(str(file), tmp_path / "out")
    assert spec.task.kind == "obb" and (spec.task.decoder, spec.task.score_eval) == ("boxes", 0.01)  # type: ignore[attr-defined]


def test_a_local_checkpoint_loads_only_when_it_is_trusted(tmp_path: Path) -> None:
    model = library.YOLO("yolo11n.yaml")
    model.model.names = {k: f"thing {k}" for k in range(80)}
    model.model.args = {"imgsz": 96}
    path = tmp_path / "mine.pt"
    torch.save({"model": model.model, "train_args": {"imgsz": 96}}, path)
    with pytest.raises(IntegrityError, match="--trust-checkpoint"):
        source.trainable(str(path), {}).load()
    loaded = source.trainable(str(path), {}, trust=True).load()
    assert loaded.spec["input"]["height"] == 96
    assert loaded.spec["labels"][:2] == ("thing 0", "thing 1")
    assert loaded.weights == str(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InvalidInput, match=r"mine\.pt cannot be read"):
        source.trainable(str(path), {}, trust=True).load()


EVIL = "__import__('pathlib').Path('PWNED').write_text('x') and torch.nn.SiLU()"


@pytest.mark.parametrize("what", [f'activation: "{EVIL}"', "head: [[-1, 1, load_checkpoint, [evil.pt]]]"])
def test_code_in_a_local_description_never_runs(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml
    from ultralytics.nn.tasks import yaml_model_load

    monkeypatch.chdir(tmp_path)
    plain = {k: v for k, v in yaml_model_load("yolo11n.yaml").items() if k != "yaml_file"}
    Path("mine.yaml").write_text(yaml.safe_dump(plain))
    assert source.trainable("mine.yaml", {"nc": 2, "imgsz": 64}).load().spec["classes"] == 2
    key, value = next(iter(yaml.safe_load(what).items()))
    head = [*value, *plain["head"]] if key == "head" else plain["head"]
    Path("evil.yaml").write_text(yaml.safe_dump({**plain, "head": head, **({key: value} if key != "head" else {})}))
    with pytest.raises(IntegrityError, match="not a torch module"):
        source.trainable("evil.yaml", {}).load()
    assert not Path("PWNED").exists()
    Path("odd.yaml").write_text("nc: 3\n")
    with pytest.raises(InvalidInput, match="cannot build"):
        source.trainable("odd.yaml", {}).load()


def test_official_weights_that_cannot_be_fetched_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from ultralytics.utils import downloads

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(downloads, "safe_download", offline)
    with pytest.raises(Unavailable, match=r"yolo11n\.pt cannot be downloaded"):
        source.trainable("yolo11n", {}).load()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("yolo99n", {}, "no weights 'yolo99n.pt'"),
        ("yolo99n.yaml", {}, "no model description"),
        ("yolo11n-cls.yaml", {}, "Classify"),
        ("yolo11n.yaml", {"imgsz": 100}, "a multiple of 32"),
        ("yolo11n.yaml", {"imgsz": "big"}, "imgsz is big"),
        ("yolo11n.yaml", {"width": 2}, "no option 'width'"),
        ("yolo11n.yaml", {"nc": 0}, "nc is 0"),
        ("yolo11n.yaml", {"nc": "abc"}, "nc is abc"),
        ("yolo11n.yaml", {"imgsz": 0}, "imgsz is 0"),
        ("yolov8n-p6.yaml", {"imgsz": 96}, "a multiple of 64"),
        ("yolo11n", {"nc": 3}, "no option 'nc'"),
    ],
)
def test_what_is_no_detector_of_the_library_is_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        source.trainable(name, options).load()
