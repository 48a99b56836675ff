"""The state of a run: what it goes in with, what was built of each candidate so far, and what is known of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgewright.bench.budget import Budget
from edgewright.bench.latency import Timing
from edgewright.bench.results import Finding
from edgewright.core.errors import EdgewrightError
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


@dataclass(kw_only=True)
class Build:
    """One candidate on its way: what was made of it so far, or where and why it failed.

    `model` is the ONNX file that was compiled. `emulated` answers here as the artifact does on its device: one for
    TensorRT, or for a processor without VNNI. `unaudited` says why there is no audit.
    """

    candidate: Candidate
    model: Entry | None = None
    quantized: Entry | None = None
    half: Entry | None = None
    artifact: Entry | None = None
    checked: Entry | None = None
    emulated: Entry | None = None
    evaluation: Entry | None = None
    scored: Accuracy | None = None
    audit: Entry | None = None
    unaudited: Finding | None = None
    timing: Timing | None = None
    failed_in: str | None = None
    reason: str | None = None

    @property
    def alive(self) -> bool:
        """Whether it has not failed."""
        return self.failed_in is None

    @contextlib.contextmanager
    def stage(self, name: str, runner: StageRunner) -> Iterator[None]:
        """Run a stage of this candidate: a failure that is the candidate's own becomes its reason."""
        try:
            yield
        except FATAL:
            raise
        except EdgewrightError as error:
            self.failed_in, self.reason = name, " ".join(line for line in (error.what, error.why) if line)
            runner.watch(name, self.candidate.id, 1, 1, f"failed: {error.what}")


@dataclass(frozen=True, kw_only=True)
class RunState:
    """All that a run made; `pipeline.report` reads the figures out of it. `base`: what speedups are relative to.

    `given`: how much of the source is in INT8 already; None for a float one.
    `predicted`: of a pruned artifact the one it was predicted from, and the share of its latency that was to be left.
    """

    job: Job
    spec: ModelSpec
    images: Images
    exported: Entry
    reference: Build
    builds: list[Build]
    measured_here: bool
    host: Host
    base: str | None = None
    images_audit: Entry | None = None
    given: Quantized | None = None
    predicted: Mapping[str, tuple[str, float]] = field(default_factory=dict)
