"""Every example that a user can read is right: it parses, and where a machine without a device can run it, it runs."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import json
import re
import shlex
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import example_finder as finder
import example_table as table
import example_world
import msgspec
import pytest
import tomllib
import typer

import edgewright
from edgewright.bench import budget as budgets
from edgewright.cli.application import application
from edgewright.cli.main import run_command
from edgewright.data import built_in
from edgewright.data import digits as digit_images
from edgewright.data import scenes as scene_images
from edgewright.demo import digits, scenes
from edgewright.demo import images as demo_images
from edgewright.export import overrides
from edgewright.export.sources.options import require_allowed
from edgewright.export.sources.parse import parse as parse_source
from edgewright.pipeline.recipe import Recipe
from edgewright.targets import catalogue
from edgewright.targets.target import Target

pytestmark = pytest.mark.xdist_group("examples")


def unique(*kinds: str) -> dict[str, str]:
    """The different examples of these kinds: what is read, and the first place where it stands."""
    places: dict[str, str] = {}
    for example in finder.found():
        if example.kind in kinds:
            places.setdefault(example.source, example.where)
    return places


def parametrized(examples: dict[str, str]) -> pytest.MarkDecorator:
    cases = [pytest.param(source, id=f"{where} {source.partition(chr(10))[0]}") for source, where in examples.items()]
    return pytest.mark.parametrize("example", cases)


PROGRAM: Any = typer.main.get_command(application())
COMMANDS = {table.plain(source): where for source, where in reversed(unique("command").items())}
MENTIONS = {table.filled(source): where for source, where in reversed(unique("mention").items())}
OPEN = {table.filled(source) for source in unique("mention") if table.is_open(source)}


# --- parsing ----------------------------------------------------------------------------------------------------------


def parse(command: str) -> None:
    """Read a command line as the program would, and do nothing. Raises click's usage errors."""
    group, words = PROGRAM, shlex.split(command)[1:]
    context = group.make_context("edgewright", words)
    while rest := [*context._protected_args, *context.args] if hasattr(group, "commands") else []:
        name, group, words = group.resolve_command(context, rest)
        context = group.make_context(name, words, parent=context)


def is_complete(command: str) -> bool:
    """Whether a mention is a whole command; where it is not, what it says must be right with the rest filled in."""
    complete = True
    for _ in range(6):
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # what --help prints
                parse(command)
        except Exception as error:
            kind = type(error).__name__
            if kind in ("Exit", "NoArgsIsHelpError"):  # --help, or a verb that has verbs of its own
                return complete and kind == "Exit"
            missing = getattr(error, "param", None) if kind == "MissingParameter" else None
            if missing is None and kind != "BadOptionUsage":
                raise
            complete = False
            command += f" {missing.opts[0]} 1" if missing and missing.opts[0].startswith("-") else " 1"
        else:
            return complete
    raise AssertionError(f"cannot be completed: {command}")


@parametrized(COMMANDS)
def test_a_command_parses(example: str) -> None:
    parse(example)


@parametrized(MENTIONS)
def test_a_command_in_a_sentence_parses(example: str) -> None:
    is_complete(example)


@pytest.mark.parametrize(
    "command",
    ["edgewright optimise x", "edgewright run a.edge b.png --trust", "edgewright report -o", "edgewright gate"],
)
def test_a_wrong_command_does_not_parse(command: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|missing|requires an argument"):
        parse(command)


# --- running ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A working directory with all that examples name, and a copy of it to begin each test from."""
    root = tmp_path_factory.mktemp("examples")
    work = root / "work"
    work.mkdir()
    with pytest.MonkeyPatch.context() as patch, example_world.quick():
        patch.setenv("EDGEWRIGHT_CACHE", str(root / "store"))
        patch.chdir(work)
        short_demo(patch)
        example_world.build(work, run)
        shutil.copytree(work, root / "kit")
        yield work, root / "kit"


@pytest.fixture(autouse=True)
def _own_store() -> None:
    """All examples share the store of `kit`, where they are given one."""


@pytest.fixture
def world(kit: tuple[Path, Path]) -> Path:
    """The working directory as it was before the first test; the processes that wait for work stand in it, too."""
    example_world.restore(*kit)
    return kit[0]


def short_demo(patch: pytest.MonkeyPatch) -> None:
    """The demo on fewer images, in float32 with one runtime (tests/e2e/test_demo.py goes on to INT8)."""
    recipe = Recipe(runtimes=("onnxruntime",), precisions=("f32",), normalize=("host",), finalists=0)
    for module in (digits, scenes):
        patch.setattr(module, "RECIPE", recipe)
    every = digit_images.load()  # a third of them leaves the model at chance, which is an error
    patch.setattr(digit_images, "load", lambda: tuple(part[::2] for part in every))
    patch.setattr(scene_images, "_CACHE", {})  # else the scenes of later tests are made of these few digits
    patch.setattr(scene_images, "COUNTS", {"calib": 4, "test": 8})
    patch.setattr(demo_images, "write", draw_here)


def draw_here(_runner: object, folder: Path, names: Collection[str], parts: Sequence[demo_images.Part]) -> None:
    """Write the demo's images without a child, which would draw all of them."""
    with built_in.replacing(folder, names, folder.name) as new:
        for part in parts:
            module, _, function = part.source.partition(":")
            built_in.write(new, getattr(importlib.import_module(module), function)(**part.arguments))


def run(command: str) -> None:
    """Run a command line; it must end well."""
    code = run_command(shlex.split(command)[1:])
    assert code == 0, f"{command}\nends with {code}"


def commands_to_run() -> dict[str, str]:
    """What runs for the whole commands, on lines of their own and in sentences, that need no device; where they are.

    Examples that differ in what is substituted only run once.
    """
    found = dict(COMMANDS)
    for command, where in MENTIONS.items():
        with contextlib.suppress(Exception):  # what is wrong with it, its own test above says
            if command not in OPEN and is_complete(command):
                found.setdefault(command, where)
    run_once: dict[str, list[str]] = {}
    for command, where in found.items():
        if not table.only_parsed(command):
            run_once.setdefault(table.runnable(command), []).append(where)
    return {command: " ".join(places) for command, places in run_once.items()}


@parametrized(commands_to_run())
def test_a_command_runs(example: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "demo --task detect" in example:
        pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")
    if example.startswith("edgewright cache"):
        monkeypatch.setenv("EDGEWRIGHT_CACHE", str(world / "store"))
    words = shlex.split(example)
    written = [Path(words[words.index(option) + 1]) for option in ("-o", "--save-images") if option in words]
    for path in written:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    run(example)
    assert all(path.exists() for path in written)


@pytest.mark.parametrize("example", [command for command in COMMANDS if command.startswith("edgewright gate")])
def test_the_gate_ends_with_1_where_the_model_is_too_slow(example: str, world: Path) -> None:
    """As README says of its examples: here for a report whose latencies are a thousand times as long."""
    report = json.loads((world / "out/report.json").read_bytes())
    (chosen,) = (m for m in report["measurements"] if m["id"] == report["choice"]["id"])
    chosen["latency"] = times(chosen["latency"], 1000)
    (world / "out/report.json").write_text(json.dumps(report))
    assert run_command(shlex.split(example)[1:]) == 1


def times(value: Any, factor: float, name: str = "") -> Any:
    """`value` (JSON) with every time in milliseconds multiplied."""
    if isinstance(value, dict):
        return {key: times(one, factor, name if name.endswith("_ms") else key) for key, one in value.items()}
    if isinstance(value, list):
        return [times(one, factor, name) for one in value]
    return value * factor if name.endswith("_ms") else value


@parametrized(unique("python", "call"))
def test_a_python_example_runs(example: str, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"edgewright": edgewright, "path": "resnet18.edge"}
    if "\n" in example:
        names = {}  # a block imports what it needs
    exec(compile(table.runnable(example), "example", "exec"), names)
    for session in (value for value in names.values() if isinstance(value, edgewright.Session)):
        session.close()


# --- what is named ----------------------------------------------------------------------------------------------------


@parametrized(unique("toml"))
def test_a_toml_example_is_read(example: str, tmp_path: Path) -> None:
    """A model's description, with names for its classes, a recipe or a target, by what is in it."""
    fields = tomllib.loads(example)
    if "preprocess" in fields:
        (tmp_path / "model.toml").write_text(example)
        (tmp_path / fields["labels_file"]).write_text("\n".join(f"thing {k}" for k in range(fields["classes"])))
        height, width = fields["preprocess"]["resize_to"]
        read = overrides.read(tmp_path / "model.toml")
        spec = overrides.build(overrides.merge({"input": {"height": height, "width": width}}, read), "it")
        assert len(spec.labels) == fields["classes"]
    elif set(fields) <= set(Target.__struct_fields__):
        board = msgspec.to_builtins(catalogue.load("jetson-orin-nano"))
        assert msgspec.convert({**board, **fields}, Target).power_mode == fields["power_mode"]
    else:
        assert msgspec.convert(fields, Recipe) != Recipe()


@parametrized(unique("budget"))
def test_a_budget_is_read(example: str) -> None:
    assert budgets.parse(example).limits


def test_sources_name_models_of_their_library() -> None:
    """By the library's code, which takes seconds to import."""
    for text, where in finder.sources():
        source = parse_source(text)
        require_allowed(source)
        name = source.name.split(".")[0]
        if source.kind == "ultralytics":
            spec = importlib.util.find_spec("ultralytics")
            if spec is None or not spec.origin or source.name.endswith(".pt"):
                continue
            family = re.sub(r"(\d+)[nslmx]$", r"\1", name)
            known = {path.stem for path in Path(spec.origin).parent.glob("cfg/models/**/*.yaml")}
            assert {name, family} & known, f"{where}: {text}"
        else:
            spec = importlib.util.find_spec(source.kind)
            assert spec is not None and spec.origin is not None
            code = "".join(path.read_text() for path in Path(spec.origin).parent.glob("models/**/*.py"))
            assert f"def {name}(" in code, f"{where}: {text}"


def test_options_that_are_named_exist() -> None:
    known = set(table.OTHERS_OPTIONS) | {"--help", "--debug", "--version"}
    groups = [PROGRAM]
    while groups:
        for command in groups.pop().commands.values():
            groups += [command] if hasattr(command, "commands") else []
            known |= {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    wrong = [f"{where}: {option}" for option, where in finder.options() if option not in known]
    assert not wrong, "\n".join(wrong)


def test_modules_that_are_named_exist() -> None:
    assert finder.modules()
    for name, where in finder.modules():
        assert importlib.util.find_spec(name), f"{where}: {name}"


def test_files_and_make_targets_that_are_named_exist() -> None:
    made = set(re.findall(r"^([a-z]+):", (finder.ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in finder.texts():
        if text.is_code:
            continue
        for match in re.finditer(r"`make ([a-z]+)|^    make ([a-z]+)", text.body, re.MULTILINE):
            assert (match[1] or match[2]) in made, f"{text.at(match.start())}: {match.group()}"
        for match in re.finditer(r"\b(?:tests|docs|src)/[\w./]+\.(?:py|md|toml)\b", text.body):
            assert (finder.ROOT / match.group()).is_file(), f"{text.at(match.start())}: {match.group()}"


# --- nothing is left out ----------------------------------------------------------------------------------------------


def test_nothing_that_looks_like_an_example_is_left_out() -> None:
    assert {"command", "mention", "python", "call", "toml", "budget"} == {example.kind for example in finder.found()}
    assert [stray for text in finder.texts() for stray in finder.strays(text)] == []


@pytest.mark.parametrize(
    "page",
    [
        "Then say edgewright gate out/ and wait.\n",
        "Use it:\n  edgewright gate out/\n",
        "~~~\nimport edgewright\n~~~\n",
        "Call edgewright.open('x.edge') first.\n",
    ],
)
def test_an_example_in_no_known_form_is_a_stray(page: str) -> None:
    text = finder.Text("page.md", 1, page, is_code=False)
    assert finder.examples(text) == []
    assert len(finder.strays(text)) == 1


def test_what_is_substituted_or_only_parsed_still_stands_somewhere() -> None:
    every = [*COMMANDS, *MENTIONS]
    for part in table.PARSED_ONLY:
        assert any(re.search(part, command) for command in every), f"remove {part}"
    written = [*every, *unique("python")]
    for number, one in enumerate(table.SUBSTITUTIONS):
        before = [functools.reduce(table.replaced, table.SUBSTITUTIONS[:number], source) for source in written]
        assert any(re.search(one.part, source, re.MULTILINE) for source in before), f"remove {one.part}"
