"""Recipes from TOML: typos and nonsense are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewright.core.errors import InvalidInput
from edgewright.pipeline.recipe import Recipe, checked, read


def test_a_recipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('runtimes = ["openvino"]\nthreads = [0, 1]\nmin_count = 662\nfps = 30\n')
    assert read(path) == Recipe(runtimes=("openvino",), threads=(0, 1), min_count=662, fps=30.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("finalist = 3", "finalist"),
        ("min_count = 0", r">= 1 - at `\$.min_count`"),
        ('normalize = ["device"]', "normalize"),
        ("threads = []", r">= 1 - at `\$.threads`"),
        ("min_duration_s = -1.0", r">= 0.* - at `\$.min_duration_s`"),
        ("fps = 0", r">= 0\.1 - at `\$.fps`"),
        ("prune = [1.0]", r"> 1.* - at `\$.prune"),
        ("hardswish = [1.5]", r"<= 1.* - at `\$.hardswish"),
        ("[", "not valid"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=words):
        read(path)


def test_a_recipe_made_in_python_is_checked() -> None:
    good = Recipe(prune=(1.5, "2:4"), hardswish=(0.5,), fps=30.0)
    assert checked(good) == good
    with pytest.raises(InvalidInput, match="finalists"):
        checked(Recipe(finalists=-1))


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.toml"):
        read(tmp_path / "none.toml")
