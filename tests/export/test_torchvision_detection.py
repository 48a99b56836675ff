"""torchvision's detectors, exported as raw heads, give the boxes of torchvision's own forward()."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from edgewright.boxes import anchors
from edgewright.core.errors import InvalidInput, Unavailable
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.export import exporter, overrides
from edgewright.export.sources import torchvision, torchvision_detection
from edgewright.tasks.detect.answer import Detections
from edgewright.tasks.detect.decode import read
from edgewright.tasks.detect.spec import of
from edgewright.vision import preprocess

SSDLITE, RETINANET = "ssdlite320_mobilenet_v3_large", "retinanet_resnet50_fpn"
SIZE = (256, 320)
MEAN = [124 / 255, 116 / 255, 104 / 255]
"""Of whole grey levels, so that the padding of 8-bit pixels is torchvision's to the bit."""
SCORE = 0.05


class Pair(NamedTuple):
    """torchvision's own model, and the file of its weights."""

    model: Any
    checkpoint: Path


def photo(name: str) -> Image.Image:
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image(name))


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def whole(image: Image.Image, width: int, height: int, times: tuple[int, int]) -> Image.Image:
    """`image` at `width` x `height`, each pixel then repeated: resized back, it is the same bits in every library."""
    small = image.resize((width, height))
    return small.resize((width * times[0], height * times[1]), Image.Resampling.NEAREST)


def run(model: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        found: dict[str, torch.Tensor] = model.head(list(model.backbone(x).values()))
    return found


def spread(model: Any, x: torch.Tensor, last: tuple[list[Any], list[Any]], deltas: float) -> None:
    """Give a random `model` the statistics of `x`, and its last layers weights that spread scores and boxes."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    model.train()
    run(model, x)
    model.eval()
    found = run(model, x)
    with torch.no_grad():
        for layers, key, wanted in zip(last, ("cls_logits", "bbox_regression"), (1.5, deltas)):
            for layer in layers:
                layer.weight *= wanted / found[key].std()


def saved(model: Any, folder: Path) -> Pair:
    path = folder / "weights.pt"
    torch.save(model.state_dict(), path)
    return Pair(model, path)


@pytest.fixture(scope="module")
def ssdlite(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    from torchvision.models import detection

    torch.manual_seed(0)
    model = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, score_thresh=SCORE).eval()
    parts = (model.head.classification_head, model.head.regression_head)
    last = [[block[-1] for block in part.module_list] for part in parts]
    x = model.transform([tensor(photo("china.jpg")), tensor(photo("flower.jpg"))])[0].tensors
    spread(model, x, (last[0], last[1]), 2.0)
    with torch.no_grad():
        for layer in last[0]:
            layer.bias.view(-1, 91)[:, 0] += 6  # most cells are background
    return saved(model, tmp_path_factory.mktemp("ssdlite"))


@pytest.fixture(scope="module")
def retinanet(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    from torchvision.models import detection

    torch.manual_seed(0)
    model = detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=6, min_size=SIZE[0], max_size=SIZE[1], image_mean=MEAN
    ).eval()
    # Its images are padded to the whole input, as they are here.
    model.transform.size_divisible, model.topk_candidates = 64, 10**6
    x = model.transform([tensor(photo(name).crop((0, 0, 640, 400))) for name in ("china.jpg", "flower.jpg")])[0].tensors
    head = model.head
    spread(model, x, ([head.classification_head.cls_logits], [head.regression_head.bbox_reg]), 0.2)
    return saved(model, tmp_path_factory.mktemp("retinanet"))


def loaded(name: str, options: dict[str, Any], pair: Pair) -> tuple[Any, ModelSpec]:
    made = torchvision.trainable(name, options, str(pair.checkpoint)).load()
    return made.model, overrides.build(made.spec, name)


def assert_same(found: Detections, truth: dict[str, torch.Tensor]) -> None:
    """Equal as sets: each box of one has its own partner in the other."""
    assert len(found) == len(truth["scores"]) > 50
    free = np.ones(len(found), bool)
    for box, score, label in zip(*(truth[key].numpy() for key in ("boxes", "scores", "labels"))):
        near = (abs(found.boxes - box).max(axis=1) < 0.5) & (abs(found.scores - score) < 1e-3)
        (partners,) = np.nonzero(free & near & (found.indices == label))
        assert len(partners), f"nothing is like {box} of class {label} with score {score}"
        free[partners[0]] = False


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_ssdlite_gives_torchvisions_boxes(ssdlite: Pair, name: str) -> None:
    module, spec = loaded(SSDLITE, {}, ssdlite)
    image = whole(photo(name), 320, 320, (4, 2))
    with torch.no_grad():
        truth = ssdlite.model([tensor(image)])[0]
        outputs = [array.numpy() for array in module(torch.from_numpy(preprocess.batch([image], spec)))]
    assert_same(read(outputs, spec, [image.size], score=SCORE)[0], truth)


@pytest.mark.parametrize(("name", "height"), [("china.jpg", 256), ("flower.jpg", 200)])
def test_retinanet_gives_torchvisions_boxes_in_a_letterbox_too(retinanet: Pair, name: str, height: int) -> None:
    options = {"size": "256x320", "num_classes": 6, "image_mean": MEAN}
    module, spec = loaded(RETINANET, options, retinanet)
    image = whole(photo(name), 320, height, (2, 2))
    with torch.no_grad():
        truth = retinanet.model([tensor(image)])[0]
        outputs = [array.numpy() for array in module(torch.from_numpy(preprocess.batch([image], spec)))]
    assert of(spec).score_eval == 0.05 and spec.labels == ()
    assert_same(read(outputs, spec, [image.size], score=of(spec).score_eval)[0], truth)


def test_pixels_are_torchvisions_to_one_grey_level(ssdlite: Pair) -> None:
    _, spec = loaded(SSDLITE, {}, ssdlite)
    for image in (photo("china.jpg"), photo("flower.jpg")):
        wanted = ssdlite.model.transform([tensor(image)])[0].tensors.numpy()
        levels = abs(preprocess.batch([image], spec) - wanted) * 0.5 * 255
        assert levels.max() <= 1 and levels.mean() < 0.35


@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_margin_of_a_letterbox_may_have_a_colour(color: Literal["RGB", "BGR"], mode: str) -> None:
    p = Preprocess(resize="letterbox", resize_to=(8, 8), align="corner", pad=(1, 2, 3), color=color, normalize="graph")
    i = Input(height=8, width=8, layout="NHWC", dtype="uint8")
    made = preprocess.preprocess(Image.new(mode, (8, 4), 200 if mode == "L" else (10, 20, 30)), p, i)
    inside = [200] * 3 if mode == "L" else [10, 20, 30] if color == "RGB" else [30, 20, 10]
    assert (made[:4] == inside).all() and (made[4:] == [1, 2, 3]).all()


def test_the_exported_graph_holds_no_decoding_and_answers_the_same(ssdlite: Pair, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    spec = exporter.export(
        f"torchvision:{SSDLITE}", tmp_path, exporter.ExportRequest(checkpoint=str(ssdlite.checkpoint))
    )
    graph = onnx.load(tmp_path / "model.onnx").graph
    kinds = {node.op_type for node in graph.node}
    assert not kinds & {"NonZero", "NonMaxSuppression", "TopK", "Gather", "ScatterND", "If", "Loop", "Exp", "Softmax"}
    assert [output.name for output in graph.output] == ["logits", "deltas"]
    assert len(msgspec.json.encode(of(spec).anchors)) < 2000
    image = whole(photo("china.jpg"), 320, 320, (2, 4))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    outputs = session.run(list(spec.outputs), {spec.input.name: preprocess.batch([image], spec)})
    with torch.no_grad():
        truth = ssdlite.model([tensor(image)])[0]
    assert_same(read(outputs, spec, [image.size], score=SCORE)[0], truth)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (SSDLITE, {}), ("ssd300_vgg16", {}), (RETINANET, {"size": "256x320"}), (RETINANET, {"size": "160x96"}),
        ("retinanet_resnet50_fpn_v2", {"size": "128x416"}),
    ],
)  # fmt: skip
def test_anchors_are_those_of_torchvisions_generators(name: str, options: dict[str, Any]) -> None:
    from torchvision.models import detection
    from torchvision.models.detection.image_list import ImageList

    spec = overrides.build(torchvision.trainable(name, {"pretrained": False, **options}).load().spec, name)
    d, size = of(spec), (spec.input.height, spec.input.width)
    assert len(spec.labels) == len(set(spec.labels)) == spec.classes == 91
    assert spec.labels[:2] == ("__background__", "person")
    maps = [torch.zeros(1, 1, level.rows, level.columns) for level in d.anchors]
    if name == SSDLITE:
        generator: Any = detection.anchor_utils.DefaultBoxGenerator([[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95)
    elif name == "ssd300_vgg16":
        generator = detection.anchor_utils.DefaultBoxGenerator(
            [[2], [2, 3], [2, 3], [2, 3], [2], [2]], scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
            steps=[8, 16, 32, 64, 100, 300],
        )  # fmt: skip
    else:
        generator = detection.retinanet._default_anchorgen()
    (wanted,) = generator(ImageList(torch.zeros(1, 3, *size), [size]), maps)
    x, y, w, h = anchors.grid(d.anchors, d.offset).T
    np.testing.assert_allclose(np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1), wanted, atol=1e-4)


def test_the_spec_holds_the_limits_that_the_model_was_built_with() -> None:
    made = torchvision.trainable(
        SSDLITE, {"pretrained": False, "num_classes": 3, "nms_thresh": 0.3, "detections_per_img": 7}
    ).load()
    spec = overrides.build(made.spec, "x")
    assert (of(spec).iou, of(spec).most, of(spec).scores) == (0.3, 7, "softmax")
    assert (spec.classes, spec.labels, made.weights) == (3, (), "random, seed 0")
    assert (spec.preprocess.mean, spec.preprocess.std) == ((0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize("name", ["fasterrcnn_resnet50_fpn", "fcos_resnet50_fpn"])
def test_other_detectors_are_refused_with_those_that_are_supported(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        torchvision.trainable(name, {"pretrained": False}).load()
    assert name in caught.value.what
    assert all(supported in caught.value.fix for supported in torchvision_detection.NAMES)


@pytest.mark.parametrize("size", ["800", "800x", "0x0", "256x330", "-32x32", 640])
def test_a_size_that_torchvision_would_pad_is_refused(size: object) -> None:
    with pytest.raises(InvalidInput, match="size="):
        torchvision.trainable(RETINANET, {"size": size, "pretrained": False}).load()


def test_options_that_would_be_ignored_are_refused() -> None:
    with pytest.raises(InvalidInput, match="min_size"):
        torchvision.trainable(RETINANET, {"min_size": 300, "pretrained": False}).load()
    with pytest.raises(InvalidInput, match="takes no option size"):
        torchvision.trainable(SSDLITE, {"size": "256x256", "pretrained": False}).load()


def test_a_misspelt_detector_is_named_and_no_network_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    with pytest.raises(InvalidInput, match=SSDLITE):
        torchvision.trainable("ssdlite320_mobilenet_v3", {}).load()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(Unavailable, match="pretrained=false"):
        torchvision.trainable(SSDLITE, {}).load()


@pytest.mark.parametrize(
    ("name", "instead"),
    [("maskrcnn_resnet50_fpn", "yolo11n-seg"), ("keypointrcnn_resnet50_fpn", "yolo11n-pose")],
)
def test_detectors_with_two_stages_are_refused_with_what_to_use_instead(name: str, instead: str) -> None:
    with pytest.raises(InvalidInput, match="is not supported") as caught:
        torchvision.trainable(name, {"pretrained": False})
    assert "second stage" in caught.value.why and instead in caught.value.fix and "tensors" in caught.value.fix
