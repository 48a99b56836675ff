"""`edgewright doctor` runs the self-test of the INT8 kernels and names what it found."""

from __future__ import annotations

import json

import pytest

from edgewright.cli.main import run_command
from edgewright.core.errors import RuntimeFailed
from edgewright.runtimes import kernels, registry


@pytest.fixture(autouse=True)
def _onnxruntime_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: ("onnxruntime",))


def checks(capfd: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    assert run_command(["doctor", "--json"]) == 0
    return [check for check in json.loads(capfd.readouterr().out)["device"] if "INT8" in check["what"]]


def test_right_kernels_are_named(capfd: pytest.CaptureFixture[str]) -> None:
    (check,) = checks(capfd)
    assert check["state"] == "ok" and "INT8 kernels of onnxruntime" in check["what"]


def test_wrong_kernels_are_named_with_what_to_do(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "wrong_layers", lambda: kernels.LAYERS[:5])
    (check,) = checks(capfd)
    assert check["state"] == "note" and "5 of 14 layers" in check["what"]
    assert check["fix"] == "pip install --upgrade onnxruntime"
    assert run_command(["doctor"]) == 0
    out = capfd.readouterr().out
    assert "do:       pip install --upgrade onnxruntime" in out and max(map(len, out.splitlines())) <= 100


def test_a_self_test_that_fails_is_a_line_and_not_the_end(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise RuntimeFailed("ONNX Runtime failed to run the self-test of its INT8 kernels.", "boom", "Reinstall.")

    monkeypatch.setattr(kernels, "wrong_layers", fails)
    (check,) = checks(capfd)
    assert (check["state"], check["fix"]) == ("note", "Reinstall.") and "boom" in check["what"]
