"""Compile one ONNX file for one runtime; finish a bundle on its device."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgewright.core import child
from edgewright.core.errors import InvalidInput, UsageError
from edgewright.core.spec import ModelSpec
from edgewright.core.store import Entry
from edgewright.pipeline import images as image_sets
from edgewright.pipeline.candidate import Candidate, Variant
from edgewright.pipeline.candidates.base import builder_for
from edgewright.pipeline.jobs.quantize import import_file
from edgewright.pipeline.stages import check as checks
from edgewright.pipeline.stages.check import Checked
from edgewright.pipeline.stages.compile import compile_artifact
from edgewright.pipeline.stages.model import spec_of, what_is
from edgewright.pipeline.stages.quantize import HALF_IMAGES, halve
from edgewright.pipeline.stages.rewrite import fold_normalization
from edgewright.pipeline.stages.runner import StageRunner
from edgewright.runtimes import bundle, registry
from edgewright.runtimes.options import Builder, Options
from edgewright.targets import detect
from edgewright.targets.target import Target, matches


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """An artifact and its spec. `checked`: the result of TensorRT's checks; None for other runtimes."""

    artifact: Entry
    spec: ModelSpec
    options: Options
    checked: Checked | None


@dataclass(frozen=True, kw_only=True)
class CompileRequest:
    """One ONNX file to compile for one runtime, on this machine or, for another `target`, as far as possible here.

    `options`: the fields of `Options` that differ from the target's first choice. FP16 for TensorRT is checked on
    `images`; its plan takes from 1 to `max_batch` images.
    """

    model: Path
    options: Mapping[str, Any]
    normalize: str = "host"
    target: Target | None = None
    images: Path | None = None
    max_batch: int = 1


def compile_file(runner: StageRunner, asked: CompileRequest) -> Compiled:
    """Compile a file. Raises `UsageError` for options that no runtime takes, `InvalidInput` for a refused file."""
    model, target, options, max_batch = asked.model, asked.target, asked.options, asked.max_batch
    try:
        wanted = msgspec.convert({**_first_choice(target, options.get("runtime")), **options}, type=Options)
        variant = msgspec.convert({"normalize": asked.normalize}, type=Variant)
    except msgspec.ValidationError as error:
        raise UsageError(f"These options are not valid: {error}.", "", "See `edgewright compile --help`.") from None
    if registry.traits(wanted.runtime).builder and max_batch > 1:
        builder = msgspec.structs.replace(wanted.builder or Builder(), max_batch=max_batch)
        wanted = msgspec.structs.replace(wanted, builder=builder)
    elif max_batch > 1:
        raise UsageError(
            f"{wanted.runtime} takes no largest batch.", "Only TensorRT plans have one.", "Leave out --max-batch."
        )
    entry = import_file(runner, model, None if max_batch > 1 else 1)
    variant = msgspec.structs.replace(variant, is_int8=not what_is(entry).quantized.few)
    if variant.normalize == "graph":
        entry = fold_normalization(runner, entry, model.name)
    spec = spec_of(entry)
    if (candidate := Candidate(variant=variant, options=wanted)).is_half:
        if asked.images is None:
            raise UsageError(
                "FP16 for TensorRT needs images.",
                "edgewright finds layers that overflow in FP16 on typical images, and checks the others on them.",
                "Add --images DIR; or stay in float32: --precision f32.",
            )
        found = image_sets.as_inputs(image_sets.calibrating(asked.images, HALF_IMAGES, 0, runner), spec)
        entry = halve(runner, entry, model.name, found)
    here = target is None or matches(target, detect.this_machine())
    artifact = compile_artifact(runner, entry, spec, candidate, here)
    checked = None
    if candidate.traits.on_device:
        about = target or detect.this_machine()
        checked = checks.read(checks.check(runner, entry, model.name, wanted, about))
        if checked.refused:
            raise InvalidInput(
                *checked.refused, "Nothing was written. Correct the file, or quantize the float one: --scheme tensorrt."
            )
    return Compiled(artifact=artifact, spec=spec, options=wanted, checked=checked)


def _first_choice(target: Target | None, runtime: str | None) -> dict[str, Any]:
    """The target's first options, for the named runtime if there is one; FP16 if its TensorRT has it."""
    if target is None:
        return {"runtime": runtime or "openvino"}
    found = next((one for one in target.runtimes if runtime in (None, one.name)), None)
    if found is None:
        known = ", ".join(one.name for one in target.runtimes)
        raise UsageError(f"{target.title} has no {runtime}.", f"It has: {known}.", "Name one of these.")
    traits = registry.traits(found.name)
    precision = traits.beside_int8 if traits.beside_int8 in found.precisions else found.precisions[0]
    first = {"runtime": found.name, "precision": precision}
    return {**first, "builder": builder_for(target)} if traits.builder else first


def finish_bundle(runner: StageRunner, path: Path, out: Path) -> bundle.Manifest:
    """The bundle at `path`, completed with the parts that only this device can build, as the bundle `out`."""
    before = bundle.verify(path)
    with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:

        def step(done: int, total: int, text: str) -> None:
            runner.watch("finish", before.name, done, total + 1, text)

        folder = Path(scratch, "artifact")
        child.call(
            "edgewright.runtimes.bundle:finish", log=runner.log("finish", before.name), limits=runner.limits,
            folder=str(path), out=str(folder), progress=step, kind=None,
        )  # fmt: skip
        runner.watch("finish", before.name, 1, 1, "")
        finished = {"on": detect.this_machine().title}
        return bundle.write(folder, out, name=before.name, provenance={**before.provenance, "finished": finished})
