"""Distillation costs minutes: it is tried where nothing cheaper keeps the budget, and where it can be kept at all."""

from __future__ import annotations

import pytest

from edgewright.pipeline import policy
from edgewright.pipeline.candidates import distillation
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.state import Build

from ..run_states import all_proposed, built, state


def asked(
    monkeypatch: pytest.MonkeyPatch, builds: list[Build], inside: list[Build], methods: tuple[str, ...] | None = None
) -> set[str]:
    """The ids of the candidates that are distilled where `builds` were made and `inside` of them keep the budget."""
    monkeypatch.setattr(policy, "is_inside", lambda _, one: any(one is other for other in inside))
    return {found.candidate.id for found in all_proposed(distillation, state(builds, Recipe(methods=methods)))}


def int8(runtime: str, scheme: str, method: str, failed_in: str | None = None) -> Build:
    return built(runtime, failed_in=failed_in, scheme=scheme, method=method)


def test_only_where_every_other_method_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = [built("openvino"), built("onnxruntime")]
    tried = [
        int8("openvino", "openvino", "minmax"), int8("openvino", "openvino", "round"),
        int8("onnxruntime", "ort-x86", "minmax"), int8("onnxruntime", "ort-x86", "round"),
    ]  # fmt: skip
    assert asked(monkeypatch, [*exact, *tried], [*exact, tried[3]]) == {"openvino-int8-distil"}
    assert asked(monkeypatch, [*exact, *tried], [*exact, tried[0], tried[3]]) == set()


def test_not_where_float_is_outside_nor_where_methods_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    builds = [built("openvino"), int8("openvino", "openvino", "minmax")]
    assert asked(monkeypatch, builds, []) == set()
    assert asked(monkeypatch, builds, builds[:1]) == {"openvino-int8-distil"}
    assert asked(monkeypatch, builds, builds[:1], ("minmax",)) == set()


def test_what_failed_is_not_distilled(monkeypatch: pytest.MonkeyPatch) -> None:
    builds = [built("openvino"), int8("openvino", "openvino", "minmax", failed_in="quantize")]
    assert asked(monkeypatch, builds, builds[:1]) == set()
