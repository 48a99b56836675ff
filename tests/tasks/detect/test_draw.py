"""Drawn boxes and labels can be seen, and stay inside the image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgewright.tasks.detect.answer import Detections
from edgewright.tasks.detect.draw import draw
from edgewright.vision.draw import class_color, text_color


def one(box: tuple[float, ...], label: str = "person", score: float = 0.87) -> Detections:
    return Detections(np.float32([box]), np.float32([score]), np.array([0]), (label,))


@pytest.mark.parametrize("side", [320, 4000])
def test_lines_and_letters_grow_with_the_image(side: int) -> None:
    image = Image.new("RGB", (side, side), (90, 90, 90))
    pixels = np.asarray(draw(image, one((side * 0.3, side * 0.3, side * 0.7, side * 0.7))))
    bottom = (pixels[:, side // 2] == class_color(0)).all(axis=1)[side // 2 :]
    assert bottom.sum() == pytest.approx(side / 320, abs=1)
    label = (pixels[: int(side * 0.3), int(side * 0.3) + side // 640 + 1] == class_color(0)).all(axis=1)
    assert label.sum() >= side / 50


@pytest.mark.parametrize("box", [(0, 0, 20, 20), (300, 0, 320, 10), (300, 230, 320, 240), (0, 239, 320, 240)])
def test_a_label_at_the_edge_is_whole(box: tuple[float, ...]) -> None:
    middle = draw(Image.new("RGB", (320, 240)), one((100, 100, 120, 120)))
    edge = draw(Image.new("RGB", (320, 240)), one(box))
    text = text_color(class_color(0))
    counts = [(np.asarray(image) == text).all(axis=2).sum() for image in (middle, edge)]
    assert counts[0] == counts[1] > 0 or text == (0, 0, 0)  # black letters cannot be told from the picture
    background = [(np.asarray(image) == class_color(0)).all(axis=2).sum() for image in (middle, edge)]
    assert background[1] > 0.6 * background[0]


def test_the_best_lies_on_top() -> None:
    box = (50.0, 50.0, 200.0, 200.0)
    found = Detections(np.float32([box, box]), np.float32([0.9, 0.4]), np.array([3, 5]), tuple("abcdefg"))
    assert draw(Image.new("RGB", (320, 320)), found).getpixel((125, 200)) == class_color(3)


def test_the_image_itself_stays_as_it_was() -> None:
    for mode in ("RGB", "L"):
        image = Image.new(mode, (64, 64))
        drawn = draw(image, one((5, 5, 60, 60)))
        assert drawn.mode == "RGB" and not np.asarray(image).any() and np.asarray(drawn).any()


def test_neighbouring_classes_have_colours_of_their_own() -> None:
    assert len({class_color(index) for index in range(80)}) == 80


def test_text_is_readable_on_every_class() -> None:
    assert text_color((255, 255, 0)) == (0, 0, 0) and text_color((0, 0, 160)) == (255, 255, 255)
