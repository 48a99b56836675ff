"""What a target and a recipe call for."""

from __future__ import annotations

import pytest

from edgewright.core.errors import InvalidInput, UsageError
from edgewright.pipeline.candidates.base import enumerate_candidates, restrict, saturates
from edgewright.pipeline.candidates.variations import variations
from edgewright.pipeline.recipe import Recipe
from edgewright.quantize.schemes import SCHEMES
from edgewright.targets import catalogue


def ids(name: str, recipe: Recipe) -> list[str]:
    return [c.id for c in enumerate_candidates(catalogue.load(name), recipe)]


def test_every_target_gets_float_and_int8_candidates_with_unique_ids() -> None:
    for name in catalogue.names():
        found = ids(name, Recipe())
        assert len(found) == len(set(found))
        assert any(i.endswith("-f32") for i in found)


def test_an_amx_machine_tries_bf16_beside_f32_and_beside_int8() -> None:
    found = ids("x86-amx", Recipe())
    assert "openvino-bf16" in found
    assert any(i.startswith("openvino-int8-bf16-") for i in found)
    assert not any("bf16" in i for i in ids("x86-avx2", Recipe()))


def test_each_runtime_gets_only_its_own_schemes() -> None:
    for name in catalogue.names():
        for candidate in enumerate_candidates(catalogue.load(name), Recipe()):
            if candidate.variant.scheme:
                assert SCHEMES[candidate.variant.scheme].runtime == candidate.options.runtime


def test_a_recipe_narrows() -> None:
    found = ids("x86-avx2", Recipe(runtimes=("onnxruntime",), schemes=()))
    assert found == ["onnxruntime-f32"]


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe(runtimes=("tensort",)), "tensort"),
        (Recipe(schemes=("ort-arm",)), "ort-arm"),
        (Recipe(methods=("magic",)), "magic"),
        (Recipe(precisions=("bf16",), schemes=()), "leaves nothing to build"),
    ],
)
def test_what_the_target_has_not_is_refused_by_name(recipe: Recipe, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        enumerate_candidates(catalogue.load("x86-avx2"), recipe)


def test_variations_are_all_the_others() -> None:
    recipe = Recipe(threads=(0, 1), runtimes=("onnxruntime",), schemes=())
    base = enumerate_candidates(catalogue.load("x86-avx2"), recipe)
    assert sorted(c.id for c in variations(base, recipe)) == [
        "onnxruntime-f32+uint8", "onnxruntime-f32-t1", "onnxruntime-f32-t1+uint8",
    ]  # fmt: skip


def test_a_target_with_fewer_instruction_sets_gets_the_schemes_that_suit_them() -> None:
    machine = catalogue.load("x86-amx")
    restricted = restrict(machine, ("avx2",), Recipe())
    found = [c for c in enumerate_candidates(restricted, Recipe()) if c.variant.scheme]
    assert {c.variant.scheme for c in found} == {"ort-x86", "openvino"}
    assert not any("bf16" in c.id for c in enumerate_candidates(restricted, Recipe()))
    named = Recipe(schemes=("ort-x86-vnni", "ort-x86"))
    every = enumerate_candidates(restrict(machine, ("avx2",), named), named)
    emulated = {c.variant.scheme for c in every if saturates(c, restricted, machine)}
    assert emulated == {"ort-x86-vnni"}, "7 bits lose nothing"
    assert not any(saturates(c, restricted, restricted) for c in every), "a machine without VNNI shows it itself"
    with pytest.raises(UsageError, match="aarch64"):
        restrict(catalogue.load("raspberry-pi-5"), ("avx2",), Recipe())
