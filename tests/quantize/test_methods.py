"""Methods are lists of steps: each finds what it needs, its work is where it says, and it travels as plain data."""

from __future__ import annotations

import importlib
import inspect
import typing

import msgspec
import pytest

from edgewright.core.errors import InvalidInput
from edgewright.quantize import methods, schemes, steps

EVERY = methods.METHODS | methods.OTHERS
KINDS = sorted({type(step) for method in EVERY.values() for step in method.steps}, key=lambda kind: kind.__name__)


def test_round_reads_in_the_order_of_the_work() -> None:
    assert [type(step).__name__ for step in methods.get("round").steps] == [
        "Equalize", "Calibrate", "ChooseClipping", "SplitChannels", "Center", "Protect", "ChooseRanges", "ByteInput",
        "PlaceQdq", "FloatTail", "RequireInt8", "CorrectBiases", "Repair",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_work_of_a_step_is_in_its_module(kind: type[steps.Step]) -> None:
    module = importlib.import_module(f"edgewright.quantize.{kind.module}")
    hints = typing.get_type_hints(module.apply, vars(module) | {"FloatState": object})
    first = next(iter(inspect.signature(module.apply).parameters))
    assert kind in (hints[first], *typing.get_args(hints[first]))
    assert hints["return"] is int


@pytest.mark.parametrize("scheme", schemes.SCHEMES)
@pytest.mark.parametrize("name", EVERY)
def test_statistics_are_those_of_the_model_that_reads_them(name: str, scheme: str) -> None:
    """A step that changes the model alone makes what was known of it stale."""
    known = False
    for step in EVERY[name].steps_for(schemes.get(scheme)):
        assert known or "statistics" not in step.needs, step
        if step.keeps:
            known = "statistics" in step.keeps


def test_kept_steps_have_stages_of_their_own_and_travel_as_plain_data() -> None:
    kept = [kind for kind in KINDS if kind.keeps]
    assert set(kept) == set(typing.get_args(steps.KeptStep))
    assert len({kind.stage for kind in kept} - {""}) == len(kept)
    for step in (kind() for kind in kept):
        assert msgspec.convert(msgspec.to_builtins(step), steps.KeptStep) == step


def test_kept_steps_stand_before_all_others() -> None:
    """What is kept serves every scheme; the rest is one stage."""
    for method in EVERY.values():
        kept = [bool(step.keeps) for step in method.steps]
        assert kept == sorted(kept, reverse=True), method.name


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="round-mixed") as error:
        methods.get("rounded")
    assert all(name in error.value.why for name in EVERY)
