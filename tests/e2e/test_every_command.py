"""Every command under conditions that are the user's machine's, not bugs of ours: none ends in a traceback."""

from __future__ import annotations

import json
import os
import pty
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from edgewright.bench import history, report_json
from edgewright.cli.application import application
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.runtimes import artifact, bundle
from edgewright.runtimes.options import Options
from edgewright.tasks.classify.spec import Classify

HERE = Path(__file__).parent
NAMES = ("röd – 赤", "[/red]", "bl\x1b[31må")
"""Labels outside of every small encoding, of markup, and of what a terminal would act on."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, an ONNX file, a report and an image, whose names and labels are not ASCII."""
    import sys as system

    import onnx
    from onnx import TensorProto, helper, numpy_helper

    system.path.insert(0, str(HERE.parent / "bench"))
    from bench_sample import report

    root = tmp_path_factory.mktemp("wörld")
    spec = ModelSpec(
        name="färger",
        inputs=(Input(height=8, width=8, preprocess=Preprocess(resize="exact", resize_to=(8, 8))),),
        task=Classify(classes=3, labels=NAMES),
    )
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["logits"]),
    ]
    import numpy as np

    weights = numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")
    x = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], [weights]), opset_imports=[helper.make_opsetid("", 13)]
    )
    onnx.save(model, root / "modèle.onnx")
    artifact.build(root / "modèle.onnx", spec, Options(runtime="onnxruntime"), root / "artifact")
    bundle.write(root / "artifact", root / "färger.edge", name="färger", provenance={})
    Image.new("RGB", (8, 8), "red").save(root / "bild – 写真.png")
    found = report(evil=False)
    report_json.write(msgspec.structs.replace(found, model=msgspec.structs.replace(found.model, name=NAMES[0])),
                      root / "report.json")  # fmt: skip
    history.append(str(root / "history.jsonl"), history.run_of(found, "0" * 40))
    return root


def commands(world: Path, out: str) -> dict[str, list[str]]:
    """A line for every command; those that would work long are given data that is not there."""
    edge, model, image, none = (
        str(world / name) for name in ("färger.edge", "modèle.onnx", "bild – 写真.png", "saknas – 無")
    )
    tiny = "timm:test_resnet?pretrained=false&num_classes=3"
    return {
        "optimize": ["optimize", tiny, "--data", none, "-o", out],
        "export": ["export", f"{none}.onnx", "-o", f"{out}.onnx"],
        "quantize": ["quantize", model, "--calibration", none, "-o", f"{out}.onnx"],
        "prune": ["prune", tiny, "--data", none, "--speedup", "1.5", "-o", out],
        "distill": ["distill", tiny, "--student", tiny, "--data", none, "-o", out],
        "sensitivity": ["sensitivity", model, "--data", none, "-o", out],
        "compile": ["compile", none, "-o", f"{out}.edge"],
        "audit": ["audit", model, "--data", none],
        "bench": ["bench", edge, "--data", none, "-o", out],
        "report": ["report", str(world), "-o", f"{out}.html"],
        "gate": ["gate", str(world), "--budget", "top1 >= -99"],
        "run": ["run", edge, image],
        "run again": ["run", edge, image, "--json"],
        "targets": ["targets"],
        "targets list": ["targets", "list"],
        "targets show": ["targets", "show", "jetson-orin-nano"],
        "targets detect": ["targets", "detect"],
        "targets clean": ["targets", "clean", "-oProxyCommand=x"],
        "bundle inspect": ["bundle", "inspect", edge],
        "bundle verify": ["bundle", "verify", edge],
        "history add": ["history", "add", str(world), f"{out}.jsonl"],
        "history show": ["history", "show", str(world / "history.jsonl")],
        "history plot": ["history", "plot", str(world / "history.jsonl"), "-o", f"{out}.html"],
        "cache list": ["cache", "list"],
        "cache prune": ["cache", "prune"],
        "demo": ["demo", "--task", "nichts – 無"],
        "help": ["--help"],
        "report table": ["report", str(world)],
    }


def run(
    world: Path, tmp_path: Path, lines: dict[str, list[str]], env: dict[str, Any], how: str = "", who: str = ""
) -> dict[str, int]:
    """The exit code of each line."""
    result = tmp_path / "codes.json"
    given = {name: value for name, value in {**os.environ, **env}.items() if value is not None}
    words = [sys.executable, str(HERE / "every_command.py"), str(result), json.dumps(list(lines.values())), who]
    settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True}
    if how == "closed":
        words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words]
    done = subprocess.run(words, cwd=tmp_path, env=given, timeout=300, check=False, **settings)
    assert result.exists(), done.stderr[-3000:].decode(errors="replace")
    codes = dict(zip(lines, json.loads(result.read_text())))
    assert 70 not in codes.values(), (codes, done.stderr[-3000:].decode(errors="replace"))
    return codes


WRITES = (
    "optimize",
    "export",
    "quantize",
    "prune",
    "distill",
    "sensitivity",
    "compile",
    "bench",
    "report",
    "history add",
    "history plot",
)
STORES = ("optimize", "export", "quantize", "prune", "distill", "sensitivity", "compile", "bench", "audit")


def test_every_command_is_here(world: Path) -> None:
    app = application()
    known = {name or command.callback.__name__ for command in app.registered_commands if (name := command.name) or True}
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    for name, inner in groups.items():
        known |= {f"{name} {c.name or c.callback.__name__}" for c in inner.registered_commands}  # type: ignore[union-attr]
    assert known - {"doctor"} <= set(commands(world, "out"))


@pytest.mark.parametrize("out", ["/proc/out", "{world}/report.json/out"])
def test_an_output_that_cannot_be_made_is_said_before_the_work(world: Path, tmp_path: Path, out: str) -> None:
    lines = commands(world, out.format(world=world))
    lines["demo"] = ["demo", "-o", out.format(world=world)]
    lines["demo detect"] = ["demo", "--task", "detect", "-o", out.format(world=world)]
    codes = run(world, tmp_path, lines, {})
    # compile is given a model that is not there, which is said first.
    assert {codes[name] for name in (*WRITES, "demo", "demo detect") if name != "compile"} == {2}
    assert codes["compile"] in (2, 3)
    assert codes["run"] == codes["gate"] == 0


def test_a_store_that_cannot_be_written_is_said_before_the_work(world: Path, tmp_path: Path) -> None:
    lines = commands(world, str(tmp_path / "out"))
    codes = run(world, tmp_path, lines, {"EDGEWRIGHT_CACHE": "/proc/store"})
    assert {codes[name] for name in STORES} <= {2, 3}
    assert codes["run"] == codes["gate"] == codes["report"] == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("home", [None, "", "/proc/home"])
def test_without_a_home_what_needs_none_works(world: Path, tmp_path: Path, home: str | None) -> None:
    bare = {"HOME": home, "EDGEWRIGHT_CACHE": None, "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None}
    lines = commands(world, str(tmp_path / "out"))
    if home == "":  # the root folder, which this test must not fill
        lines = {name: words for name, words in lines.items() if name not in STORES and "cache" not in name}
    codes = run(world, tmp_path, lines, bare, who="nobody")
    assert codes["run"] == codes["gate"] == codes["report table"] == 0
    assert codes["report"] in (0, 3)  # the plots' library keeps its settings there
    assert {code for name, code in codes.items() if name in STORES} <= {2, 3}
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "ascii"])
def test_any_encoding_prints_and_changes_no_exit_code(world: Path, tmp_path: Path, encoding: str) -> None:
    lines = commands(world, str(tmp_path / "out"))
    if encoding == "ascii":  # it asks every runtime, which takes seconds
        lines["doctor"] = ["doctor"]
    codes = run(world, tmp_path, lines, {"PYTHONIOENCODING": encoding})
    expected = dict.fromkeys(codes, 0) | dict.fromkeys(STORES, 3) | {"demo": 2, "targets clean": 2}
    assert codes == expected


def test_without_any_stream(world: Path, tmp_path: Path) -> None:
    codes = run(world, tmp_path, commands(world, str(tmp_path / "out")), {}, how="closed")
    assert codes["run"] == codes["gate"] == 0


def test_a_terminal_of_60_columns(world: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    result = tmp_path / "codes.json"
    lines = commands(world, str(tmp_path / "out"))
    words = [sys.executable, str(HERE / "every_command.py"), str(result), json.dumps(list(lines.values())), ""]
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        words,
        cwd=tmp_path,
        env={**env, "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as process:
        os.close(slave)
        printed = b""
        while True:
            try:
                printed += os.read(master, 1 << 16)
            except OSError:  # the last one closed its side
                break
        process.wait(60)
    os.close(master)
    codes = dict(zip(lines, json.loads(result.read_text())))
    assert 70 not in codes.values(), printed[-3000:].decode(errors="replace")
    assert codes["run"] == codes["report table"] == codes["bundle inspect"] == 0
    assert b"\x1b[31m\xc3\xa5" not in printed  # the label's own colour code
