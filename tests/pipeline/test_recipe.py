"""Recipes from TOML: typos and nonsense are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewright.core.errors import InvalidInput
from edgewright.pipeline.recipe import Recipe, read


def test_a_recipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('runtimes = ["openvino"]\nthreads = [0, 1]\nmin_count = 662\nfps = 30\n')
    assert read(path) == Recipe(runtimes=("openvino",), threads=(0, 1), min_count=662, fps=30.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("finalist = 3", "finalist"),
        ("min_count = 0", "min_count must be above zero"),
        ('normalize = ["device"]', "normalize"),
        ("threads = []", "at least one"),
        ("min_duration_s = -1.0", "negative"),
        ("fps = 0", "fps must be from 0.1 to 1000"),
        ("[", "not valid"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=words):
        read(path)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.toml"):
        read(tmp_path / "none.toml")
