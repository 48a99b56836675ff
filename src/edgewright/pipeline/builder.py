"""What every candidate of a run passes through: quantize, rewrite, compile, answer, audit, time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from edgewright.bench import budget as budgets
from edgewright.bench.budget import Budget
from edgewright.bench.latency import Rules, Timing, measure_interleaved
from edgewright.core.child import Progress
from edgewright.core.errors import DiskFull, EdgewrightError, InvalidInput, RuntimeFailed
from edgewright.core.spec import ModelSpec
from edgewright.core.store import Entry
from edgewright.data.sets import ImageSet
from edgewright.export.sources.parse import parse
from edgewright.graph.precision import Quantized
from edgewright.pipeline import hosts
from edgewright.pipeline import images as image_sets
from edgewright.pipeline.candidate import Candidate, Variant
from edgewright.pipeline.candidates.base import (
    enumerate_candidates,
    is_installed,
    require_as_given,
    saturates,
    variations,
)
from edgewright.pipeline.hosts import Host
from edgewright.pipeline.images import Images
from edgewright.pipeline.score import is_inside
from edgewright.pipeline.stages import audit as audits
from edgewright.pipeline.stages import check as checks
from edgewright.pipeline.stages.audit import Subject
from edgewright.pipeline.stages.compile import compile_artifact, emulate, emulate_saturation, finish
from edgewright.pipeline.stages.export import export
from edgewright.pipeline.stages.measure import evaluate
from edgewright.pipeline.stages.mixed_precision import mix_precision
from edgewright.pipeline.stages.model import spec_of, what_is
from edgewright.pipeline.stages.quantize import halve, quantize
from edgewright.pipeline.stages.rewrite import fold_normalization
from edgewright.pipeline.stages.runner import StageRunner, made_by
from edgewright.pipeline.state import REFERENCE, Build, Job, RunState
from edgewright.quantize.calibration.images import require_enough
from edgewright.quantize.methods import DISTIL
from edgewright.runtimes import artifact as artifacts
from edgewright.runtimes.options import Options
from edgewright.targets.target import matches

LATENCY_IMAGES = 4

SCREENING = Rules(min_duration_s=0.5, min_count=40, max_duration_s=3.0, rounds=5, warm_up_s=0.6, cold_starts=1)
"""A first look at latency that only decides which candidates get variations; no figure of it is reported."""


def prepare(job: Job, runner: StageRunner, host: Host) -> tuple[CandidateBuilder, list[Candidate]]:
    """The production line of a job, and the candidates that go through it."""
    count, seed = job.recipe.calibration_images, job.recipe.seed
    images = image_sets.gather(job.data, job.split, job.calibration, count, seed, runner)
    runner.watch(
        "data",
        str(job.data),
        1,
        1,
        f"{len(images.evaluation.items)} to evaluate on, {len(images.calibration.items)} to calibrate on",
    )
    require_labels(images.evaluation, job.budget)
    candidates = enumerate_candidates(job.target, job.recipe)
    may_be_int8 = parse(job.source.source).kind == "onnx"  # else what calibration lacks is said before the export
    if not may_be_int8:
        _require_calibration(candidates, images)
    exported = export_source(runner, job, images)
    found = what_is(exported) if may_be_int8 else None
    given = found.quantized if found and found.operators else None
    if given and found:
        require_as_given(job.recipe, Path(job.source.source).name, found.operators)
        candidates = enumerate_candidates(job.target, job.recipe, given)
    elif may_be_int8:
        _require_calibration(candidates, images)
    spec = spec_of(exported)
    job = replace(job, budget=budget_for(spec, job.budget))
    images = msgspec.structs.replace(images, evaluation=image_sets.label(images.evaluation, spec, runner))
    require_labels(images.evaluation, job.budget, spec)
    builder = CandidateBuilder(
        job=job, runner=runner, spec=spec, images=images, exported=exported, host=host,
        measure=matches(job.target, host.machine), given=given,
    )  # fmt: skip
    return builder, candidates


def export_source(runner: StageRunner, job: Job, images: Images) -> Entry:
    """The exported model of the job's source, proven on the first of its `images`."""
    parity = images.evaluation.only(images.evaluation.items[: job.recipe.parity_images])
    return export(runner, job.source, parity, job.recipe.batch)


def _require_calibration(candidates: Sequence[Candidate], images: Images) -> None:
    if any(candidate.variant.scheme for candidate in candidates):
        require_enough(len(set(images.calibration.digests)))


@dataclass(frozen=True, kw_only=True)
class CandidateBuilder:
    """The production line of one run: what every candidate passes through."""

    job: Job
    runner: StageRunner
    spec: ModelSpec
    images: Images
    exported: Entry
    host: Host
    measure: bool
    given: Quantized | None = None
    compressed: Mapping[str, Entry] = field(default_factory=dict)

    def model_of(self, variant: Variant) -> Entry:
        """The exported model that `variant` is made of."""
        return self.compressed[variant.compression] if variant.compression else self.exported

    def build(self, candidate: Candidate) -> Build:
        """Quantize, fold and compile one candidate."""
        build = Build(candidate=candidate)
        model, spec = self.model_of(candidate.variant), self.spec
        if not is_installed(candidate):
            build.failed_in, build.reason = "compile", f"{candidate.options.runtime} is not installed on this machine."
            return build
        if candidate.variant.scheme:
            with build.stage("quantize", self.runner):
                build.quantized = model = self._quantize(candidate.variant)
        if build.alive and candidate.variant.normalize == "graph":
            with build.stage("normalize", self.runner):
                model = fold_normalization(self.runner, model, candidate.variant.name)
                spec = spec_of(model)
        if build.alive and candidate.is_half:
            with build.stage("half", self.runner):
                build.half = model = halve(self.runner, model, candidate.id, self.images.calibration)
        build.model = model
        if build.alive:
            with build.stage("compile", self.runner):
                run = self.measure and self.host.is_here
                build.artifact = compile_artifact(self.runner, model, spec, candidate, run)
        if build.alive and self.measure and build.artifact and self.host.finishes(candidate.options):
            with build.stage("finish", self.runner):
                assert self.host.finish is not None
                build.artifact = finish(
                    self.runner,
                    build.artifact,
                    candidate.id,
                    f"{self.host.unit}; {self.host.identity}",
                    self.host.finish,
                )
        if build.alive and candidate.traits.on_device and not self.measure:
            self._prove(build, model, spec)
        if build.alive and self.measure and saturates(candidate, self.job.target, self.host.machine):
            with build.stage("emulate", self.runner):
                build.emulated = emulate_saturation(self.runner, model, candidate, spec)
        return build

    def _prove(self, build: Build, model: Entry, spec: ModelSpec) -> None:
        """What can be known of an artifact for TensorRT without its device: TensorRT's own checks, the answers."""
        with build.stage("check", self.runner):
            id = build.candidate.id
            build.checked = checks.check(self.runner, model, id, build.candidate.options, self.job.target)
            found = checks.read(build.checked)
            if found.refused:
                raise RuntimeFailed(*found.refused, "Choose another variant.")
            if found.unbuilt:
                raise RuntimeFailed(found.unbuilt, "", "Choose another variant.")
        if build.alive:
            with build.stage("emulate", self.runner):
                build.emulated = emulate(self.runner, model, id, spec)

    def _quantize(self, variant: Variant) -> Entry:
        calibration = self.images.calibration
        uniform = msgspec.structs.replace(variant, float_layers=(), float_blocks=0)
        seed = self.job.recipe.seed
        whole = quantize(self.runner, self.model_of(variant), uniform, calibration, seed)
        if not variant.float_layers:
            return whole
        return mix_precision(self.runner, self.model_of(variant), whole, variant, calibration, seed)

    def evaluate(self, build: Build) -> Entry | None:
        """Answer all evaluation images with one artifact; the reference does it here, wherever we measure."""
        artifact = build.emulated or (build.artifact if self.measure or build.candidate is REFERENCE else None)
        if build.alive and artifact and build.evaluation is None:
            host = hosts.here() if build.candidate is REFERENCE or build.emulated else self.host
            with build.stage("evaluate", self.runner):
                build.evaluation = evaluate(
                    self.runner, artifact, build.candidate.id, self.images.evaluation,
                    host.identity, host.answer,
                )  # fmt: skip
        return build.evaluation

    def audit(self, build: Build) -> None:
        """What its accuracy does not show of an artifact that answered; that it could not be told is a finding too."""
        if not (self.measure and build.alive and build.model and build.artifact and build.evaluation):
            return
        evaluation, target = self.images.evaluation, self.job.target
        subject = Subject(
            model=build.model, artifact=build.artifact, options=build.candidate.options,
            spec=artifacts.read(build.artifact.path).spec, answers=build.evaluation,
            images=evaluation, isa=target.isa,
            answered_with=target.isa if build.emulated else self.host.machine.isa,
            described=audits.described(build.artifact, build.evaluation),
            runs_here=self.host.is_here and not build.candidate.traits.on_device,
        )  # fmt: skip
        try:
            build.audit = audits.audit(self.runner, build.candidate.id, subject)
        except DiskFull:
            raise
        except EdgewrightError as error:
            build.unaudited = audits.unaudited(error)
            self.runner.watch("audit", build.candidate.id, 1, 1, f"failed: {error.what}")

    def distil(self, state: RunState) -> list[Build]:
        """INT8 by distillation for each scheme and set of options with which no other method stays inside the budget.

        Not where a recipe names the methods, nor where the float variant is outside too.
        """
        if self.job.recipe.methods is not None:
            return []
        families: dict[tuple[str, str, Options], list[Build]] = {}
        for build in state.builds:
            if build.alive and (scheme := build.candidate.variant.scheme):
                families.setdefault((build.candidate.variant.compression, scheme, build.candidate.options), []).append(
                    build
                )
        floats = {
            (w.candidate.variant.compression, w.candidate.options): w
            for w in state.builds
            if w.alive and not w.candidate.variant.scheme
        }
        found = []
        for (compression, _, options), tried in families.items():
            exact = floats.get((compression, options), state.reference)
            if any(is_inside(state, build) for build in tried) or not is_inside(state, exact):
                continue
            variant = msgspec.structs.replace(tried[0].candidate.variant, method=DISTIL)
            found.append(self.build(Candidate(variant=variant, options=options)))
            self.evaluate(found[-1])
        return found

    def vary(self, state: RunState) -> list[Build]:
        """Build the recipe's variations of the candidates that are fastest at a first look, of those inside the budget.

        Of all where none is.
        """
        alive = [build for build in state.builds if build.alive]
        if not alive or not variations([w.candidate for w in alive], self.job.recipe):
            return []
        first = self.screen(alive)
        alive = [build for build in alive if is_inside(state, build)] or alive
        timed = [build for build in alive if (latency := first[build.candidate.id].latency) and latency.p50_ms]
        timed.sort(key=lambda build: first[build.candidate.id].latency.p50_ms)  # type: ignore[union-attr, return-value, arg-type]
        finalists = [build.candidate for build in timed[: self.job.recipe.finalists]]
        return [self.build(candidate) for candidate in variations(finalists, self.job.recipe)]

    def screen(self, builds: Sequence[Build]) -> dict[str, Timing]:
        """A first look at the latency of everything that is alive."""
        return self.timings("screen", [build for build in builds if build.alive], SCREENING, fresh=False)

    def time(self, reference: Build, builds: Sequence[Build]) -> str | None:
        """Measure everything that is alive in one interleaved run, the reference with it; what speedups are against.

        A device has no torch: there the first artifact in float32 stands in for the reference's latency; of a file that
        is quantized already the first one does everywhere.
        """
        recipe = self.job.recipe
        rules = Rules(
            min_duration_s=recipe.min_duration_s, min_count=recipe.min_count, rate_hz=recipe.fps, seed=recipe.seed
        )
        every = (reference, *builds) if self.host.is_here else builds
        alive = [build for build in every if build.alive and build.artifact]
        if not alive:
            return None
        # Of an INT8 file the reference computes each step in float: it is exact, and no measure of speed.
        plain = (w.candidate.id for w in alive if w is not reference and (self.given or w.candidate.precision == "f32"))
        base = REFERENCE.id if self.host.is_here and self.given is None else next(plain, None)
        timings = self.timings("latency", alive, rules, fresh=self.job.remeasure, base=base)
        for build in alive:
            build.timing = timings[build.candidate.id]
            if build.timing.reason:
                build.failed_in, build.reason = build.timing.stage, build.timing.reason
        return base

    def timings(
        self, stage: str, builds: Sequence[Build], rules: Rules, fresh: bool, base: str | None = None
    ) -> dict[str, Timing]:
        """The works measured in one interleaved run, stored as `stage`; speedups are against the one called `base`."""
        artifacts = {build.candidate.id: build.artifact.path for build in builds if build.artifact}
        paths = [item.path for item in self.images.evaluation.items[:LATENCY_IMAGES]]
        inputs = {
            "artifacts": {build.candidate.id: build.artifact.key for build in builds if build.artifact},
            "images": self.images.evaluation.digests[:LATENCY_IMAGES], "rules": rules, "base": base,
            "machine": self.host.identity,
            "power_mode": self.job.target.power_mode, "made_by": made_by("measure", "bench", "targets"),
        }  # fmt: skip

        def make(folder: Path, step: Progress) -> None:
            found = measure_interleaved(
                artifacts, paths, folder, rules=rules, limits=self.runner.limits, reference=base,
                target=self.job.target, progress=step, measure=self.host.observe,
            )  # fmt: skip
            (folder / "timings.json").write_bytes(msgspec.json.encode(found))

        what = f"{len(artifacts)} artifacts, interleaved"
        if fresh:
            self.runner.store.forget(stage, inputs)
        entry = self.runner.keep(stage, what, inputs, make)
        found = msgspec.json.decode((entry.path / "timings.json").read_bytes(), type=dict[str, Timing])
        if stage == "latency" and any(t.latency and not t.latency.valid for t in found.values()):
            self.runner.store.forget(stage, inputs)  # shown in this report, but no evidence to be used again
        return found


def budget_for(spec: ModelSpec, budget: Budget | None) -> Budget:
    """`budget`, or the default of the model's task. Raises `UsageError` for a metric of another task."""
    found = budget or budgets.default(spec.task.kind)
    budgets.require_task(found, spec.task.kind)
    return found


def require_labels(images: ImageSet, budget: Budget | None, spec: ModelSpec | None = None) -> None:
    """Raise `InvalidInput` where the budget (None: a task's default) needs labels and `images` have none."""
    if image_sets.labelled(images, spec):
        return
    wanted = next((x.metric for x in budget.limits if x.compares), None) if budget else "accuracy"
    if wanted:
        raise InvalidInput(
            f"The images of {images.name} have no labels, and the budget asks for {wanted}.",
            "Without labels only the agreement with the float model can be measured.",
            'Label them (a folder a class, or boxes), or ask for e.g. --budget "agreement >= 98%".',
        )
