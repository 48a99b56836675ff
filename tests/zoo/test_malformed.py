"""Malformed ONNX files that hang, spin or bloat a runtime: each ends in a clear error within the limits."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgewright.cli.main import run_command
from edgewright.core.child import Limits, call
from edgewright.core.errors import InvalidInput, OutOfResources, RuntimeFailed, TimedOut
from edgewright.core.spec import Input, ModelSpec
from edgewright.graph import files
from edgewright.runtimes.options import Options
from edgewright.tasks.classify.spec import Classify

pytestmark = pytest.mark.zoo
LIMITS = Limits(wall_s=20, memory_bytes=4 << 30)


def test_the_static_check_refuses_what_is_malformed_and_the_child_limits_hold_the_rest(
    zoo: Path, tmp_path: Path
) -> None:
    every = sorted((zoo / "malformed").glob("*.onnx"))
    assert len(every) == 36
    passed = []
    for path in every:
        try:
            files.load(path)
            passed.append(path)
        except InvalidInput as error:
            assert path.name in error.what
    assert len(passed) <= 2
    for path in every[:3] + passed:
        for runtime in ("onnxruntime", "openvino"):
            spec = ModelSpec(name="x", inputs=(Input(height=8, width=8),), task=Classify(classes=2))
            begin = time.monotonic()
            with pytest.raises((TimedOut, RuntimeFailed, OutOfResources, InvalidInput)):
                # Straight to the runtime, past the check, as an attacker would have it.
                call(
                    "edgewright.runtimes.artifact:build", log=tmp_path / "log", limits=LIMITS, model=str(path),
                    spec=spec,
                    options=Options(runtime=runtime), folder=str(tmp_path / f"{path.stem}-{runtime}"),
                )  # fmt: skip
            assert time.monotonic() - begin < LIMITS.wall_s + 10


def test_the_command_ends_in_an_error_and_writes_nothing(zoo: Path, tmp_path: Path) -> None:
    path = sorted((zoo / "malformed").glob("*.onnx"))[0]
    assert run_command(["compile", str(path), "-o", str(tmp_path / "m.edge")]) in (3, 6, 7, 8)
    assert not (tmp_path / "m.edge").exists()
