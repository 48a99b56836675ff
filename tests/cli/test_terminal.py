"""Every terminal gets all that is said: narrow, dumb, without color, none at all; the pictures of the documentation."""

from __future__ import annotations

import importlib.util
import io
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from bench_sample import only_built, report

from edgewright.bench import console as reports
from edgewright.bench.results import Report
from edgewright.cli import console
from edgewright.cli.main import run_command
from edgewright.tasks.scores import Delta

ROOT = Path(__file__).parents[2]
DRAWN = ROOT / "docs/images/terminal"


def shown(found: Report, width: int) -> list[str]:
    out = io.StringIO()
    reports.show(found, Console(file=out, width=width, highlight=False, markup=False))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_a_report_keeps_names_figures_and_notes_at_every_width(width: int) -> None:
    found = report(evil=False)
    lines = shown(found, width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert all(m.id in text for m in found.measurements if m.status == "ok")
    assert ("hidden:" in text) == (width < 100)
    words = " ".join(text.split())
    assert "marks: > chosen" in words and "chosen: openvino-bf16" in words and "failed: onnxruntime-int8-nncf" in words
    assert all(line == line.rstrip() for line in shown(only_built(), width))


def test_no_meaning_is_in_a_color_alone() -> None:
    text = "\n".join(shown(report(evil=False), 100))
    verdicts = {m.accuracy.delta.verdict for m in report(evil=False).measurements if m.accuracy and m.accuracy.delta}
    for verdict, mark, meaning in (("worse", "!", "loses more"), ("undecided", "?", "inconclusive")):
        assert (verdict in verdicts) == (f"{mark} {meaning}" in text)
    worse = Delta(value=-3.0, low=-4.0, high=-2.0, verdict="worse", margin=1.0)
    assert reports._difference(worse).plain.startswith("!")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), (None, "")])
def test_plain_terminals_get_plain_text(
    name: str | None, value: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for other in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(other, raising=False)
    if name:
        monkeypatch.setenv(name, value)
        monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, as far as rich knows
        assert console.Screen().is_terminal
    assert run_command(["gate", str(ROOT / "tests/golden/v1/reports/scenes.json")]) == 0
    assert run_command(["gate", "nowhere"]) == 3
    printed = capfd.readouterr()
    assert not re.search(r"\x1b\[[\d;]*[34]\d", printed.out + printed.err), "no color"
    assert "verdict:  passed" in re.sub(r"\x1b\[[\d;]*m", "", printed.out)
    if name != "NO_COLOR":  # which leaves bold and dim
        assert "\x1b" not in printed.out + printed.err


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("terminal_pictures", ROOT / "docs/terminal.py")
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_pictures_are_up_to_date_small_and_need_no_network() -> None:
    pictures = script().pictures()
    assert sorted(pictures) == sorted(path.name for path in DRAWN.glob("*.svg")), "run python docs/terminal.py"
    for name, picture in pictures.items():
        assert (DRAWN / name).read_text(encoding="utf-8") == picture, f"{name}: run python docs/terminal.py"
        assert len(picture.encode()) < 60_000, name
        assert re.findall(r"https?://[^\"']+|@import|@font-face|\burl\((?!#)", picture) == [
            "http://www.w3.org/2000/svg"
        ]
