"""The audit of one ONNX file or bundle (`edgewright audit`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgewright.bench import accuracy, audit
from edgewright.bench.results import Finding
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.data import sets
from edgewright.data.sets import ImageSet
from edgewright.pipeline import hosts
from edgewright.pipeline import images as image_sets
from edgewright.pipeline.candidate import Candidate, Variant
from edgewright.pipeline.images import Images
from edgewright.pipeline.jobs.quantize import import_file
from edgewright.pipeline.stages import audit as audits
from edgewright.pipeline.stages.audit import Subject
from edgewright.pipeline.stages.compile import compile_artifact
from edgewright.pipeline.stages.measure import evaluate
from edgewright.pipeline.stages.model import MODEL, spec_of, what_is
from edgewright.pipeline.stages.runner import StageRunner
from edgewright.runtimes import bundle, registry
from edgewright.runtimes.options import Options
from edgewright.targets import detect
from edgewright.targets.target import Isa

FLOAT = Candidate(variant=Variant(), options=Options(runtime="onnxruntime"))
"""How the float reference is compiled."""


class Audited(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of `edgewright audit` on `images` images: the findings, and the checks that passed."""

    file: str
    runtime: str
    images: int
    findings: tuple[Finding, ...] = ()
    passed: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AuditRequest:
    """An ONNX file or bundle to audit on `count` images of `data`.

    `reference`: a float file to compare the scores with. `isa`: the instruction sets of the target processor (default:
    this machine's). `runtime`: the runtime to audit an ONNX file for.
    """

    path: Path
    data: Path
    split: str | None = None
    calibration: Path | None = None
    reference: Path | None = None
    isa: tuple[Isa, ...] | None = None
    runtime: str | None = None
    count: int = 64


def audit_file(runner: StageRunner, asked: AuditRequest) -> Audited:
    """Audit an ONNX file, or a bundle with one, on this machine."""
    path, runtime, count = asked.path, asked.runtime, asked.count
    machine = detect.this_machine()
    options = Options(runtime="onnxruntime")
    if path.is_dir():
        options = bundle.verify(path).artifact
        path = path / MODEL
        if not path.is_file():
            raise InvalidInput(
                f"The bundle {path.parent} has no ONNX file.", f"It is compiled for {options.runtime}.",
                f"Audit the .onnx file from which it was compiled, with --runtime {options.runtime}.",
            )  # fmt: skip
    if runtime:
        options = msgspec.convert({"runtime": runtime}, Options)
    evaluation = image_sets.read_evaluation(asked.data, asked.split, runner)
    try:
        given = image_sets.read_calibration(asked.data, evaluation, asked.calibration, count, 0, runner)
    except sets.Absent as absent:
        given, evaluation = None, image_sets.without_split(evaluation, absent, asked.calibration, runner)
    bare = (msgspec.structs.replace(item, label=None, boxes=None) for item in sets.spread(evaluation.items, count))
    images = msgspec.structs.replace(evaluation, items=tuple(bare))
    model = import_file(runner, path)
    spec = spec_of(model)
    found = _audit_images(runner, given, evaluation, spec) if given else []
    images = image_sets.as_inputs(images, spec)
    variant = Variant(is_int8=not what_is(model).quantized.few)
    artifact = compile_artifact(runner, model, spec, Candidate(variant=variant, options=options), True)
    here = hosts.here()
    answers = evaluate(runner, artifact, path.name, images, here)
    audited = audits.audit(
        runner, path.name,
        Subject(
            model=model, artifact=artifact, options=options, spec=spec, answers=answers,
            images=images, isa=asked.isa or machine.isa,
            answered_with=machine.isa, described=audits.described(artifact, None),
            runs_here=not registry.traits(options.runtime).on_device, count=count,
        ),
    )  # fmt: skip
    found += audits.read(audited)
    if asked.reference:
        plain = import_file(runner, asked.reference)
        float_artifact = compile_artifact(runner, plain, spec_of(plain), FLOAT, True)
        truth = evaluate(runner, float_artifact, asked.reference.name, images, here)
        ours, theirs = (accuracy.load_outputs(entry.path) for entry in (answers, truth))
        found += audit.against_reference(ours, theirs, spec)
    findings, passed = audit.split([*image_sets.findings(evaluation), *found])
    return Audited(file=str(path), runtime=options.runtime, images=len(images.items), findings=findings, passed=passed)


def _audit_images(runner: StageRunner, calibration: ImageSet, evaluation: ImageSet, spec: ModelSpec) -> list[Finding]:
    try:
        sets.require_disjoint(calibration, evaluation)
    except InvalidInput as leak:
        text = leak.what.removeprefix("calibration-leak: ")
        return [Finding(level="error", code="calibration-leak", text=text)]
    both = Images(evaluation=evaluation, calibration=calibration)
    return audits.read(audits.audit_images(runner, both, spec))
