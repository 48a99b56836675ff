"""The history of a model's figures over commits: one JSON object a run, in a file or on an object store.

A path that ends in ``.jsonl`` is one file with a line a run. Any other path or URL is a folder with a file a run,
because object stores cannot append. Both are read with `read`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from edgewright.core import files, urls
from edgewright.core.errors import InvalidInput
from edgewright.tasks.scores import Better

from .change_points import Change, change_points
from .formats import values
from .results import Environment, Latency, Report

SCHEMA_VERSION = 1
LINES = ".jsonl"
OF_MACHINE = frozenset({"ms", "1/s", "mJ"})
"""Units of figures that depend on the machine: they are compared only with runs on the same one."""
_COMMITS = ("GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT", "BUILD_SOURCEVERSION")
_BRANCHES = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "GIT_BRANCH", "BUILD_SOURCEBRANCHNAME")
_BYTES = 1 << 20
"""The largest run that is read, in bytes."""


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A figure of a run with the ends of its interval. `unit` and `better` as in `tasks.scores.Score`."""

    value: float
    unit: str
    better: Better
    low: float | None = None
    high: float | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The figures of one run.

    `time`: ISO 8601 in UTC. `machine`: the processor and its cores, by which runs are grouped. `yardstick_ms`: the time
    of a fixed small model on this machine. `digest`: of the bundle. `unreliable`: why the latency is, or empty.
    """

    schema_version: int = msgspec.field(default_factory=lambda: SCHEMA_VERSION)
    time: str
    commit: str
    branch: str = ""
    model: str
    task: str
    target: str
    variant: str
    machine: str
    yardstick_ms: float | None = None
    digest: str = ""
    unreliable: str = ""
    figures: dict[str, Figure] = {}


class History(NamedTuple):
    """The runs, the oldest first, and what could not be read, as text."""

    runs: tuple[Run, ...]
    skipped: tuple[str, ...] = ()


def run_of(report: Report, commit: str, branch: str = "", digest: str = "") -> Run:
    """Return the run of a report: the figures of its chosen variant. Raises `InvalidInput` if none is chosen."""
    found = report.chosen
    if found is None:
        why = report.choice.why if report.choice else "The report has no choice."
        raise InvalidInput("The report chose no variant.", why, "Only the variant that ships has a history.")
    latency = found.latency
    return Run(
        time=report.created, commit=commit, branch=branch, model=report.model.name, task=report.model.task,
        target=report.target.name, variant=found.id, machine=machine(report.environment), digest=digest,
        unreliable=_doubt(latency),
        figures={
            value.name: Figure(value=value.value, unit=value.unit, better=value.better, low=value.low, high=value.high)
            for value in values.of(found, report)
        },
    )  # fmt: skip


def machine(found: Environment) -> str:
    """Return what identifies the kind of a machine: runs on equal ones are comparable."""
    parts = [found.board or found.cpu, f"{found.cores} cores", *(gpu.name for gpu in found.gpus)]
    return ", ".join([*parts, *([found.power_mode] if found.power_mode else [])])


def commit_of(folder: Path) -> tuple[str, str]:
    """Return (commit, branch): those that a CI system names, else those of git in `folder`, else empty."""
    commit = next((os.environ[name] for name in _COMMITS if os.environ.get(name)), "")
    branch = next((os.environ[name] for name in _BRANCHES if os.environ.get(name)), "")
    return commit or _git(folder, "rev-parse", "HEAD"), branch or _git(folder, "rev-parse", "--abbrev-ref", "HEAD")


def append(where: str, run: Run) -> str:
    """Add `run` to the history at a path or URL, and return the file that was written.

    Several jobs may add at once. A last line that a killed job left half is closed first.
    """
    content = msgspec.json.encode(run) + b"\n"
    if where.endswith(LINES) and urls.is_local(where):
        path = Path(urls.local(where))
        files.require_writable_file(path, "Name another history.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:  # O_APPEND: one write of a line is not mixed with another
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                content = content if file.read(1) == b"\n" else b"\n" + content
            file.write(content)
        return str(path)
    if where.endswith(LINES):
        raise InvalidInput(
            f"{where} is a file on an object store.", "An object store cannot append to a file.",
            "Name a folder: each run becomes a file in it.",
        )  # fmt: skip
    system, folder = urls.filesystem(where)
    stamp = run.time.replace(":", "").replace("-", "")
    target = (
        f"{folder.rstrip('/')}/{_word(stamp)}-{_word(run.commit[:12]) or 'none'}-{_word(run.digest[:8]) or '0'}.json"
    )
    try:
        system.makedirs(folder, exist_ok=True)
        system.pipe_file(target, content)
    except Exception as error:  # each file system has errors of its own
        raise urls.failed(where, error) from error
    return target


def read(where: str) -> History:
    """Read the history at a path or URL. A line that cannot be read is skipped, and the result says so.

    Raises `InvalidInput` if there is no history, and for one of a newer version.
    """
    system, path = urls.filesystem(where)
    try:
        if where.endswith(LINES):
            lines = [
                (f"line {k}", line) for k, line in enumerate(system.cat_file(path).split(b"\n"), 1) if line.strip()
            ]
        else:
            names = sorted(name for name in system.ls(path, detail=False) if str(name).endswith(".json"))
            lines = [(str(name).rpartition("/")[2], content) for name, content in system.cat(names).items()]
    except FileNotFoundError:
        raise InvalidInput(
            f"There is no history at {where}.", "Nothing was added yet, or the path is another one.",
            "Add a run: edgewright history add REPORT HISTORY",
        ) from None  # fmt: skip
    except Exception as error:  # each file system has errors of its own
        raise urls.failed(where, error) from error
    runs, skipped = list[Run](), list[str]()
    for place, line in lines:
        try:
            runs.append(_parse(line, f"{where}, {place}"))
        except msgspec.MsgspecError as error:
            skipped.append(f"{place}: {error}")
    return History(tuple(sorted(runs, key=lambda run: run.time)), tuple(skipped))


def changes(runs: Sequence[Run], name: str) -> list[Change]:
    """Return the change points of the figure `name` over `runs`. Their numbers are those of `runs`.

    A figure that depends on the machine is compared only over the runs on equal machines, so a new machine is never a
    change of the model. Runs without the figure, and unreliable latencies, do not count.
    """
    groups: dict[str, list[int]] = {}
    for index, run in enumerate(runs):
        figure = run.figures.get(name)
        if figure is not None and not (figure.unit in OF_MACHINE and run.unreliable):
            groups.setdefault(run.machine if figure.unit in OF_MACHINE else "", []).append(index)
    found = []
    for places in groups.values():
        series = [runs[index].figures[name].value for index in places]
        found += [change._replace(at=places[change.at]) for change in change_points(series)]
    return sorted(found)


def machine_changes(runs: Sequence[Run]) -> list[int]:
    """Return the indices of runs whose machine differs from that of the run before."""
    return [k for k in range(1, len(runs)) if runs[k].machine != runs[k - 1].machine]


def is_worse(change: Change, figure: Figure) -> bool:
    """Whether a change is for the worse."""
    return (change.after > change.before) == (figure.better == "lower")


def describe(change: Change, name: str, figure: Figure, runs: Sequence[Run]) -> str:
    """Return a change as a sentence."""
    ratio = change.after / change.before - 1 if change.before else 0.0
    by = f"{change.after - change.before:+.2f} points" if figure.unit == "%" else f"{ratio:+.1%}"
    run, word = runs[change.at], "worse" if is_worse(change, figure) else "better"
    at = f"{run.commit[:8] or 'the run'} ({run.time[:10]})"
    return f"{name} is {word} since {at}: {change.before:.4g} -> {change.after:.4g} {figure.unit}, {by}"


def names(runs: Iterable[Run]) -> dict[str, Figure]:
    """Return the names of the figures in `runs`, in the order of the newest run, each with its newest figure."""
    found: dict[str, Figure] = {}
    for run in reversed(list(runs)):
        found |= {name: figure for name, figure in run.figures.items() if name not in found}
    return found


def _doubt(latency: Latency | None) -> str:
    return "" if latency is None or latency.valid else latency.why or "unreliable"


def _parse(line: bytes, place: str) -> Run:
    if len(line) > _BYTES:
        raise msgspec.ValidationError(f"{len(line)} bytes, more than the allowed {_BYTES}")
    content: Any = msgspec.json.decode(line)
    version = content.get("schema_version", 1) if isinstance(content, Mapping) else 1
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InvalidInput(
            f"{place} has schema version {version}.", f"This edgewright reads versions up to {SCHEMA_VERSION}.",
            "Update edgewright: pip install -U edgewright",
        )  # fmt: skip
    return msgspec.convert(content, Run)


def _word(text: str) -> str:
    return "".join(c for c in text if c.isascii() and (c.isalnum() or c in "._+"))


def _git(folder: Path, *command: str) -> str:
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
