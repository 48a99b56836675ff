"""The state of a run: what it goes in with, what was built of each candidate so far, and what is known of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from edgewright.bench.budget import Budget
from edgewright.bench.latency import Timing
from edgewright.core.errors import EdgewrightError, TimedOut
from edgewright.core.spec import ModelSpec
from edgewright.core.store import Entry
from edgewright.graph.precision import Quantized
from edgewright.pipeline.candidate import Candidate, Variant
from edgewright.pipeline.hosts import Host
from edgewright.pipeline.images import Images
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.stages.export import Source
from edgewright.pipeline.stages.runner import FATAL, StageRunner
from edgewright.runtimes.options import Options
from edgewright.targets.target import Target
from edgewright.tasks.scores import Accuracy

REFERENCE = Candidate(variant=Variant(), options=Options(runtime="torch"))
"""How the reference is called among the artifacts of a latency run: no candidate runs on torch."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a run goes in with."""

    source: Source
    data: Path
    split: str | None
    calibration: Path | None
    target: Target
    recipe: Recipe
    budget: Budget | None
    remeasure: bool = False


class Failure(NamedTuple):
    """Where and why something could not be made."""

    stage: str
    what: str
    why: str = ""
    timed_out: bool = False

    @property
    def reason(self) -> str:
        """What a report says."""
        return " ".join(line for line in (self.what, self.why) if line)


@dataclass(kw_only=True, eq=False)
class Build:
    """One candidate on its way: what each stage made of it, by the name of the stage, or where and why it failed.

    `left_out`: why it is not built, or not measured to the end.
    `skipped`: what failed that the candidate lives without (its audit). "model" is the ONNX file that was compiled,
    "emulate" an artifact that answers here as this one does on its device: one for TensorRT, or for a processor
    without VNNI.
    """

    candidate: Candidate
    results: dict[str, Entry] = field(default_factory=dict)
    failure: Failure | None = None
    left_out: str = ""
    skipped: dict[str, Failure] = field(default_factory=dict)
    timing: Timing | None = None
    scored: Accuracy | None = None

    @property
    def alive(self) -> bool:
        """Whether it goes on: it has not failed, and is not left out."""
        return self.failure is None and not self.left_out

    @property
    def artifact(self) -> Entry | None:
        """What its runtime loads, finished on its device where it has to be."""
        return self.results.get("finish") or self.results.get("compile")

    @property
    def answers(self) -> Entry | None:
        """What it answered on the evaluation images."""
        return self.results.get("evaluate")

    @contextlib.contextmanager
    def stage(self, name: str, runner: StageRunner) -> Iterator[None]:
        """Run a stage of this candidate: a failure that is the candidate's own becomes its reason."""
        try:
            yield
        except FATAL:
            raise
        except EdgewrightError as error:
            self.failure = Failure(name, error.what, error.why, isinstance(error, TimedOut))
            runner.watch(name, self.candidate.id, 1, 1, f"failed: {error.what}")


@dataclass(kw_only=True)
class RunState:
    """All that is known in a run: what it goes in with, the models that candidates are made of, what was built of each.

    `models`: the exported one is called "", others were made of it, or failed. `left`: of a pruned one the share of the
    latency that was to be left. `given`: how much of the source is in INT8 already; None for a float one. `base`: what
    speedups are relative to. `looks`: first looks at latency, by the artifacts that were in them. `deadline`: when no
    more work is to begin (`time.monotonic`).
    """

    job: Job
    runner: StageRunner
    host: Host
    spec: ModelSpec
    images: Images
    models: dict[str, Entry | Failure]
    measured_here: bool
    given: Quantized | None = None
    reference: Build = field(default_factory=lambda: Build(candidate=REFERENCE))
    builds: list[Build] = field(default_factory=list)
    left: dict[str, float] = field(default_factory=dict)
    looks: dict[tuple[str, ...], dict[str, Timing]] = field(default_factory=dict)
    base: str | None = None
    deadline: float | None = None
    images_audit: Entry | None = None

    @property
    def exported(self) -> Entry:
        """The model as it was given."""
        return self.model("")

    def model(self, name: str) -> Entry:
        """The model that is called `name`, which was made."""
        found = self.models[name]
        assert not isinstance(found, Failure), name
        return found
