"""The TOML that describes a model: what is wrong in it is named with its file and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewright.core.errors import InvalidInput
from edgewright.export import overrides


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("outputs = 5", "`outputs` is 5", "a list of texts"),
        ("outputs = [5]", "`outputs` is [5]", "a list of texts"),
        ("labels = 5", "`labels` is 5", "a list of texts"),
        ("labels = [0, 1]", "`labels` is [0, 1]", "a list of texts"),
        ("labels_file = 5", "`labels_file` is 5", "a text"),
        ("name = 5", "`name` is 5", "a text"),
        ("task = 3", "`task` is 3", '"classify"'),
        ('task = "segmentation"', "`task` is 'segmentation'", '"segment"'),
        ('classes = "x"', "`classes` is 'x'", "a whole number"),
        ("classes = true", "`classes` is True", "a whole number"),
        ("classes = 2.5", "`classes` is 2.5", "a whole number"),
        ('input = "x"', "`input` is 'x'", "[input]"),
        ("preprocess = 3", "`preprocess` is 3", "[preprocess]"),
        ("postprocess = []", "`postprocess` is []", "[postprocess]"),
        ("detect = 1979-05-27", "`detect` is 1979-05-27", "[detect]"),
        ('[input]\nheight = "x"', "`height` in [input] is 'x'", "int"),
        ("[preprocess]\nmean = 0.5", "`mean` in [preprocess] is 0.5", "array"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_file_and_field(
    tmp_path: Path, text: str, field: str, said: str
) -> None:
    path = tmp_path / "model.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as error:
        overrides.read(path)
    assert str(path) in error.value.what
    assert field in error.value.what
    assert said in error.value.why


def test_one_output_may_be_written_without_a_list(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text('outputs = "logits"')
    assert overrides.read(tmp_path / "model.toml") == {"outputs": ["logits"]}


def test_a_byte_order_mark_is_no_part_of_the_description_or_the_labels(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text('labels_file = "labels.txt"', encoding="utf-8-sig")
    (tmp_path / "labels.txt").write_text("Äpfel\nBirnen\n\n", encoding="utf-8-sig")
    assert overrides.read(tmp_path / "model.toml") == {"labels": ["Äpfel", "Birnen"]}


def test_labels_that_are_not_utf_8_are_refused_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text('labels_file = "labels.txt"')
    (tmp_path / "labels.txt").write_bytes("Birnen\nÄpfel\n".encode("latin-1"))
    with pytest.raises(InvalidInput, match=r"labels\.txt is not UTF-8: byte 0xc4 in line 2"):
        overrides.read(tmp_path / "model.toml")


def test_a_description_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text('name = "x"', encoding="utf-16")
    with pytest.raises(InvalidInput, match=r"model\.toml"):
        overrides.read(tmp_path / "model.toml")
