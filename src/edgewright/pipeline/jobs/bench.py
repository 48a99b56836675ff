"""Measure bundles in one interleaved run (`edgewright bench`)."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgewright import tasks
from edgewright.bench import accuracy
from edgewright.bench import budget as budgets
from edgewright.bench.budget import Budget
from edgewright.bench.chance import at_chance
from edgewright.bench.choice import choose
from edgewright.bench.latency import Rules, Setup, Timing, measure_interleaved
from edgewright.bench.results import (
    DataInfo,
    Load,
    Measurement,
    ModelInfo,
    Reference,
    Report,
    TargetInfo,
)  # fmt: skip
from edgewright.core import files
from edgewright.core.errors import EdgewrightError, InvalidInput, Unavailable, UsageError
from edgewright.core.spec import ModelSpec
from edgewright.core.store import key_of
from edgewright.data.sets import ImageSet
from edgewright.pipeline import images as image_sets
from edgewright.pipeline.hosts import Host
from edgewright.pipeline.prepare import budget_for
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.stages.runner import FATAL, StageRunner
from edgewright.runtimes import artifact as artifacts
from edgewright.runtimes import bundle
from edgewright.tasks.scores import Accuracy, Paired


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """Bundles to measure together on `data` at `host`; the first one is the reference of the report."""

    paths: Sequence[Path]
    data: Path
    split: str | None
    budget: Budget | None
    recipe: Recipe
    host: Host


def bench(runner: StageRunner, asked: BenchRequest) -> Report:
    """Measure the bundles of a request. Raises `UsageError` if two have the same name."""
    paths, host = asked.paths, asked.host
    manifests = {_name(path): bundle.verify(path) for path in paths}
    if len(manifests) < len(paths):
        raise UsageError("Two bundles have the same name.", ", ".join(p.name for p in paths), "Rename one of them.")
    first = next(iter(manifests.values()))
    asked = replace(asked, budget=budget_for(first.spec, asked.budget))
    evaluation = image_sets.label(image_sets.read_evaluation(asked.data, asked.split, runner), first.spec, runner)
    outputs: dict[str, Any] = {}
    failed: dict[str, Timing] = {}
    with tempfile.TemporaryDirectory(prefix="edgewright-bench-") as scratch:  # for this run only: two may run at once
        ready = dict(zip(manifests, paths))  # the artifacts to measure, by name
        for name, path in ready.items():
            folder = Path(scratch, name)
            files_in = evaluation.paths

            def step(done: int, total: int, text: str, name: str = name) -> None:
                runner.watch("evaluate", name, done, total + 1, text)

            try:
                if host.finish and host.finishes(manifests[name].artifact):
                    ready[name] = Path(scratch, f"{name}.finished")
                    host.finish(path, ready[name], step)
                    Path(ready[name], bundle.MANIFEST).unlink(missing_ok=True)  # it lists the bundle's old files
                accuracy.evaluate(
                    ready[name], files_in, folder, limits=runner.limits, progress=step, answer=host.answer
                )
            except FATAL:
                raise
            except EdgewrightError as error:
                if path == paths[0] and isinstance(error, Unavailable):
                    raise  # without the reference there is no comparison
                failed[name] = Timing(id=name, stage="evaluate", reason=f"{error.what} {error.why}")
                runner.watch("evaluate", name, 1, 1, f"failed: {error.what}")
                continue
            runner.watch("evaluate", name, 1, 1, "")
            outputs[name] = np.array(accuracy.load_outputs(folder))
        alive = {name: path for name, path in ready.items() if name in outputs}
        timings = _time(runner, alive, evaluation, asked.recipe, Path(scratch, "latency"), host) if alive else {}
    return _report(asked, manifests, evaluation, outputs, timings | failed)


def _time(
    runner: StageRunner, paths: Mapping[str, Path], evaluation: ImageSet, recipe: Recipe, folder: Path, host: Host
) -> dict[str, Timing]:
    rules = Rules(
        min_duration_s=recipe.min_duration_s, min_count=recipe.min_count, rate_hz=recipe.fps, seed=recipe.seed
    )
    some = [item.path for item in evaluation.items[:4]]
    what = f"{len(paths)} bundles, interleaved"

    def step(done: int, total: int, text: str) -> None:
        runner.watch("latency", what, done, total + 1, text)

    found = measure_interleaved(
        paths,
        some,
        folder,
        Setup(rules=rules, limits=runner.limits, target=host.machine, measure=host.observe),
        reference=next(iter(paths)),
        progress=step,
    )
    runner.watch("latency", what, 1, 1, "")
    return found


def _report(
    asked: BenchRequest,
    manifests: dict[str, bundle.Manifest],
    evaluation: ImageSet,
    outputs: dict[str, Any],
    timings: dict[str, Timing],
) -> Report:
    paths, host, budget = asked.paths, asked.host, asked.budget
    assert budget is not None
    base = _name(paths[0])
    first, timing = manifests[base], timings[base]
    if timing.reason:
        raise InvalidInput(f"The first bundle cannot be measured: {timing.reason}", "", "Give one that runs here.")
    reference = Reference(
        runtime=first.artifact.runtime, device=host.machine.title, precision=artifacts.read(paths[0]).precision,
        why=f"First bundle: {base}.",
        latency=timing.latency, accuracy=_score(first.spec, outputs[base], evaluation), size_bytes=files.size(paths[0]),
        peak_memory_bytes=timing.peak_memory_bytes, cold_start_ms=timing.cold_start_ms, camera=timing.camera,
        energy_mj=timing.energy_mj, energy_source=timing.energy_source,
    )  # fmt: skip
    rows = []
    for path in paths:
        name, options = _name(path), manifests[_name(path)].artifact
        seen = timings[name]
        row = Measurement(
            id=name, variant=name, runtime=options.runtime, precision=artifacts.read(path).precision,
            options=msgspec.to_builtins(options), status="failed" if seen.reason else "ok", stage=seen.stage,
            reason=seen.reason, latency=seen.latency, speedup=seen.speedup, size_bytes=files.size(path),
            accuracy=_compare(first.spec, outputs[name], outputs[base], evaluation, budget.margin())
            if name in outputs else None,
            peak_memory_bytes=seen.peak_memory_bytes, cold_start_ms=seen.cold_start_ms, artifact=str(path),
            camera=seen.camera, energy_mj=seen.energy_mj, energy_source=seen.energy_source,
        )  # fmt: skip
        rows.append(msgspec.structs.replace(row, budget=budgets.check(row, reference, budget)))
    machine, spec = host.machine, first.spec
    found = at_chance(outputs[base], evaluation.items, spec, reference.accuracy, budget)
    findings = (*((found,) if found else ()), *image_sets.findings(evaluation))
    return Report(
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        model=ModelInfo(name=spec.name, task=spec.task.kind, source=spec.source, classes=spec.classes),
        target=TargetInfo(name=machine.name, title=machine.title, measured=True),
        budget=budget.text,
        environment=msgspec.structs.replace(host.environment, load=_worst(timings)),
        data=DataInfo(
            name=evaluation.name, split=evaluation.split or None, images=len(evaluation.items),
            digest=key_of("images", {"pixels": evaluation.digests}), truth=image_sets.truth(evaluation),
        ),
        reference=reference,
        measurements=tuple(rows),
        choice=choose(rows, reference, budget, findings),
        findings=findings,
    )  # fmt: skip


def _worst(timings: dict[str, Timing]) -> Load | None:
    """The load of the bundle with the most CPU load from other processes."""
    loads = [timing.load for timing in timings.values() if timing.load]
    return max(loads, key=lambda load: load.other_cpu_percent or 0.0, default=None)


def _score(spec: ModelSpec, outputs: Any, images: ImageSet) -> Accuracy:
    return tasks.of(spec).metric.score(outputs, images.items, spec)


def _compare(spec: ModelSpec, outputs: Any, reference: Any, images: ImageSet, margin: float) -> Accuracy:
    return tasks.of(spec).metric.compare(outputs, reference, images.items, spec, Paired(margin=margin))


def _name(path: Path) -> str:
    return path.name.removesuffix(bundle.SUFFIX)
