"""What a log shows of long work: lines of what is finished, and now and then how far a step is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgewright.cli import console


def test_a_log_tells_how_far_a_step_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.delenv("FORCE_COLOR", raising=False)  # rich takes it for a terminal
    with console.Watcher() as watch:
        for second in range(65):
            now = 100.0 + second
            watch("distill", "model", second, 200, f"step {second}")
        now = 170.0
        watch("distill", "model", 200, 200, "done")
        watch("export", "model", 0, 0, "")
    lines = [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "30.0 s distill model 15 % step 30",
        "60.0 s distill model 30 % step 60",
        "70.0 s distill model done",
    ]
