"""The commands as Python functions.

Each function takes paths and names and keeps its results in the store. It raises an `EdgewrightError`, which says what
happened, why, and what to do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from edgewright.bench import budget as budgets
from edgewright.bench import html, markdown, report_json
from edgewright.bench import sensitivity as sensitivities
from edgewright.bench.figures import sentence
from edgewright.bench.gallery import Pair
from edgewright.bench.report_files import ANOTHER as _ANOTHER
from edgewright.bench.report_files import gate as gate  # noqa: PLC0414 - verbs of this API
from edgewright.bench.report_files import read_report as read_report  # noqa: PLC0414
from edgewright.bench.report_files import write_report as write_report  # noqa: PLC0414
from edgewright.bench.results import Report, Sensitivity
from edgewright.core import child, files
from edgewright.core.errors import EdgewrightError, GateFailed, InvalidInput, RuntimeFailed, UsageError
from edgewright.core.store import Store
from edgewright.export.sources.parse import PLAN
from edgewright.pipeline import hosts, images
from edgewright.pipeline import recipe as recipes
from edgewright.pipeline import report as reports
from edgewright.pipeline import run as runs
from edgewright.pipeline.candidates.base import restrict
from edgewright.pipeline.jobs import audit as auditing
from edgewright.pipeline.jobs import bench as benching
from edgewright.pipeline.jobs import compile as compiling
from edgewright.pipeline.jobs import distill as distillation
from edgewright.pipeline.jobs import prune as pruning
from edgewright.pipeline.jobs import quantize as quantizing
from edgewright.pipeline.jobs import sensitivity as sensing
from edgewright.pipeline.jobs.audit import Audited
from edgewright.pipeline.jobs.distill import Distilled
from edgewright.pipeline.jobs.prune import Pruned
from edgewright.pipeline.jobs.prune_cut import Wanted
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.stages import export as exporting
from edgewright.pipeline.stages.export import Source
from edgewright.pipeline.stages.model import MODEL
from edgewright.pipeline.stages.runner import StageRunner, Watch, quiet
from edgewright.pipeline.state import Job, RunState
from edgewright.quantize.distillation.schedule import RECOVERY, STUDENT, Schedule
from edgewright.runtimes import bundle as bundles
from edgewright.targets import catalogue, remote
from edgewright.targets.remote import Device
from edgewright.targets.target import Isa, Target

if TYPE_CHECKING:
    from edgewright.pipeline.stages.check import Checked
    from edgewright.runtimes.bundle import Manifest

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class Best:
    """The chosen bundle. `path`: its folder, absolute."""

    path: Path

    def save(self, out: PathLike) -> Path:
        """Verify the bundle and copy it to `out`, atomically. Returns the absolute path."""
        final = files.absolute(out)
        bundles.copy(self.path, final)
        return final


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of `optimize` and `bench`.

    - `report`: the reference, all measurements and the choice.
    - `files`: the path of each written file: "report" (HTML), "markdown", "json" and, if there is one, "bundle".
    - `best`: the chosen bundle, or None if no variant was chosen.
    - `missed`: the error that the command would end with if no variant meets the budget; else None.
    """

    report: Report
    files: dict[str, Path]
    best: Best | None
    missed: EdgewrightError | None


def optimize(
    source: str,
    *,
    data: PathLike,
    out: PathLike,
    target: str | Target | None = None,
    budget: str | None = None,
    recipe: Recipe | PathLike | None = None,
    checkpoint: PathLike | None = None,
    spec: PathLike | None = None,
    split: str | None = None,
    calibration: PathLike | None = None,
    trust_checkpoint: bool = False,
    remeasure: bool = False,
    mixed_precision: bool = False,
    on: Device | str | None = None,
    isa: Sequence[str] | None = None,
    strict: bool = False,
    effort: Literal["quick", "normal", "thorough"] | None = None,
    within_s: float | None = None,
    watch: Watch = quiet,
) -> Outcome:
    """Build the candidates for `target`, measure them, and write the reports and the chosen bundle to `out`.

    - `source`, `budget`: see `edgewright optimize --help`. `data`: a folder of images.
    - `checkpoint`: the weights of `source`. `spec`: a TOML with the model's description (default: next to the model).
    - `split`: the split of `data` to validate on. `calibration`: a folder of images (default: another split).
    - `target`: the name of a device, default this machine. `on`: a device ("user@host") that measures instead of this
      machine and is then the target. `isa`: the instruction sets of the target ("avx2"), if it has fewer than its
      description says.
    - `recipe`: a `Recipe` or a TOML file. `mixed_precision`, `strict`, `effort` and `within_s` replace its values.
    - `mixed_precision`: if INT8 loses too much accuracy, also try it with the most sensitive blocks in float.
    - `strict`: stop at the first warning about the data, such as an unreadable image.
    - `effort`: "quick" tries fast methods, "normal" what can change the choice, "thorough" everything.
    - `within_s`: the time limit of the run in seconds. Export, reference and one float artifact are always built.
    - `remeasure`: measure latency again, even if the store has it.
    - `trust_checkpoint`: allow checkpoints that run code when they are loaded (pickle).
    - `watch`: receives the progress (see `Watch`).

    Returns the `Outcome`; failed variants are rows of the report. Raises `EdgewrightError`: see `core.errors`.
    """
    given = {"mixed_precision": mixed_precision, "strict": strict, "effort": effort, "within_s": within_s}
    plan, folder = _recipe(recipe, given), _writable(out)
    limits = budgets.parse(budget) if budget is not None else None
    where = Source(
        source=source, checkpoint=_absolute(checkpoint), spec_file=_absolute(spec), trust_checkpoint=trust_checkpoint
    )
    with hosts.at(_device(on), plan, watch) as host:
        meant, sets = hosts.target_for(host, target), _isa(isa)
        job = Job(
            source=where, data=files.absolute(data), split=split,
            calibration=files.absolute(calibration) if calibration is not None else None,
            target=restrict(meant, sets, plan) if sets else meant, recipe=plan, budget=limits, remeasure=remeasure,
        )  # fmt: skip
        state = runs.run(job, _stage_runner(plan, watch), host)
        begin = time.monotonic()
        watch("report", str(folder), 0, 0, "statistics over images")
        outcome = _deliver(state, reports.assemble(state), folder)
        watch("report", str(folder), 1, 1, f"{time.monotonic() - begin:.1f} s")
    return outcome


def _recipe(recipe: Recipe | PathLike | None, given: Mapping[str, Any]) -> Recipe:
    """The recipe, or the one in a file, with the fields in `given` replaced."""
    plan = recipes.read(files.absolute(recipe)) if isinstance(recipe, (str, os.PathLike)) else recipe or Recipe()
    return recipes.checked(msgspec.structs.replace(plan, **{name: value for name, value in given.items() if value}))


def export(
    source: str,
    *,
    out: PathLike,
    data: PathLike | None = None,
    checkpoint: PathLike | None = None,
    spec: PathLike | None = None,
    batch: int | None = 1,
    trust_checkpoint: bool = False,
    watch: Watch = quiet,
) -> dict[str, Any]:
    """Export `source` to the ONNX file `out`, with its ModelSpec in the metadata.

    `batch`: the images of one inference; None is a dynamic batch size. `checkpoint`, `spec`, `trust_checkpoint` and
    `watch` are those of `optimize`.

    Returns the results of the parity check: the ONNX file against the source on images of `data`, or on random input
    without `data`. Raises `InvalidInput` for a source that cannot be exported, `RuntimeFailed` if parity fails.
    """
    plan, path = Recipe(), _writable_file(out)
    found = None
    if data is not None:
        items = images.read_evaluation(files.absolute(data), None, _stage_runner(plan, watch))
        found = items.only(items.items[: plan.parity_images])
    where = Source(
        source=source, checkpoint=_absolute(checkpoint), spec_file=_absolute(spec), trust_checkpoint=trust_checkpoint
    )
    entry = exporting.export(_stage_runner(plan, watch), where, found, batch)
    files.write(path, (entry.path / MODEL).read_bytes())
    parity: dict[str, Any] = msgspec.json.decode((entry.path / "parity.json").read_bytes())
    return parity


def quantize(
    model: PathLike,
    *,
    calibration: PathLike,
    out: PathLike,
    scheme: str = "openvino",
    method: str | None = None,
    num_images: int = 300,
    seed: int = 0,
    strict: bool = False,
    watch: Watch = quiet,
) -> dict[str, Any]:
    """Quantize the float ONNX file `model` to the INT8 file `out`.

    `calibration`: a folder of images. The function uses `num_images` of them. `seed`: the seed for the choice of images
    and for training methods. `scheme`, `method`: see `edgewright quantize --help`; None is the first method of the
    scheme. `strict` and `watch` are those of `optimize`.

    Returns the provenance: scheme, method and image set. Raises `InvalidInput` for a model that is already quantized,
    and for too few images.
    """
    path = _writable_file(out)
    entry = quantizing.quantize(
        _stage_runner(Recipe(strict=strict), watch), files.absolute(model), files.absolute(calibration),
        (scheme, method), num_images, seed,
    )  # fmt: skip
    files.write(path, (entry.path / MODEL).read_bytes())
    provenance: dict[str, Any] = msgspec.json.decode((entry.path / "provenance.json").read_bytes())
    return {**provenance, "scheme": scheme, "method": provenance.get("method", method)}


def distill(
    source: str,
    *,
    student: str,
    data: PathLike,
    out: PathLike,
    checkpoint: PathLike | None = None,
    student_checkpoint: PathLike | None = None,
    spec: PathLike | None = None,
    split: str | None = None,
    train_data: PathLike | None = None,
    schedule: Schedule = STUDENT,
    labels: bool | None = None,
    seed: int = 0,
    trust_checkpoint: bool = False,
    strict: bool = False,
    watch: Watch = quiet,
) -> Distilled:
    """Train the model `student` on the outputs of `source` for your images. The folder `out` is then a source itself.

    - `train_data`: training images; default the split train or calib of `data`, else three quarters of it.
    - `labels`: whether to train on the labels too; default: True if every image has one.
    - `schedule`: the length and settings of the training. `seed`: of the training.
    - `student_checkpoint`: a file with the first weights of the student.
    - `checkpoint`, `spec`, `split`, `trust_checkpoint`, `strict`, `watch`: as in `optimize`.

    A killed call continues where it stopped. Returns sizes and accuracy of both models. Raises `InvalidInput` if
    teacher, student and data do not fit.
    """
    folder = _writable_model(out)
    teacher = Source(
        source=source, checkpoint=_absolute(checkpoint), spec_file=_absolute(spec), trust_checkpoint=trust_checkpoint
    )
    learner = Source(source=student, checkpoint=_absolute(student_checkpoint), trust_checkpoint=trust_checkpoint)
    asked = distillation.DistillRequest(
        teacher=teacher, student=learner, data=files.absolute(data), split=split,
        train_data=files.absolute(train_data) if train_data is not None else None, schedule=schedule, labels=labels,
        seed=seed,
    )  # fmt: skip
    entry, found = distillation.train_student(_stage_runner(Recipe(strict=strict), watch), asked)
    distillation.copy(entry.path, folder)
    return found


def prune(
    source: str,
    *,
    data: PathLike,
    out: PathLike,
    wanted: Wanted,
    target: str | Target | None = None,
    runtime: str | None = None,
    scheme: str | None = None,
    precision: str | None = None,
    checkpoint: PathLike | None = None,
    spec: PathLike | None = None,
    split: str | None = None,
    train_data: PathLike | None = None,
    schedule: Schedule | None = RECOVERY,
    seed: int = 0,
    trust_checkpoint: bool = False,
    strict: bool = False,
    watch: Watch = quiet,
) -> Pruned:
    """Prune channels of `source`, train the rest on its outputs, and measure. The folder `out` is then a source itself.

    - `wanted`: how much to prune.
    - `target`, `runtime`, `scheme`: `prune` measures the first INT8 artifact for these. With `precision`, it measures
      the first float artifact instead.
    - `train_data`: training images; default the split train or calib of `data`, else three quarters of it.
    - `schedule`: the length and settings of the training; None for no training. `seed`: of the training.
    - `checkpoint`, `spec`, `split`, `trust_checkpoint`, `strict`, `watch`: as in `optimize`.

    A killed call continues where it stopped. Returns latencies (ms) and accuracy before and after. Raises as `optimize`
    does for invalid input, `Unavailable` if the latency or accuracy cannot be measured here, `RuntimeFailed` if the
    artifact cannot be built.
    """
    folder = _writable_model(out)
    host = hosts.here()
    recipe = Recipe(
        runtimes=(runtime,) if runtime else None, schemes=(scheme,) if scheme else None,
        precisions=(precision,) if precision else None, normalize=("host",), finalists=0, seed=seed,
        strict=strict,
    )  # fmt: skip
    where = Source(
        source=source, checkpoint=_absolute(checkpoint), spec_file=_absolute(spec), trust_checkpoint=trust_checkpoint
    )
    job = _job_here(where, recipe, hosts.target_for(host, target), data, split, train_data)
    pruned, found = pruning.prune(job, _stage_runner(recipe, watch), host, wanted, schedule)
    distillation.copy(pruned, folder)
    return found


def sensitivity(
    source: str,
    *,
    data: PathLike,
    target: str | Target | None = None,
    scheme: str | None = None,
    method: str | None = None,
    checkpoint: PathLike | None = None,
    spec: PathLike | None = None,
    split: str | None = None,
    calibration: PathLike | None = None,
    trust_checkpoint: bool = False,
    out: PathLike | None = None,
    strict: bool = False,
    watch: Watch = quiet,
) -> Sensitivity:
    """Measure how much accuracy each layer and block of `source` loses in INT8, and how much time it saves here.

    `scheme`: default the first of `target`. `method`: default the first that fits. `data`, `checkpoint`, `spec`,
    `split`, `calibration`, `trust_checkpoint`, `strict` and `watch` are those of `optimize`.

    Writes ``sensitivity.json`` and ``sensitivity.html`` to the folder `out`, if it is given. Raises as `optimize` does
    for invalid input, and `Unavailable` for the target of another machine.
    """
    host, folder = hosts.here(), _writable(out) if out is not None else None
    recipe = Recipe(
        schemes=(scheme,) if scheme else None, methods=(method,) if method else None, normalize=("host",), finalists=0,
        strict=strict,
    )  # fmt: skip
    where = Source(
        source=source, checkpoint=_absolute(checkpoint), spec_file=_absolute(spec), trust_checkpoint=trust_checkpoint
    )
    job = _job_here(where, recipe, hosts.target_for(host, target), data, split, calibration)
    found = sensing.sensitivity(job, _stage_runner(recipe, watch), host)
    if folder is not None:
        sensitivities.write(found, folder)
    return found


def compile(
    model: PathLike,
    *,
    out: PathLike,
    target: str | Target | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    threads: int = 0,
    normalize: str = "host",
    images: PathLike | None = None,
    max_batch: int = 1,
    watch: Watch = quiet,
) -> tuple[Manifest, Checked | None]:
    """Compile the ONNX file `model` (with its ModelSpec inside) for one runtime, and write the bundle `out`.

    - `target`: a device. `runtime`: default its first runtime. `precision`: default that of the target. If `target` is
      another machine, `compile` does not run the model. TensorRT's parser and builder then check a file for TensorRT.
    - `threads`: CPU threads; 0 is one per physical core.
    - `normalize`: "host" normalizes pixels before the graph, "graph" inside it.
    - `images`: a folder of images to check FP16 for TensorRT on.
    - `max_batch`: the largest batch of a TensorRT plan.
    - `watch`: as in `optimize`.

    If `model` is a bundle, `compile` adds the part that only this device can build: its TensorRT plan.

    Returns the bundle's manifest, and for TensorRT the results of its checks. Raises `InvalidInput` for a file that
    TensorRT refuses, and `UsageError` for options that do not apply.
    """
    path, final, runner = Path(_absolute(model) or ""), files.absolute(out), _stage_runner(Recipe(), watch)
    bundles.require_replaceable(final)
    files.require_writable(final.parent, _ANOTHER)
    if path.is_dir():
        if target or runtime or precision or threads or images or normalize != "host" or max_batch != 1:
            raise UsageError(
                f"{path} is a bundle, so its runtime and options are fixed.",
                "On its device only the missing parts are built.",
                "Leave out the other options, or compile the .onnx file again.",
            )
        return compiling.finish_bundle(runner, path, final), None
    named = {"runtime": runtime, "precision": precision, "threads": threads or None}
    asked = compiling.CompileRequest(
        model=path, options={key: value for key, value in named.items() if value is not None}, normalize=normalize,
        target=target if target is None or isinstance(target, Target) else catalogue.load(target),
        images=files.absolute(images) if images is not None else None, max_batch=max_batch,
    )  # fmt: skip
    compiled = compiling.compile_file(runner, asked)
    provenance: dict[str, Any] = {"model": files.sha256(path), "source": compiled.spec.source}
    if compiled.checked:
        provenance["check"] = msgspec.to_builtins(compiled.checked)
    manifest = bundles.write(compiled.artifact.path, final, name=compiled.spec.name, provenance=provenance)
    return manifest, compiled.checked


def audit(
    file: PathLike,
    *,
    data: PathLike,
    split: str | None = None,
    calibration: PathLike | None = None,
    reference: PathLike | None = None,
    isa: Sequence[str] | None = None,
    runtime: str | None = None,
    num_images: int = 64,
    strict: bool = False,
    watch: Watch = quiet,
) -> Audited:
    """Check an ONNX file or bundle for errors that the mean accuracy does not show.

    - `file`: the ONNX file or bundle. `reference`: the float model to compare the scores with.
    - `data`, `split`: the images. The audit uses `num_images` of them. `calibration`: the folder that the model was
      calibrated on.
    - `isa`: instruction sets of the target processor ("avx2"). `runtime`: default ONNX Runtime, or that of the bundle.
    - `strict`, `watch`: as in `optimize`.

    Returns the findings; a finding of level "error" is returned, not raised. Raises `InvalidInput` for a file that
    cannot be read.
    """
    asked = auditing.AuditRequest(
        path=files.absolute(file), data=files.absolute(data), split=split,
        calibration=files.absolute(calibration) if calibration is not None else None,
        reference=files.absolute(reference) if reference is not None else None,
        isa=_isa(isa), runtime=runtime, count=num_images,
    )  # fmt: skip
    return auditing.audit_file(_stage_runner(Recipe(strict=strict), watch), asked)


def bench(
    bundles: Sequence[PathLike],
    *,
    data: PathLike,
    out: PathLike,
    budget: str | None = None,
    split: str | None = None,
    fps: float | None = None,
    recipe: Recipe | None = None,
    on: Device | str | None = None,
    strict: bool = False,
    watch: Watch = quiet,
) -> Outcome:
    """Measure `bundles` in one interleaved run on this machine, or on the device `on` ("user@host").

    The first bundle is the reference. `fps`: the frame rate of a camera, at which latency is also measured.
    `data`, `split`, `budget`, `recipe`, `strict` and `watch` are those of `optimize`. The reports are written to the
    folder `out`.

    Returns the `Outcome`, without a chosen bundle. Raises `UsageError` for a rate outside 0.1 to 1000.
    """
    plan, folder = recipe or Recipe(), _writable(out)
    plan = msgspec.structs.replace(plan, strict=strict or plan.strict)
    if fps is not None:
        try:
            plan = msgspec.convert({**msgspec.to_builtins(plan), "fps": fps}, Recipe)
        except msgspec.ValidationError as error:
            raise UsageError(f"The frame rate is not valid: {error}.", "", "Give the camera's rate, e.g. 30.") from None
    limits = budgets.parse(budget) if budget is not None else None
    with hosts.at(_device(on), plan, watch) as host:
        asked = benching.BenchRequest(
            paths=[files.absolute(b) for b in bundles], data=files.absolute(data), split=split, budget=limits,
            recipe=plan, host=host,
        )  # fmt: skip
        report = benching.bench(_stage_runner(plan, watch), asked)
        written = _write_reports(report, folder)
    return Outcome(report=report, files=written, best=None, missed=_missed(report))


def clean_device(on: Device | str) -> bool:
    """Remove edgewright and its files from the device `on` ("user@host"), and end its processes there.

    Returns False if the device had no files. Raises `Unavailable` if the device does not answer.
    """
    device = _device(on)
    assert device is not None
    return remote.clean(device)


def _job_here(
    source: Source, recipe: Recipe, target: Target, data: PathLike, split: str | None, calibration: PathLike | None
) -> Job:
    """A job on this machine without a choice: its budget holds for unlabeled images, too."""
    return Job(
        source=source, data=files.absolute(data), split=split,
        calibration=files.absolute(calibration) if calibration is not None else None,
        target=target, recipe=recipe, budget=budgets.parse("sqnr >= 0 dB"),
    )  # fmt: skip


def _isa(names: Sequence[str] | None) -> tuple[Isa, ...] | None:
    """The instruction sets by their names. Raises `UsageError` for an unknown one."""
    known = get_args(Isa)
    for name in names or ():
        if name not in known:
            raise UsageError(f"Unknown instruction set '{name}'.", f"Known: {', '.join(known)}.", "Use one of them.")
    return tuple(names) if names else None  # type: ignore[arg-type]


def _deliver(state: RunState, report: Report, folder: Path) -> Outcome:
    """Write the bundle (all bundles if nothing was measured) and the reports."""
    written: dict[str, Path] = {}
    best = None
    for build in state.builds:
        wanted = report.choice and build.candidate.id == report.choice.id
        unmeasured = build.alive and not state.measured_here
        if not build.artifact or not (wanted or unmeasured):
            continue
        row = report.measurement(build.candidate.id)
        name = state.spec.name if wanted else f"built/{state.spec.name}-{build.candidate.id}"
        path = folder / f"{name}{bundles.SUFFIX}"
        provenance = {
            "source": state.job.source.source, "target": state.job.target.name, "created": report.created,
            "measurement": msgspec.to_builtins(msgspec.structs.replace(row, described={})),
        }  # fmt: skip
        bundles.write(build.artifact.path, path, name=state.spec.name, provenance=provenance)
        if wanted:
            best = Best(path=path)
            written["bundle"] = path
        else:
            written["built"] = folder / "built"
    written |= _write_reports(report, folder, reports.gallery(state, report))
    return Outcome(report=report, files=written, best=best, missed=_missed(report))


def _write_reports(report: Report, folder: Path, gallery: Sequence[Pair] = ()) -> dict[str, Path]:
    paths = {suffix: folder / f"report.{suffix}" for suffix in ("json", "md", "html")}
    report_json.write(report, paths["json"])
    markdown.write(report, paths["md"])
    html.write(report, paths["html"], gallery)
    return {"report": paths["html"], "markdown": paths["md"], "json": paths["json"]}


def _missed(report: Report) -> EdgewrightError | None:
    choice = report.choice
    if report.errors:
        codes = ", ".join(dict.fromkeys(finding.code for finding in report.errors))
        why = "\n".join(sentence(finding) for finding in report.errors)
        return GateFailed(
            f"Nothing is chosen: {codes}.", why, "Correct the errors; docs/reference/audit.md explains each code."
        )
    if report.target.measured is False or choice is None or choice.id:
        return None
    if not any(m.status == "ok" for m in report.measurements):
        first = next((m.reason for m in report.measurements if m.reason), "")
        return RuntimeFailed(
            "No variant was built and measured.", first or "", "Read the reason of each variant in the report."
        )
    return GateFailed(
        f"No variant is within the budget '{report.budget}'.",
        f"The closest is {choice.nearest}: {'; '.join(choice.misses)}." if choice.nearest else choice.why,
        "Widen the budget, add calibration images, or try other INT8 methods in a recipe.",
    )


def _stage_runner(recipe: Recipe, watch: Watch) -> StageRunner:
    limits = child.Limits(wall_s=recipe.stage_timeout_s, memory_bytes=recipe.memory_bytes or _most_of_memory())
    store = Store()
    store.require_writable()
    store.sweep()
    return StageRunner(store=store, limits=limits, watch=watch, strict=recipe.strict)


def _writable(out: PathLike) -> Path:
    """The absolute path of the folder `out`. Raises `UsageError`, before any work, if it cannot be written."""
    folder = files.absolute(out)
    files.require_writable(folder, _ANOTHER)
    return folder


def _writable_model(out: PathLike) -> Path:
    """As `_writable`, for a model's folder, which is replaced: `UsageError` if it contains anything else."""
    folder = _writable(out)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / PLAN).is_file():
        raise UsageError(
            f"{folder} contains files other than an edgewright model.", "The whole folder would be replaced.", _ANOTHER
        )
    return folder


def _writable_file(out: PathLike) -> Path:
    path = files.absolute(out)
    files.require_writable_file(path, _ANOTHER)
    return path


def _most_of_memory() -> int:
    """Nine tenths of this machine's memory, so that a child reaches its limit before the system kills a process."""
    return int(0.9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _device(on: Device | str | None) -> Device | None:
    return Device(address=on) if isinstance(on, str) else on


def _absolute(path: PathLike | None) -> str | None:
    if path is None:
        return None
    found = files.absolute(path)
    if not found.exists():
        raise InvalidInput(f"There is no file {found}.", "The command needs it.", "Check the path.")
    return str(found)
