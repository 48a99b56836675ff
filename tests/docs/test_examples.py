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


ADVICE = "mark its block with <!-- not run: why -->, or use names of the test world (tests/docs/example_world.py)"


def unique(*kinds: str, ways: Collection[str] = ("run", "slow", "parse")) -> dict[str, str]:
    """The different examples of these kinds: what is read, and the first place where it is."""
    places: dict[str, str] = {}
    for example in finder.found():
        if example.kind in kinds and example.way in ways:
            places.setdefault(example.source, example.where)
    return places


def parametrized(examples: dict[str, str], slow: Collection[str] = ()) -> pytest.MarkDecorator:
    """One case for each example; those in `slow` run in the slow suite."""
    cases = [
        pytest.param(
            source, where, id=f"{where} {source.partition(chr(10))[0]}", marks=[pytest.mark.slow] * (source in slow)
        )
        for source, where in examples.items()
    ]
    return pytest.mark.parametrize("example, where", cases)


PROGRAM: Any = typer.main.get_command(application())
COMMANDS = {table.plain(source): where for source, where in reversed(unique("command").items())}
RUN = {table.plain(source): where for source, where in reversed(unique("command", ways=("run", "slow")).items())}
SLOW = {table.plain(source) for source in unique("command", ways=("slow",))}
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


def refused(example: str, where: str, error: Exception) -> str:
    """The line about an example that does not parse."""
    said = getattr(error, "format_message", lambda: str(error))()
    return f"{where}: `{example}`: {type(error).__name__}: {' '.join(said.split())}"


@parametrized(COMMANDS)
def test_a_command_parses(example: str, where: str) -> None:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # what --help prints
            parse(table.filled(example))
    except Exception as error:
        if type(error).__name__ not in ("Exit", "NoArgsIsHelpError"):
            pytest.fail(refused(example, where, error), pytrace=False)


@parametrized(MENTIONS)
def test_a_command_in_a_sentence_parses(example: str, where: str) -> None:
    try:
        is_complete(example)
    except Exception as error:
        pytest.fail(refused(example, where, error), pytrace=False)


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
    if code:
        pytest.fail(f"`{command}` ends with exit code {code}", pytrace=False)


def commands_to_run() -> dict[str, str]:
    """What runs for the whole commands, on lines of their own and in sentences, that need no device; where they are.

    Examples that differ in what is substituted only run once.
    """
    found = dict(RUN)
    for command, where in MENTIONS.items():
        with contextlib.suppress(Exception):  # what is wrong with it, its own test above says
            if command not in OPEN and is_complete(command):
                found.setdefault(command, where)
    run_once: dict[str, list[str]] = {}
    for command, where in found.items():
        if not table.only_parsed(command) and not table.is_open(command):
            run_once.setdefault(table.runnable(command), []).append(where)
    return {command: " ".join(places) for command, places in run_once.items()}


@parametrized(commands_to_run(), slow={table.runnable(command) for command in SLOW})
def test_a_command_runs(
    example: str, where: str, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "demo --task detect" in example:
        pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")
    if example.startswith("edgewright cache"):
        monkeypatch.setenv("EDGEWRIGHT_CACHE", str(world / "store"))
    words = shlex.split(example)
    written = [Path(words[words.index(option) + 1]) for option in ("-o", "--save-images") if option in words]
    written = [path for path in written if path != Path("-")]  # standard output
    for path in written:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if code := run_command(words[1:]):
        said = " ".join(capsys.readouterr().err.split())[-600:]
        pytest.fail(f"{where}: `{example}` ends with exit code {code}: {said}\n{ADVICE}", pytrace=False)
    assert all(path.exists() for path in written)


GATES = [
    command
    for command in RUN
    if re.match("edgewright gate out/ (?!.*--compare accuracy).*(?:--baseline|p[0-9]+ <=)", command)
]


@pytest.mark.parametrize("example", GATES)
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


PYTHON = unique("python", "call", ways=("run", "slow"))


@parametrized(PYTHON, slow=unique("python", ways=("slow",)))
def test_a_python_example_runs(example: str, where: str, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"edgewright": edgewright, "path": "resnet18.edge"}
    if "\n" in example:
        names = {}  # a block imports what it needs
    try:
        exec(compile(table.runnable(example), "example", "exec"), names)
    except Exception as error:
        pytest.fail(f"{where}: {type(error).__name__}: {error}\n{ADVICE}", pytrace=False)
    for session in (value for value in names.values() if isinstance(value, edgewright.Session)):
        session.close()


def test_python_examples_that_do_not_run_parse() -> None:
    for example, where in unique("python", ways=("parse",)).items():
        compile(example, where, "exec")


# --- what is named ----------------------------------------------------------------------------------------------------


@parametrized(unique("toml"))
def test_a_toml_example_is_read(example: str, where: str, tmp_path: Path) -> None:
    """A model's description, with names for its classes, a recipe or a target, by what is in it."""
    fields = tomllib.loads(example)
    if where in unique("toml", ways=("parse",)).values():
        return
    if set(fields) <= set(Recipe.__struct_fields__):
        assert msgspec.convert(fields, Recipe) != Recipe()
    elif set(fields) <= set(Target.__struct_fields__):
        board = msgspec.to_builtins(catalogue.load("jetson-orin-nano"))
        assert msgspec.convert({**board, **fields}, Target) != catalogue.load("jetson-orin-nano")
    else:
        (tmp_path / "model.toml").write_text(example)
        if labels := fields.get("labels_file"):
            (tmp_path / labels).write_text("\n".join(f"thing {k}" for k in range(fields["classes"])))
        said, size = fields.get("preprocess", {}), {"height": 32, "width": 32, **fields.get("input", {})}
        height, width = said.get("crop", said.get("resize_to", (size["height"], size["width"])))
        crop = {"crop": [height, width]} if said.get("resize", "shorter") == "shorter" else {}
        image = {
            "input": {"height": height, "width": width}, "preprocess": {"resize_to": [height, width], **crop},
        }  # fmt: skip
        classes = fields.get("classes", len(fields.get("labels", ())) or 2)
        base = {"name": "it", "classes": classes, **({} if "inputs" in fields else image)}
        known = overrides.merge(base, overrides.read(tmp_path / "model.toml"))
        assert len(overrides.build(known, "it").labels) == fields.get("classes", len(fields.get("labels", ())))


@parametrized(unique("budget"))
def test_a_budget_is_read(example: str, where: str) -> None:
    assert budgets.parse(example).limits, where


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
    known = set(table.OTHERS_OPTIONS) | {"--help", "--debug", "--version", "--install-completion", "--show-completion"}
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


# --- pages ------------------------------------------------------------------------------------------------------------

PAGES = [text for text in finder.texts() if text.file.endswith(".md")]


def test_every_block_on_a_page_can_be_checked() -> None:
    wrong = [problem for page in PAGES for problem in finder.problems(page)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "block, problem",
    [
        ("```bash\nls out/\n```", "`ls out/`: only edgewright, make and pip install run here; mark it with <!-- not"),
        ("```bash\nmake dmeo\n```", "`make dmeo`: the Makefile has no target dmeo"),
        ("```bash\npip install 'edgewright[gpus]'\n```", "pyproject.toml has no extra gpus"),
        ("```bash\npip install tensorflow\n```", "tensorflow is no dependency"),
        ("```bash\n$ edgewright doctor\n```", "a prompt"),
        ("```bash\nedgewright run 'a\n```", "no valid shell"),
        ("- a list:\n\n  ```bash\n  scp a b:\n  ```", "`scp a b:`"),
        ("<!-- not run: -->\n```bash\nls\n```", "say why"),
        ("<!-- not run: no device -->\n\nText.\n\n```text\n3.2 ms\n```", "directly above a fence"),
        ("```sh\nls\n```", "no block is in 'sh': take bash"),
        ("```text\n\n```", "the block is empty"),
        ("```\n3.2 ms\n```", "no block is in '': take bash"),
        ('```json\n{"a": ...}\n```', "no valid json"),
    ],
)
def test_a_block_that_cannot_be_checked_is_a_problem(block: str, problem: str) -> None:
    (found,) = finder.problems(finder.Text("page.md", 1, f"Text.\n\n{block}\n", is_code=False))
    assert problem in found
    assert found.startswith("page.md")


def test_a_shell_block_is_a_list_of_commands() -> None:
    block = """\
# a comment
CUDA_VISIBLE_DEVICES= edgewright run a.edge b.png \\
    --json > answer.json
edgewright gate out/ --budget "top1 >= -1.0 | p95 <= 10ms" && echo ok; .venv/bin/edgewright doctor | head -3
cat > net.toml <<'EOF'
edgewright = "no command"
EOF
for page in a b; do edgewright report $page; done
"""
    text = finder.Text("page.md", 1, f"<!-- not run: no such files -->\n```bash\n{block}```\n", is_code=False)
    (fence,) = finder.fenced(text)
    assert [" ".join(one.words) for one in finder.commands(text, fence)] == [
        "edgewright run a.edge b.png --json", "edgewright gate out/ --budget top1 >= -1.0 | p95 <= 10ms", "echo ok",
        "edgewright doctor", "head -3", "cat", "for page in a b", "edgewright report $page", "done",
    ]  # fmt: skip
    examples = finder.examples(text)
    assert {(one.kind, one.way) for one in examples} == {("command", "parse")}
    assert [one.where for one in examples] == ["page.md:4", "page.md:6", "page.md:6", "page.md:10"]
    assert finder.problems(text) == finder.strays(text) == []


def anchors(page: Path) -> set[str]:
    """What a link may name behind ``#``: the headings, as the site and GitHub write them, and explicit names."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = set(re.findall(r"(?:\{ *#|id=\"|name=\")([\w-]+)", text))
    for heading in re.findall(r"^#+ +(.+?)(?: *\{.*\})?$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\s-]", "", re.sub(r"\]\([^)]*\)", "", heading)).strip().lower()
        found |= {re.sub(r"\s+", "-", plain), re.sub(r"\s", "-", plain)}
    return found


def broken_links(page: finder.Text) -> Iterator[str]:
    """Links and pictures of a page that lead to no file of the repository, or to no heading of that file."""
    body = re.sub(r"^ *```.*?^ *```", lambda m: "\n" * m[0].count("\n"), page.body, flags=re.MULTILINE | re.DOTALL)
    for match in re.finditer(r"\]\(<?([^)\s>]+)>?(?: +\"[^\"]*\")?\)|^\[[^\]]+\]: +(\S+)", body, re.MULTILINE):
        link = match[1] or match[2]
        where = f"{page.file}:{body.count(chr(10), 0, match.start()) + 1}: {link}"
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        path = (finder.ROOT / page.file).parent / name if name else finder.ROOT / page.file
        if not path.exists():
            yield f"{where}: there is no such file"
        elif anchor and path.suffix == ".md" and anchor not in anchors(path):
            yield f"{where}: that page has no such heading"


def test_links_lead_to_files_and_headings() -> None:
    wrong = [link for page in PAGES for link in broken_links(page)]
    assert not wrong, "\n".join(wrong)


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
        assert any(re.search(part, command) for command in every), f"remove from example_table.py: {part}"
    written = [*every, *unique("python", "call")]
    for number, one in enumerate(table.SUBSTITUTIONS):
        before = [functools.reduce(table.replaced, table.SUBSTITUTIONS[:number], source) for source in written]
        assert any(re.search(one.part, source, re.MULTILINE) for source in before), (
            f"remove from example_table.py, or name it again: {one.part}"
        )
