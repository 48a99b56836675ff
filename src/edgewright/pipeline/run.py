"""The run: from a source, images and a target to measurements, a choice, a bundle and a report.

A candidate that fails is a row with its reason, and the rest goes on. What the user gave wrong (an image, a label, a
checkpoint, a full disk) ends the run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgewright.bench import budget as budgets
from edgewright.bench.budget import Budget
from edgewright.bench.latency import Rules, Timing, measure_interleaved
from edgewright.bench.results import Accuracy, Finding
from edgewright.core.child import Progress
from edgewright.core.errors import DiskFull, EdgewrightError, InvalidInput, RuntimeFailed
from edgewright.core.spec import ModelSpec
from edgewright.core.store import Entry
from edgewright.data.sets import ImageSet
from edgewright.export.sources.parse import parse
from edgewright.graph.precision import Quantized
from edgewright.pipeline import hosts as places
from edgewright.pipeline import images as image_sets
from edgewright.pipeline import stages
from edgewright.pipeline.candidates import hardswish, mixed_precision, shuffles
from edgewright.pipeline.candidates.base import (  # fmt: skip
    Candidate,
    Variant,
    compressed,
    enumerate_candidates,
    is_installed,
    require_as_given,
    saturates,
    variations,
)
from edgewright.pipeline.hosts import Place
from edgewright.pipeline.images import Images
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.score import at_chance, is_inside
from edgewright.pipeline.stages import Source, Workshop
from edgewright.pipeline.stages import audit as audits
from edgewright.pipeline.stages import check as checks
from edgewright.pipeline.stages.audit import Subject
from edgewright.quantize.calibration.images import require_enough
from edgewright.quantize.methods import DISTIL
from edgewright.runtimes import artifact as artifacts
from edgewright.runtimes.options import Options
from edgewright.targets.target import Target, matches

REFERENCE = Candidate(variant=Variant(), options=Options(runtime="torch"))
"""How the reference is called among the artifacts of a latency run: no candidate runs on torch."""

LATENCY_IMAGES = 4

SCREENING = Rules(min_duration_s=0.5, min_count=40, max_duration_s=3.0, rounds=5, warm_up_s=0.6, cold_starts=1)
"""A first look at latency that only decides which candidates get variations; no figure of it is reported."""


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
class Work:
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
    def stage(self, name: str, shop: Workshop) -> Iterator[None]:
        """Run a stage of this candidate: a failure that is the candidate's own becomes its reason."""
        try:
            yield
        except stages.FATAL:
            raise
        except EdgewrightError as error:
            self.failed_in, self.reason = name, " ".join(line for line in (error.what, error.why) if line)
            shop.watch(name, self.candidate.id, 1, 1, f"failed: {error.what}")


@dataclass(frozen=True, kw_only=True)
class Made:
    """All that a run made; `pipeline.report` reads the figures out of it. `base`: what speedups are relative to.

    `given`: how much of the source is in INT8 already; None for a float one.
    `predicted`: of a pruned artifact the one it was predicted from, and the share of its latency that was to be left.
    """

    job: Job
    spec: ModelSpec
    images: Images
    exported: Entry
    reference: Work
    works: list[Work]
    measured_here: bool
    place: Place
    base: str | None = None
    images_audit: Entry | None = None
    given: Quantized | None = None
    predicted: Mapping[str, tuple[str, float]] = field(default_factory=dict)


class Compressed(NamedTuple):
    """An exported model that was made of the given one, or why there is none, and what to build of it.

    `stage`: "prune" or "distill". `left`: the share of the latency of ``candidates[0]`` that was to be left, by the
    latency table.
    """

    stage: str
    model: Entry | EdgewrightError
    candidates: Sequence[Candidate]
    left: float | None = None


Compress = Callable[["Line", Sequence[Candidate]], Mapping[str, Compressed]]
"""Gives the compressions of a recipe by name, from the candidates of the model as it is."""


def run(job: Job, shop: Workshop, place: Place | None = None, compress: Compress | None = None) -> Made:
    """Build every candidate and, where `place` (default: this machine) is the target, measure it there.

    `compress` makes what the recipe wants to be compared with the model as it is: every candidate is built of it too.
    Candidates for TensorRT on a device that is not at hand are checked, and their answers emulated, here. The reference
    answers first: where it is at chance nothing is built.
    """
    line, candidates = prepare(job, shop, place or places.here())
    job = line.job
    made = Made(
        job=job, spec=line.spec, images=line.images, exported=line.exported, reference=Work(candidate=REFERENCE),
        works=[], measured_here=line.measure, place=line.place, given=line.given,
    )  # fmt: skip
    if line.measure:
        made.reference.artifact = stages.compile_reference(shop, line.exported, line.spec)
        line.evaluate(made.reference)
        if (chance := at_chance(made)) and chance.level == "error":
            why = f"Not built: {chance.code}, so no accuracy can be judged."
            return replace(made, works=[Work(candidate=c, failed_in="evaluate", reason=why) for c in candidates])
    failed: list[Work] = []
    predicted: dict[str, tuple[str, float]] = {}
    if compress:
        line, candidates, failed, predicted = _compressed(line, candidates, compress)
    works = [line.build(candidate) for candidate in candidates] + failed
    quantizes = any(candidate.variant.scheme for candidate in candidates)
    made = replace(
        made, works=works, predicted=predicted,
        images_audit=audits.audit_images(shop, line.images, line.spec) if quantizes else None,
    )  # fmt: skip
    if line.measure or any(work.emulated for work in works):
        if not line.measure:
            made.reference.artifact = stages.compile_reference(shop, line.exported, line.spec)
            line.evaluate(made.reference)
        for work in works:
            line.evaluate(work)
        works += line.distil(made)
        if line.measure and job.recipe.mixed_precision:
            works += mixed_precision.look(line, made)
        if line.given is None:
            line, more = shuffles.look(line, made)
            works += more
            line, more = hardswish.look(line, made)
            works += more
        works += line.vary(made) if line.measure else []
        for work in works:
            line.evaluate(work)
            line.audit(work)
    return replace(made, base=line.time(made.reference, works)) if line.measure else made


def _compressed(
    line: Line, candidates: list[Candidate], compress: Compress
) -> tuple[Line, list[Candidate], list[Work], dict[str, tuple[str, float]]]:
    """`line` and `candidates` with those of each compressed model, a failed work for each that there is not, and what
    is predicted of them (as in `Made`)."""
    models, every, failed, predicted = {}, list(candidates), list[Work](), {}
    for name, (stage, model, own, left) in compress(line, candidates).items():
        named = [compressed(c, name) for c in own]
        if isinstance(model, EdgewrightError):
            failed.append(Work(candidate=named[0], failed_in=stage, reason=f"{model.what} {model.why}".strip()))
            continue
        models[name] = model
        every += named
        if left is not None:
            predicted[named[0].id] = (own[0].id, left)
    return replace(line, compressed=models), every, failed, predicted


def export(shop: Workshop, job: Job, images: Images) -> Entry:
    """The exported model of the job's source, proven on the first of its `images`."""
    parity = [item.path for item in images.evaluation.items[: job.recipe.parity_images]]
    return stages.export(shop, job.source, parity, images.evaluation_digests[: len(parity)], job.recipe.batch)


def prepare(job: Job, shop: Workshop, place: Place) -> tuple[Line, list[Candidate]]:
    """The production line of a job, and the candidates that go through it."""
    count, seed = job.recipe.calibration_images, job.recipe.seed
    images = image_sets.gather(job.data, job.split, job.calibration, count, seed, shop)
    shop.watch(
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
    exported = export(shop, job, images)
    found = stages.what_is(exported) if may_be_int8 else None
    given = found.quantized if found and found.operators else None
    if given and found:
        require_as_given(job.recipe, Path(job.source.source).name, found.operators)
        candidates = enumerate_candidates(job.target, job.recipe, given)
    elif may_be_int8:
        _require_calibration(candidates, images)
    spec = stages.spec_of(exported)
    job = replace(job, budget=budget_for(spec, job.budget))
    images = msgspec.structs.replace(images, evaluation=image_sets.label(images.evaluation, spec, shop))
    line = Line(
        job=job, shop=shop, spec=spec, images=images, exported=exported, place=place,
        measure=matches(job.target, place.machine), given=given,
    )  # fmt: skip
    return line, candidates


def _require_calibration(candidates: Sequence[Candidate], images: Images) -> None:
    if any(candidate.variant.scheme for candidate in candidates):
        require_enough(len(set(images.calibration_digests)))


@dataclass(frozen=True, kw_only=True)
class Line:
    """The production line of one run: what every candidate passes through."""

    job: Job
    shop: Workshop
    spec: ModelSpec
    images: Images
    exported: Entry
    place: Place
    measure: bool
    given: Quantized | None = None
    compressed: Mapping[str, Entry] = field(default_factory=dict)

    def model_of(self, variant: Variant) -> Entry:
        """The exported model that `variant` is made of."""
        return self.compressed[variant.compression] if variant.compression else self.exported

    def build(self, candidate: Candidate) -> Work:
        """Quantize, fold and compile one candidate."""
        work = Work(candidate=candidate)
        model, spec = self.model_of(candidate.variant), self.spec
        if not is_installed(candidate):
            work.failed_in, work.reason = "compile", f"{candidate.options.runtime} is not installed on this machine."
            return work
        if candidate.variant.scheme:
            with work.stage("quantize", self.shop):
                work.quantized = model = self._quantize(candidate.variant)
        if work.alive and candidate.variant.normalize == "graph":
            with work.stage("normalize", self.shop):
                model = stages.fold_normalization(self.shop, model, candidate.variant.name)
                spec = stages.spec_of(model)
        if work.alive and candidate.is_half:
            with work.stage("half", self.shop):
                work.half = model = stages.halve(self.shop, model, candidate.id, self.images.calibration)
        work.model = model
        if work.alive:
            with work.stage("compile", self.shop):
                run = self.measure and self.place.is_here
                work.artifact = stages.compile_artifact(self.shop, model, spec, candidate, run)
        if work.alive and self.measure and work.artifact and self.place.finishes(candidate.options):
            with work.stage("finish", self.shop):
                assert self.place.finish is not None
                work.artifact = stages.finish(
                    self.shop,
                    work.artifact,
                    candidate.id,
                    f"{self.place.unit}; {self.place.identity}",
                    self.place.finish,
                )
        if work.alive and candidate.options.runtime == "tensorrt" and not self.measure:
            self._prove(work, model, spec)
        if work.alive and self.measure and saturates(candidate, self.job.target, self.place.machine):
            with work.stage("emulate", self.shop):
                work.emulated = stages.emulate_saturation(self.shop, model, candidate, spec)
        return work

    def _prove(self, work: Work, model: Entry, spec: ModelSpec) -> None:
        """What can be known of an artifact for TensorRT without its device: TensorRT's own checks, the answers."""
        with work.stage("check", self.shop):
            id = work.candidate.id
            work.checked = checks.check(self.shop, model, id, work.candidate.options, self.job.target)
            found = checks.read(work.checked)
            if found.refused:
                raise RuntimeFailed(*found.refused, "Choose another variant.")
            if found.unbuilt:
                raise RuntimeFailed(found.unbuilt, "", "Choose another variant.")
        if work.alive:
            with work.stage("emulate", self.shop):
                work.emulated = stages.emulate(self.shop, model, id, spec)

    def _quantize(self, variant: Variant) -> Entry:
        calibration, digests = self.images.calibration, self.images.calibration_digests
        uniform = msgspec.structs.replace(variant, float_layers=(), float_blocks=0)
        seed = self.job.recipe.seed
        whole = stages.quantize(self.shop, self.model_of(variant), uniform, calibration, digests, seed)
        if not variant.float_layers:
            return whole
        return stages.mix_precision(self.shop, self.model_of(variant), whole, variant, calibration, digests, seed)

    def evaluate(self, work: Work) -> Entry | None:
        """Answer all evaluation images with one artifact; the reference does it here, wherever we measure."""
        artifact = work.emulated or (work.artifact if self.measure or work.candidate is REFERENCE else None)
        if work.alive and artifact and work.evaluation is None:
            place = places.here() if work.candidate is REFERENCE or work.emulated else self.place
            with work.stage("evaluate", self.shop):
                work.evaluation = stages.evaluate(
                    self.shop, artifact, work.candidate.id, self.images.evaluation, self.images.evaluation_digests,
                    place.identity, place.answer,
                )  # fmt: skip
        return work.evaluation

    def audit(self, work: Work) -> None:
        """What its accuracy does not show of an artifact that answered; that it could not be told is a finding too."""
        if not (self.measure and work.alive and work.model and work.artifact and work.evaluation):
            return
        evaluation, target = self.images.evaluation, self.job.target
        subject = Subject(
            model=work.model, artifact=work.artifact, options=work.candidate.options,
            spec=artifacts.read(work.artifact.path).spec, answers=work.evaluation,
            images=[item.path for item in evaluation.items], digests=self.images.evaluation_digests, isa=target.isa,
            answered_with=target.isa if work.emulated else self.place.machine.isa,
            described=audits.described(work.artifact, work.evaluation),
            runs_here=self.place.is_here and work.candidate.options.runtime != "tensorrt",
        )  # fmt: skip
        try:
            work.audit = audits.audit(self.shop, work.candidate.id, subject)
        except DiskFull:
            raise
        except EdgewrightError as error:
            work.unaudited = audits.unaudited(error)
            self.shop.watch("audit", work.candidate.id, 1, 1, f"failed: {error.what}")

    def distil(self, made: Made) -> list[Work]:
        """INT8 by distillation for each scheme and set of options with which no other method stays inside the budget.

        Not where a recipe names the methods, nor where the float variant is outside too.
        """
        if self.job.recipe.methods is not None:
            return []
        families: dict[tuple[str, str, Options], list[Work]] = {}
        for work in made.works:
            if work.alive and (scheme := work.candidate.variant.scheme):
                families.setdefault((work.candidate.variant.compression, scheme, work.candidate.options), []).append(
                    work
                )
        floats = {
            (w.candidate.variant.compression, w.candidate.options): w
            for w in made.works
            if w.alive and not w.candidate.variant.scheme
        }
        found = []
        for (compression, _, options), tried in families.items():
            exact = floats.get((compression, options), made.reference)
            if any(is_inside(made, work) for work in tried) or not is_inside(made, exact):
                continue
            variant = msgspec.structs.replace(tried[0].candidate.variant, method=DISTIL)
            found.append(self.build(Candidate(variant=variant, options=options)))
            self.evaluate(found[-1])
        return found

    def vary(self, made: Made) -> list[Work]:
        """Build the recipe's variations of the candidates that are fastest at a first look, of those inside the budget.

        Of all where none is.
        """
        alive = [work for work in made.works if work.alive]
        if not alive or not variations([w.candidate for w in alive], self.job.recipe):
            return []
        first = self.screen(alive)
        alive = [work for work in alive if is_inside(made, work)] or alive
        timed = [work for work in alive if (latency := first[work.candidate.id].latency) and latency.p50_ms]
        timed.sort(key=lambda work: first[work.candidate.id].latency.p50_ms)  # type: ignore[union-attr, return-value, arg-type]
        finalists = [work.candidate for work in timed[: self.job.recipe.finalists]]
        return [self.build(candidate) for candidate in variations(finalists, self.job.recipe)]

    def screen(self, works: Sequence[Work]) -> dict[str, Timing]:
        """A first look at the latency of everything that is alive."""
        return self.timings("screen", [work for work in works if work.alive], SCREENING, fresh=False)

    def time(self, reference: Work, works: Sequence[Work]) -> str | None:
        """Measure everything that is alive in one interleaved run, the reference with it; what speedups are against.

        A device has no torch: there the first artifact in float32 stands in for the reference's latency; of a file that
        is quantized already the first one does everywhere.
        """
        recipe = self.job.recipe
        rules = Rules(
            min_duration_s=recipe.min_duration_s, min_count=recipe.min_count, rate_hz=recipe.fps, seed=recipe.seed
        )
        every = (reference, *works) if self.place.is_here else works
        alive = [work for work in every if work.alive and work.artifact]
        if not alive:
            return None
        # Of an INT8 file the reference computes each step in float: it is exact, and no measure of speed.
        plain = (w.candidate.id for w in alive if w is not reference and (self.given or w.candidate.precision == "f32"))
        base = REFERENCE.id if self.place.is_here and self.given is None else next(plain, None)
        timings = self.timings("latency", alive, rules, fresh=self.job.remeasure, base=base)
        for work in alive:
            work.timing = timings[work.candidate.id]
            if work.timing.reason:
                work.failed_in, work.reason = work.timing.stage, work.timing.reason
        return base

    def timings(
        self, stage: str, works: Sequence[Work], rules: Rules, fresh: bool, base: str | None = None
    ) -> dict[str, Timing]:
        """The works measured in one interleaved run, stored as `stage`; speedups are against the one called `base`."""
        artifacts = {work.candidate.id: work.artifact.path for work in works if work.artifact}
        paths = [item.path for item in self.images.evaluation.items[:LATENCY_IMAGES]]
        inputs = {
            "artifacts": {work.candidate.id: work.artifact.key for work in works if work.artifact},
            "images": self.images.evaluation_digests[:LATENCY_IMAGES], "rules": rules, "base": base,
            "machine": self.place.identity,
            "power_mode": self.job.target.power_mode, "made_by": stages.made_by("measure", "bench", "targets"),
        }  # fmt: skip

        def make(folder: Path, step: Progress) -> None:
            found = measure_interleaved(
                artifacts, paths, folder, rules=rules, limits=self.shop.limits, reference=base,
                target=self.job.target, progress=step, measure=self.place.observe,
            )  # fmt: skip
            (folder / "timings.json").write_bytes(msgspec.json.encode(found))

        what = f"{len(artifacts)} artifacts, interleaved"
        if fresh:
            self.shop.store.forget(stage, inputs)
        entry = self.shop.keep(stage, what, inputs, make)
        found = msgspec.json.decode((entry.path / "timings.json").read_bytes(), type=dict[str, Timing])
        if stage == "latency" and any(t.latency and not t.latency.valid for t in found.values()):
            self.shop.store.forget(stage, inputs)  # shown in this report, but no evidence to be used again
        return found


def budget_for(spec: ModelSpec, budget: Budget | None) -> Budget:
    """`budget`, or the default of the model's task. Raises `UsageError` for a metric of another task."""
    found = budget or budgets.parse(budgets.DEFAULTS[spec.task])
    budgets.require_task(found, spec.task)
    return found


def require_labels(images: ImageSet, budget: Budget | None) -> None:
    """Raise `InvalidInput` where the budget (None: a task's default) needs labels and `images` have none."""
    if image_sets.labelled(images):
        return
    wanted = next((x.metric for x in budget.limits if x.metric in budgets.ACCURACIES), None) if budget else "accuracy"
    if wanted:
        raise InvalidInput(
            f"The images of {images.name} have no labels, and the budget asks for {wanted}.",
            "Without labels only the agreement with the float model can be measured.",
            'Label them (a folder a class, or boxes), or ask for e.g. --budget "agreement >= 98%".',
        )
