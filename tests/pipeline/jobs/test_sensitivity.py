"""`edgewright sensitivity`: a row a layer with its loss and its time: a table, JSON, a plot that needs no network."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgewright import api
from edgewright.bench.results import Sensitivity
from edgewright.cli.main import run_command
from edgewright.core.errors import Unavailable
from edgewright.targets import detect


def test_each_layer_has_what_it_loses_and_its_time(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scheme = "ort-x86-vnni" if "vnni" in " ".join(detect.this_machine().isa) else "ort-x86"
    command = [
        "sensitivity", "torch:tiny:build", "--spec", str(tiny / "tiny.toml"), "--data", str(tiny / "images"),
        "--scheme", scheme, "--method", "minmax", "-o", str(tiny / "out"),
    ]  # fmt: skip
    assert run_command(command) == 0
    table = capsys.readouterr().out
    found = msgspec.json.decode((tiny / "out" / "sensitivity.json").read_bytes(), type=Sensitivity)
    assert [row.operators for row in found.layers] == [("Conv",), ("Gemm",)]
    assert found.id == f"onnxruntime-int8-{scheme[4:]}-minmax" and found.float_id == "onnxruntime-f32"
    for row in found.layers:
        assert row.layers[0][-20:] in table
        assert row.float_ms and row.int8_ms and row.saved_ms == row.float_ms - row.int8_ms
        assert row.alone.sqnr_db > 10 and row.others.sqnr_db > 10
    page = (tiny / "out" / "sensitivity.html").read_text()
    assert found.layers[0].layers[0] in page and "<script src" not in page


def test_layers_are_timed_where_they_will_run(tiny: Path) -> None:
    with pytest.raises(Unavailable, match="Raspberry"):
        api.sensitivity("torch:tiny:build", spec=tiny / "tiny.toml", data=tiny / "images", target="raspberry-pi-5")
