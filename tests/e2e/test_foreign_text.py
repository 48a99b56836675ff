"""Names and messages from outside are printed literally, on every stream, and never change an exit code."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import os
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import inspect
from PIL import Image
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edgewright import api
from edgewright.bench import report_files, results
from edgewright.cli import console, watcher
from edgewright.cli.main import run_command
from edgewright.core.errors import InvalidInput
from edgewright.tasks.scores import Accuracy, Scored

ROOT = Path(__file__).parent.parent.parent
LABELS = (
    "[/red]", "[bold]x[/bold]", "[link=https://evil.example]y[/link]", "\x1b[31mred", "\x9b31m", "\x1b]0;owned\x07",
    "a\u202eb", "</script><script>document.title='owned'</script>", ":smile:", "a\nb\r\nc", "line\u2028line", "w" * 300,
)  # fmt: skip
NAMES = (*LABELS, "\ud800", "\udcff")
SEEN = (
    "[/red]", "[bold]x[/bold]", "[link=https://evil.example]y[/link]", r"\x1b[31mred", r"\x9b31m", r"\x1b]0;owned",
    r"a\u202eb", "</script><script>document.title='owned'</script>", ":smile:", "a b c", r"line\u2028line",
)  # fmt: skip
"""The names as they are printed; the long one may be cut."""
COLOUR = re.compile(r"\x1b\[[\d;]*m")
MOVES = re.compile(r"\x1b\[\d*[AK]|\x1b\[\?25[lh]|\r")
"""What rich draws bars with."""


def bad(text: str) -> set[str]:
    """Characters that a terminal acts on: none may be printed but newlines."""
    kinds = {"Cc", "Cs", "Zl", "Zp"}
    return {c for c in text if unicodedata.category(c) in kinds or c in "\u061c\u200e\u200f\u202e\u2066"} - {"\n"}


@pytest.fixture(params=[False, True], ids=["log", "terminal"])
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[[], str]:
    """What was printed on both streams so far, less rich's own colours, on a log and on a terminal."""
    monkeypatch.setenv("COLUMNS", "400")
    (monkeypatch.setenv if request.param else monkeypatch.delenv)("FORCE_COLOR", *(["1"] if request.param else [False]))

    def read() -> str:
        text = "".join(capsys.readouterr())
        assert request.param or "\x1b" not in text
        text = MOVES.sub("", COLOUR.sub("", text))
        assert bad(text) == set()
        return text

    return read


# --- the choke point: nothing that is handed to the console gets around it, and nothing else prints -------------------


def test_whatever_is_printed_is_literal(screen: Callable[[], str]) -> None:
    def table(make: Callable[[str], Any]) -> Table:
        found = Table(title=make("title"), caption=make("caption"))
        found.add_column(make("head"))
        for name in NAMES[:-1]:
            found.add_row(make(name))
        return found

    for make in (str, Text, console.line):
        out = console.output()
        for thing in (table(make), Panel(make(NAMES[0])), *map(make, NAMES)):
            out.print(thing, soft_wrap=True)
        text = screen()
        for seen in SEEN:
            if make is not Text or seen not in ("a b c", r"\x1b]0;owned"):  # rich's Text drops bells, keeps newlines
                assert text.count(seen) >= 2, (make, seen)


def test_markup_cannot_be_asked_for(screen: Callable[[], str]) -> None:
    console.output().print("[bold]x[/bold] :smile: [/red]", markup=True, emoji=True, highlight=True)
    assert screen() == "[bold]x[/bold] :smile: [/red]\n"


def test_a_name_cannot_begin_a_line_that_reads_like_ours(screen: Callable[[], str]) -> None:
    console.output().print("x.jpg\npassed")
    console.output().print_line("x.jpg", ("bold", "\r\npassed"))
    assert screen() == "x.jpg passed\nx.jpg passed\n"


@functools.cache
def modules() -> list[tuple[str, ast.Module]]:
    folders = ("src/edgewright", "export", "quantize", "runtimes", "bench", "targets")
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    assert len(paths) > 100
    return [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))) for path in paths]


def test_only_the_console_prints() -> None:
    found = []
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("print", "Console", "rich.print", "typer.echo", "typer.secho", "sys.stdout.write"):
                    found.append(f"{name}:{node.lineno}: {called}")
                if called.endswith(("from_markup", "from_ansi", "print_exc", "print_exception")):
                    found.append(f"{name}:{node.lineno}: {called}")
            modules_of = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules_of += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [f"{name}:{node.lineno}: {m}" for m in modules_of if m in ("rich", "rich.markup", "rich.pretty")]
    # What these write reaches a terminal as part of an error.
    logs = ("src/edgewright/core/serve.py", "src/edgewright/core/fork_server.py", "targets/job.py")
    assert [where for where in found if not where.startswith(logs)] == []


def test_no_string_of_ours_holds_markup() -> None:
    markup = re.compile(r"\[/\]|\[/?(bold|dim|italic|red|green|yellow|cyan|blue|magenta|link)\b[^\[\]]*\]")
    found = []
    for name, tree in modules():
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        docstrings = {id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, documented) and _has_docstring(n)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                found += [f"{name}:{node.lineno}: {node.value}"] if markup.search(node.value) else []
    assert found == []


def _has_docstring(node: Any) -> bool:
    return bool(node.body) and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)


# --- every verb -------------------------------------------------------------------------------------------------------


def filled(kind: Any, depth: int = 0) -> Any:
    """An instance of a struct whose every text is all names at once: what a verb may get from below."""
    found = inspect.type_info(kind) if depth == 0 else kind
    if isinstance(found, inspect.StructType):
        values = {f.name: filled(f.type, depth + 1) for f in found.fields if f.name not in ("schema_version", "task")}
        return found.cls(**values)
    if isinstance(found, inspect.UnionType):
        return filled(next(t for t in found.types if not isinstance(t, inspect.NoneType)), depth + 1)
    if isinstance(found, inspect.LiteralType):
        return found.values[-1]  # ok, warning, worse: not "error", which ends the command
    if isinstance(found, inspect.TupleType):
        return tuple(filled(t, depth + 1) for t in found.item_types)
    if isinstance(found, (inspect.VarTupleType, inspect.ListType)):
        return (filled(found.item_type, depth + 1),)
    if isinstance(found, inspect.DictType):
        return {filled(found.key_type, depth + 1): filled(found.value_type, depth + 1)}
    simple = {inspect.StrType: " ".join(LABELS), inspect.IntType: 1, inspect.FloatType: 0.5, inspect.BoolType: True}
    return simple.get(type(found), " ".join(LABELS))


def given(module: str, kind: str) -> Any:
    return filled(getattr(importlib.import_module(f"edgewright.{module}"), kind))


EVERY = " ".join(LABELS)
VERBS: dict[str, tuple[str, list[str], Callable[[], Any], int]] = {
    "audit": ("audit", ["m.onnx", "--data", "d"], lambda: given("pipeline.jobs.audit", "Audited"), 0),
    "distill": (
        "distill",
        ["s", "--student", "t", "--data", "d", "-o", EVERY],
        lambda: given("pipeline.jobs.distill", "Distilled"),
        0,
    ),
    "prune": (
        "prune",
        ["s", "--data", "d", "-o", EVERY, "--ratio", "0.1"],
        lambda: given("pipeline.jobs.prune", "Pruned"),
        0,
    ),
    "sensitivity": ("sensitivity", ["s", "--data", "d"], lambda: filled(results.Sensitivity), 0),
    "quantize": (
        "quantize",
        ["m", "--calibration", "c", "-o", EVERY],
        lambda: {"scheme": EVERY, "method": EVERY},
        0,
    ),
    "export": (
        "export",
        ["s", "-o", EVERY],
        lambda: {"measures": {EVERY: {"value": 1.0}}, "images": "random", "reference": EVERY, "notes": list(LABELS)},
        0,
    ),
    "report": ("read_report", [EVERY], lambda: filled(results.Report), 0),
    "bench": (
        "bench",
        ["b", "--data", "d", "-o", "o"],
        lambda: SimpleNamespace(
            report=filled(results.Report), files={EVERY: EVERY}, missed=InvalidInput(EVERY, EVERY, EVERY)
        ),
        3,
    ),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_verb_prints_what_it_gets_literally(
    verb: str, as_json: bool, screen: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    function, words, make, code = VERBS[verb]
    if as_json and verb == "report":
        pytest.skip("report has no --json")
    where = report_files if verb in ("report", "gate") else api
    monkeypatch.setattr(where, function, lambda *_, **__: make())
    try:
        assert run_command([verb, *words, *(["--json"] if as_json else [])]) == code
    finally:
        text = screen()
    if as_json and not code:
        json.loads(text)
    elif not as_json:
        assert "[/red]" in text and r"\x1b[31mred" in text and "Traceback" not in text


def test_the_check_of_a_file_is_printed_literally(screen: Callable[[], str]) -> None:
    from edgewright.cli import compile
    from edgewright.pipeline.stages.check import Checked

    found = filled(Checked)
    for one in (found, msgspec.structs.replace(found, ahead_of_time=None, violations=())):
        rows = compile._checks(one, EVERY)
        console.print_rows(console.output(), [(word, console.line(text)) for word, text in rows])
    text = screen()
    assert "[/red]" in text and ":smile:" in text


def test_an_error_is_printed_literally(screen: Callable[[], str]) -> None:
    for name in NAMES:
        console.print_error(InvalidInput(name, name, name))
    lines = screen().splitlines()
    assert len(lines) == 3 * len(NAMES), "a line each for what, why and what to do"
    for seen in SEEN:
        assert {kind for kind in ("error:", "why:", "do:") if any(kind in x and seen in x for x in lines)} == {
            "error:", "why:", "do:",
        }  # fmt: skip
    assert run_command(["report", "nothing\x1b[2J[/red]"]) == 3
    assert r"nothing\x1b[2J[/red]" in screen()
    assert run_command(["gate", "--[/red]\x9b31m"]) == 2
    assert r"[/red]\x9b31m" in screen()


def test_a_bug_is_printed_literally(screen: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError(" ".join(NAMES))

    monkeypatch.setattr(report_files, "gate", fail)
    assert run_command(["gate", "x"]) == 70
    text = screen()
    assert "ValueError: [/red]" in text and r"\x1b[31mred" in text and "This is a bug" in text


def test_a_broken_pipe_to_a_child_is_not_a_failed_gate(
    screen: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    for name in ("stdout", "stderr"):  # typer wraps both: put back afterwards
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setattr(report_files, "gate", fail)
    assert run_command(["gate", "x"]) == 70, "typer makes exit code 1 of it"
    assert "BrokenPipeError" in screen()


def test_progress_is_printed_literally(screen: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(watcher, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with watcher.Watcher() as watch:
        for name in NAMES:
            now[0] += 60
            watch("quantize", name, 1, 3, name)
            time.sleep(0.01)
        for name in NAMES:
            watch(name, name, 1, 1, name)
    text = screen()
    for seen in SEEN:
        assert text.count(seen) >= 3, "stage, what and step of what is finished"


# --- run, on a bundle with such labels --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that answers with as many labels as there are bad names."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    from edgewright.core.spec import Input, ModelSpec, Preprocess
    from edgewright.runtimes import artifact, bundle
    from edgewright.tasks.classify.spec import Classify

    folder, classes = tmp_path_factory.mktemp("edge"), len(LABELS)
    weights = np.ones((3, classes), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["means"]),
            helper.make_node("Flatten", ["means"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "model",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    spec = ModelSpec(
        name=EVERY[:500],
        source="\x1b[31m[/red]",
        inputs=(Input(height=8, width=8, preprocess=Preprocess(resize="exact", resize_to=(8, 8))),),
        task=Classify(top=classes, classes=classes, labels=LABELS),
    )
    artifact.build(folder / "model.onnx", spec, {"runtime": "onnxruntime"}, folder / "artifact")
    bundle.write(folder / "artifact", folder / "[red]m.edge", name="[/red]\x9b31m", provenance={"source": "test"})
    Image.new("RGB", (8, 8)).save(folder / "[bold]\x1b[31m.png")
    return folder


def test_run_prints_labels_literally(edge: Path, screen: Callable[[], str]) -> None:
    words = ["run", str(edge / "[red]m.edge"), str(edge / "[bold]\x1b[31m.png"), "--top", "99"]
    assert run_command(words) == 0
    text = screen()
    assert len(text.splitlines()) == 1, "an image is a line"
    for seen in (*SEEN, r"[bold]\x1b[31m.png"):
        assert seen in text
    assert run_command([*words, "--json"]) == 0
    (answer,) = json.loads(screen())
    assert {one["label"] for one in answer["top"]} == set(LABELS)


def test_run_prints_boxes_literally(tmp_path: Path, screen: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    import edgewright
    from edgewright.core.spec import Input, ModelSpec, Preprocess
    from edgewright.tasks.detect.answer import Detections
    from edgewright.tasks.detect.spec import Detect

    count = len(LABELS)
    boxes = Detections(
        np.ones((count, 4), np.float32), np.full(count, 0.5, np.float32), np.arange(count), tuple(LABELS)
    )

    class Session:
        spec = ModelSpec(
            name="d",
            inputs=(Input(height=8, width=8, preprocess=Preprocess(resize="exact", resize_to=(8, 8))),),
            task=Detect(decoder="boxes", classes=count),
        )
        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda *_: None  # noqa: E731
        __call__ = lambda *_: [boxes]  # noqa: E731

    monkeypatch.setattr(edgewright, "open", lambda *_, **__: Session())
    assert run_command(["run", "x.edge", "[bold]\x1b[31m.png"]) == 0
    text = screen()
    assert len(text.splitlines()) == 1 + len(LABELS)
    assert all(seen in text for seen in SEEN)


def test_bundles_are_shown_literally(edge: Path, screen: Callable[[], str]) -> None:
    bundle = str(edge / "[red]m.edge")
    assert run_command(["bundle", "inspect", bundle]) == 0
    text = " ".join(screen().split())
    assert r"[/red]\x9b31m" in text and r"\x1b[31m[/red]" in text
    assert run_command(["bundle", "inspect", bundle, "--json"]) == 0
    assert json.loads(screen())["artifacts"]["main"]["spec"]["task"]["labels"] == list(LABELS)
    assert run_command(["bundle", "verify", bundle]) == 0
    assert "[red]m.edge" in screen()


def test_a_target_is_shown_literally(tmp_path: Path, screen: Callable[[], str]) -> None:
    text = json.dumps(" ".join(LABELS[:-1]))
    path = tmp_path / "evil.toml"
    path.write_text(
        f'name = "evil"\ntitle = {text}\narch = "aarch64"\nnotes = [{text}]\n'
        f'[[runtimes]]\nname = "onnxruntime"\nprecisions = ["f32"]\nschemes = []\n'
    )
    assert run_command(["targets", "show", str(path)]) == 0
    text = " ".join(screen().split())
    assert "evil: [/red] [bold]x[/bold]" in text and r"\x1b[31mred" in text and r"a\u202eb" in text
    assert run_command(["targets", "show", str(path), "--json"]) == 0
    assert json.loads(screen())["title"].startswith(LABELS[0])


def test_a_file_name_that_is_no_utf8_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json([{"image": "\udcff.png"}])
    assert json.loads(capsys.readouterr().out) == [{"image": "\udcff.png"}]


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a report whose choice is inside its budget."""
    folder = tmp_path_factory.mktemp("reported")
    found = msgspec.structs.replace(_small_report(), created="2026-01-01T00:00:00Z")
    (folder / "report.json").write_bytes(msgspec.json.encode(found))
    return folder


def _small_report() -> results.Report:
    accuracy = Accuracy(images=100, agreement=97.0, primary="top1", scores={"top1": Scored(value=79.0)})
    measured = results.Measurement(
        id="openvino-f32", variant="float", runtime="openvino", precision="f32", status="ok", accuracy=accuracy
    )
    return results.Report(
        created="", model=results.ModelInfo(name="é漢", source="timm:é"),
        target=results.TargetInfo(name="x86", title="≥ x86 → −1"),
        budget="agreement >= 93%", measurements=(measured,),
        choice=results.Choice(id="openvino-f32", why="−0.5 points … of → é漢\x9b31m"),
        environment=results.Environment(cpu="cpu", arch="x86_64", cores=1),
    )  # fmt: skip


def command(*words: object, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgewright", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **env},
    )  # fmt: skip


POSIX = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def test_every_encoding_prints_and_no_exit_code_changes(reported: Path) -> None:
    """-0.5 in ASCII instead of a UnicodeEncodeError and exit 70."""
    asked: list[tuple[tuple[object, ...], int, str, dict[str, str]]] = [
        (("report", reported), 0, name, {"PYTHONIOENCODING": name}) for name in ("latin-1", "cp1252", "ascii")
    ]
    asked += [
        (("report", reported), 0, "ascii", POSIX),
        (("gate", reported, "--budget", "agreement >= 99%"), 1, "ascii", {"PYTHONIOENCODING": "ascii:strict"}),
        (("report", "é\u2212none"), 3, "ascii", {"PYTHONIOENCODING": "ascii"}),
    ]
    started = [(command(*words, **env), *rest) for words, *rest, env in asked]
    for (words, *_), (running, code, encoding) in zip(asked, started):
        out, error = (part.decode(encoding) for part in running.communicate(timeout=120))
        assert running.returncode == code, (words, encoding, error)
        assert "Traceback" not in error and bad(out + error) == set()
        if not code:
            assert "-0.5 points" in out and r"\x9b31m" in out
        if not code and encoding == "ascii":
            assert "points ... of -> \\xe9\\u6f22" in out


def shell(line: str, **values: object) -> subprocess.CompletedProcess[str]:
    """`line` in a shell, in which ``$E`` is the command; the exit code is that of the first part of a pipe."""
    env = {**os.environ, "E": f"{sys.executable} -m edgewright", **{key: str(value) for key, value in values.items()}}
    return subprocess.run(["bash", "-o", "pipefail", "-c", line], env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("$E gate $R >&-", 0),
        ("$E gate $R >&- 2>&- <&-", 0),
        ("$E gate $R --budget 'agreement >= 99%' >&-", 1),
        ("$E gate none 2>&-", 3),
        ("$E gate none 2>/dev/full", 3),
        ("$E gate $R | true", 0),
        ("$E gate $R --budget 'agreement >= 99%' --json | true", 1),
        ("$E --help | true", 0),
    ],
)
def test_a_stream_that_nobody_reads_changes_no_exit_code(line: str, code: int, reported: Path) -> None:
    done = shell(line, R=reported)
    assert done.returncode == code, done.stderr
    assert "Exception ignored" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is missing")
@pytest.mark.parametrize("words", ["gate $R", "gate $R --json", "--help"])
def test_a_full_disk_behind_standard_output_is_reported(words: str, reported: Path) -> None:
    done = shell(f"$E {words} >/dev/full", R=reported)
    assert done.returncode == 8
    assert done.stderr.startswith("error: Standard output cannot be written")
    assert len(done.stderr.splitlines()) == 3
