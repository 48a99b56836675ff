"""The state of a run: its inputs, the builds so far, and their results."""

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
"""The reference as a candidate in latency measurements; no other candidate runs on torch."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """The inputs of a run."""

    source: Source
    data: Path
    split: str | None
    calibration: Path | None
    target: Target
    recipe: Recipe
    budget: Budget | None
    remeasure: bool = False


class Failure(NamedTuple):
    """The stage that failed, and why."""

    stage: str
    what: str
    why: str = ""
    timed_out: bool = False

    @property
    def reason(self) -> str:
        """The text for the report."""
        return " ".join(line for line in (self.what, self.why) if line)


@dataclass(kw_only=True, eq=False)
class Build:
    """The build of one candidate: the result of each stage by the stage's name, or its failure.

    `left_out`: why it is skipped: not built, or not evaluated. `skipped`: failed stages that the candidate does not
    need (its audit). `results["model"]` is the ONNX file that was compiled. `results["emulate"]` is an artifact that
    computes here what this one computes on its device: TensorRT, or a processor without VNNI.
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
        """Whether it neither failed nor was skipped."""
        return self.failure is None and not self.left_out

    @property
    def artifact(self) -> Entry | None:
        """The artifact that the runtime loads; completed on its device if the runtime needs that."""
        return self.results.get("finish") or self.results.get("compile")

    @property
    def answers(self) -> Entry | None:
        """Its outputs on the evaluation images."""
        return self.results.get("evaluate")

    @contextlib.contextmanager
    def stage(self, name: str, runner: StageRunner) -> Iterator[None]:
        """Run a stage of this candidate. An error of the candidate becomes its failure; a fatal error is raised."""
        try:
            yield
        except FATAL:
            raise
        except EdgewrightError as error:
            self.failure = Failure(name, error.what, error.why, isinstance(error, TimedOut))
            runner.watch(name, self.candidate.id, 1, 1, f"failed: {error.what}")


@dataclass(kw_only=True)
class RunState:
    """The state of a run: its inputs, the models, and the builds.

    `models`: by name; "" is the exported model, others were derived from it or failed. `left`: for each pruned model,
    the intended share of the latency. `given`: how much of the source is already in INT8; None for a float source.
    `base`: the candidate that speedups refer to. `screenings`: of latency, by the artifacts in them.
    `deadline`: when to begin no more work (`time.monotonic`).
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
    screenings: dict[tuple[str, ...], dict[str, Timing]] = field(default_factory=dict)
    base: str | None = None
    deadline: float | None = None
    images_audit: Entry | None = None

    @property
    def exported(self) -> Entry:
        """The exported model."""
        return self.model("")

    def model(self, name: str) -> Entry:
        """The model called `name`, which must not have failed."""
        found = self.models[name]
        assert not isinstance(found, Failure), name
        return found
