"""A command imports its own verb and what that needs, no more: what starts in milliseconds stays so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgewright.bench import report_json
from edgewright.cli.application import VERBS, application

HEAVY = {"torch", "onnx", "scipy", "nncf", "openvino.tools.ovc", "openvino_telemetry", "edgewright.pipeline"}
CODE = """
import sys
from edgewright.cli.main import run_command
assert run_command(sys.argv[2:]) == 0
from edgewright.cli.application import VERBS
verbs = [verb for verb in VERBS if f"edgewright.cli.{verb}" in sys.modules]
print(sorted(set(sys.argv[1].split(",")) & set(sys.modules)), verbs, file=sys.stderr)
"""


def imported(*words: object) -> str:
    command = [sys.executable, "-c", CODE, ",".join(HEAVY), *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()[-1]


def test_a_report_is_shown_and_gated_without_the_pipeline(tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
    from bench_sample import report

    report_json.write(report(evil=False), tmp_path / "report.json")
    assert imported("report", tmp_path) == "[] ['report']"
    assert imported("gate", tmp_path, "--budget", "top1 >= -99") == "[] ['gate']"


def test_openvino_starts_without_its_converter_which_can_be_had_afterwards() -> None:
    code = """
import sys
from edgewright.runtimes import openvino
assert openvino.probe().available, openvino.probe().why
assert "openvino_telemetry" not in sys.modules
from openvino.tools.ovc import convert_model
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_verb_is_in_the_help_once() -> None:
    app = application()
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert sorted([*names, *(group.name for group in app.registered_groups)]) == sorted(VERBS)
