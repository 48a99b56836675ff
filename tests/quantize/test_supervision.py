"""Boxes reach Ultralytics' own loss where preprocessing puts them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Detect, Input, ModelSpec, Preprocess
from edgewright.quantize import recovery, supervision
from edgewright.quantize.schedule import Schedule
from edgewright.quantize.views import Batch, Views

SPEC = ModelSpec(
    name="yolo", task="detect", input=Input(height=32, width=32), classes=2, outputs=("head",),
    preprocess=Preprocess(resize="letterbox", resize_to=(32, 32), interpolation="opencv"),
    detect=Detect(decoder="dfl", bins=16, scores="sigmoid"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small wait for threads longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("boxes")
    for index in range(16):
        Image.new("RGB", (64, 32), (8 * index, 100, 200)).save(folder / f"{index:02}.png")
    return [str(path) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def yolo():
    tasks = pytest.importorskip("ultralytics.nn.tasks")
    torch.manual_seed(0)
    return tasks.DetectionModel("yolov8n.yaml", nc=2, verbose=False)


def test_boxes_lie_where_the_image_lies_and_are_mirrored_with_it(images: list[str]) -> None:
    placed = supervision._placed(images[0], [(1, 0, 0, 32, 32), (0, 70, 0, 90, 20)], SPEC)
    # 64 x 32 becomes 32 x 16 with 8 rows above; what lies outside the image is no box.
    assert placed.tolist() == [[1, 0.25, 0.5, 0.5, 0.5]]
    assert supervision._mirrored(placed).tolist() == [[1, 0.75, 0.5, 0.5, 0.5]]
    assert supervision._placed(images[0], [], SPEC).shape == (0, 5)


def test_the_loss_is_the_librarys_own(images: list[str], yolo) -> None:
    boxes = [[(index % 2, 4.0, 2.0, 40.0, 30.0)] for index in range(16)]
    loss = supervision.ultralytics(images, boxes, SPEC)
    pixels = Views(images, SPEC).evaluation([3, 4])
    yolo.train()
    given = yolo(pixels)
    found = loss(yolo, given, Batch(pixels, [3, 4], [False, True]))
    own = {
        "img": pixels, "batch_idx": torch.tensor([0.0, 1.0]), "cls": torch.tensor([[1.0], [0.0]]),
        "bboxes": torch.tensor([[22 / 64, 0.5, 36 / 64, 14 / 32], [42 / 64, 0.5, 36 / 64, 14 / 32]]),
    }  # fmt: skip
    wanted = yolo.loss(own, given)[0].sum() / 2
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    with pytest.raises(InvalidInput, match="has no loss of Ultralytics"):
        loss(torch.nn.Identity(), None, Batch(pixels, [3, 4], [False, False]))
    assert not isinstance(yolo.args, SimpleNamespace) or hasattr(yolo.args, "box")


def test_a_detector_learns_from_teacher_and_boxes(images: list[str], yolo) -> None:
    import copy

    def maps(module, pixels):
        given = module(pixels)
        given = given[1] if isinstance(given, tuple) else given
        return [torch.cat([given["boxes"], given["scores"]], 1)]

    student = copy.deepcopy(yolo)
    boxes = [[(0, 4.0, 2.0, 40.0, 30.0)]] * 16
    history = recovery.recover(
        student, yolo, images, maps, spec=SPEC, schedule=Schedule(epochs=2, batch=7, features=0.1),
        supervised=supervision.ultralytics(images, boxes, SPEC),
    )  # fmt: skip
    assert history.metric == "loss" and history.labels and not history.mirror
    assert len(history.features) >= 3 and not any(name.startswith("model.22") for name in history.features), "no head"
    assert history.epochs[1].loss < history.epochs[0].loss
