"""Boxes reach Ultralytics' own loss where preprocessing puts them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.quantize.distillation import supervision
from edgewright.quantize.distillation import train as recovery
from edgewright.quantize.distillation.augment import Batch, Move, Views
from edgewright.quantize.distillation.schedule import Schedule
from edgewright.tasks.detect.spec import Detect

SPEC = ModelSpec(
    name="yolo",
    inputs=(
        Input(
            height=32, width=32, preprocess=Preprocess(resize="letterbox", resize_to=(32, 32), interpolation="opencv")
        ),
    ),
    outputs=("head",),
    task=Detect(decoder="dfl", bins=16, scores="sigmoid", classes=2),
)


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


def test_boxes_lie_where_the_image_lies_and_move_with_it(images: list[str]) -> None:
    placed = supervision._placed(images[0], [(1, 0, 0, 32, 32), (0, 70, 0, 90, 20)], SPEC)
    # 64 x 32 becomes 32 x 16 with 8 rows above; what lies outside the image is no box.
    assert placed.tolist() == [[1, 0.25, 0.5, 0.5, 0.5]]
    assert supervision._moved(placed, Move()).tolist() == placed.tolist()
    assert supervision._moved(placed, Move(mirrored=True)).tolist() == [[1, 0.75, 0.5, 0.5, 0.5]]
    assert supervision._moved(placed, Move(0.5, 0.5, 0.0)).tolist() == [[1, 0.625, 0.25, 0.25, 0.25]]
    # Twice as large, its left half outside the input, and then all but nothing of it.
    assert supervision._moved(placed, Move(2.0, -0.5, -0.5, True)).tolist() == [[1, 0.75, 0.5, 0.5, 1.0]]
    assert supervision._moved(placed, Move(2.0, -0.95, -0.5)).shape == (0, 5)
    assert supervision._placed(images[0], [], SPEC).shape == (0, 5)


def test_boxes_stay_around_what_they_are_drawn_around(tmp_path: Path) -> None:
    wide = SPEC.with_input(
        height=96, width=128,
        preprocess=Preprocess(resize="letterbox", resize_to=(96, 128), interpolation="opencv", pad=(10, 20, 30)),
    )  # fmt: skip
    grey = torch.tensor([10.0, 20.0, 30.0]) / 255
    image = Image.new("RGB", (128, 64), (10, 20, 30))
    image.paste((255, 255, 255), (30, 10, 90, 40))
    image.save(tmp_path / "box.png")
    path, views = str(tmp_path / "box.png"), Views([tmp_path / "box.png"], wide, zoom=0.4, mirror=True)
    placed = supervision._placed(path, [(0, 30, 10, 90, 40)], wide)
    zooms = set()
    for seed in range(12):
        batch = views.training([0], seed)
        zooms.add(batch.moves[0].zoom > 1)
        (_, x, y, width, height) = supervision._moved(placed, batch.moves[0])[0].tolist()
        bright = (batch.pixels[0].amin(0) > 0.5).nonzero()
        (top, left), (bottom, right) = bright.amin(0).tolist(), (bright.amax(0) + 1).tolist()
        told = [(x - width / 2) * 128, (y - height / 2) * 96, (x + width / 2) * 128, (y + height / 2) * 96]
        assert [left, top, right, bottom] == pytest.approx(told, abs=1.0)
        weight = ((batch.pixels[0] - grey[:, None, None]) / (1 - grey[:, None, None])).amin(0).clamp(0, 1)
        if min(left, top) > 1 and right < 127 and bottom < 95:
            # All of it is in sight: its centre, to a part of a pixel.
            rows, columns = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(128) + 0.5, indexing="ij")
            centre = [float((weight * place).sum() / weight.sum()) for place in (columns, rows)]
            assert centre == pytest.approx([x * 128, y * 96], abs=0.15)
        if batch.moves[0].zoom < 0.9:  # what was outside has the colour around a letterboxed image
            assert ((batch.pixels[0] - grey[:, None, None]).abs().amax(0) < 0.01)[[0, -1]].any()
    assert zooms == {False, True}


def test_views_are_enlarged_and_made_smaller_alike_and_put_anywhere(images: list[str]) -> None:
    views = Views(images, SPEC, zoom=0.5, mirror=True)
    moves = [move for seed in range(40) for move in views.training(range(16), seed).moves]
    assert min(move.zoom for move in moves) == pytest.approx(0.5**0.5, abs=0.02)
    assert max(move.zoom for move in moves) == pytest.approx(0.5**-0.5, abs=0.02)
    assert 0.4 < sum(move.zoom > 1 for move in moves) / len(moves) < 0.6
    assert 0.4 < sum(move.mirrored for move in moves) / len(moves) < 0.6
    # How far of the room that there is: a smaller image stays inside, a larger one fills.
    for side in ("right", "down"):
        shares = [getattr(move, side) / (1 - move.zoom) for move in moves]
        assert 0 <= min(shares) < 0.02 and 0.98 < max(shares) <= 1
        assert sum(shares) / len(shares) == pytest.approx(0.5, abs=0.06)
    apart = [move.right / (1 - move.zoom) - move.down / (1 - move.zoom) for move in moves]
    assert max(apart) > 0.8, "across and down are drawn each by itself"


def test_the_loss_is_the_librarys_own(images: list[str], yolo) -> None:
    boxes = [[(index % 2, 4.0, 2.0, 40.0, 30.0)] for index in range(16)]
    loss = supervision.ultralytics(images, boxes, SPEC)
    pixels = Views(images, SPEC).evaluation([3, 4])
    yolo.train()
    given = yolo(pixels)
    found = loss(yolo, given, Batch(pixels, [3, 4], [Move(), Move(mirrored=True)]))
    own = {
        "img": pixels, "batch_idx": torch.tensor([0.0, 1.0]), "cls": torch.tensor([[1.0], [0.0]]),
        "bboxes": torch.tensor([[22 / 64, 0.5, 36 / 64, 14 / 32], [42 / 64, 0.5, 36 / 64, 14 / 32]]),
    }  # fmt: skip
    wanted = yolo.loss(own, given)[0].sum() / 2
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    with pytest.raises(InvalidInput, match="has no Ultralytics loss"):
        loss(torch.nn.Identity(), None, Batch(pixels, [3, 4], [Move(), Move()]))
    assert not isinstance(yolo.args, SimpleNamespace) or hasattr(yolo.args, "box")


def test_a_detector_learns_from_teacher_and_boxes(images: list[str], yolo) -> None:
    import copy

    def maps(module, pixels):
        given = module(pixels)
        given = given[1] if isinstance(given, tuple) else given
        return [torch.cat([given["boxes"], given["scores"]], 1)]

    student = copy.deepcopy(yolo)
    boxes = [[(0, 4.0, 2.0, 40.0, 30.0)]] * 16
    how = recovery.Distillation(
        spec=SPEC, schedule=Schedule(epochs=2, batch=7, features=0.1),
        supervised=supervision.ultralytics(images, boxes, SPEC),
    )  # fmt: skip
    history = recovery.recover(student, yolo, images, maps, how)
    assert history.metric == "loss" and history.labels and not history.mirror
    assert len(history.features) >= 3 and not any(name.startswith("model.22") for name in history.features), "no head"
    assert history.epochs[1].loss < history.epochs[0].loss
