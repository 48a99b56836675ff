"""Compilation as stages: artifacts of candidates and of the reference, and artifacts that emulate a device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgewright.core.spec import ModelSpec
from edgewright.core.store import Entry
from edgewright.pipeline.candidate import Candidate
from edgewright.pipeline.hosts import Finish, Host
from edgewright.pipeline.stages.export import _foreign
from edgewright.pipeline.stages.model import MODEL, PARITY, REFERENCE, what_is
from edgewright.pipeline.stages.runner import Context, Stage, StageRunner, made_by
from edgewright.runtimes import registry
from edgewright.runtimes.options import Options

SIMULATED = "simulated.onnx"


def compile_artifact(runner: StageRunner, model: Entry, spec: ModelSpec, candidate: Candidate, run: bool) -> Entry:
    """The artifact of a candidate: the runtime's files and ``artifact.json``. `run`: this machine is the target."""
    return _compile(runner, candidate.id, File(model, MODEL, spec), candidate.options, run)


def compile_reference(runner: StageRunner, exported: Entry, spec: ModelSpec) -> Entry:
    """The reference's artifact: torch in float32 if the source has a torch module, else ONNX Runtime in float32.

    The graph of an INT8 source is computed exactly, without INT8 kernels.
    """
    has_torch = (exported.path / REFERENCE).exists()
    parity = msgspec.json.decode((exported.path / PARITY).read_bytes())
    if has_torch and parity.get("reference_batch") is None:  # the torch module takes any batch size
        spec = spec.with_batch(None)
    # The reference of an INT8 file is the file, computed exactly: some processors saturate its sums at 16 bits.
    exact = not has_torch and bool(what_is(exported).operators)
    options = Options(runtime="torch" if has_torch else "onnxruntime", precision="f32", emulate=exact)
    file = REFERENCE if has_torch else MODEL
    return _compile(
        runner.with_torch if has_torch else runner, "reference", File(exported, file, spec), options, True, _foreign
    )


def emulate(runner: StageRunner, model: Entry, what: str, spec: ModelSpec) -> Entry:
    """An artifact that computes on this CPU what an exact INT8 or FP16 runtime computes with the file of `model`."""
    file = SIMULATED if (model.path / SIMULATED).exists() else MODEL
    options = Options(runtime="onnxruntime", emulate=True)
    return _compile(runner, f"{what}, emulated", File(model, file, spec), options, True)


def emulate_saturation(runner: StageRunner, model: Entry, candidate: Candidate, spec: ModelSpec) -> Entry:
    """An artifact that computes what the candidate computes on x86 without VNNI (`quantize.saturation`)."""
    runtime = candidate.options.runtime
    inputs = {"model": model.key, "runtime": runtime, "made_by": made_by("quantize", "graph")}
    saturated = runner.run(
        "saturate", candidate.id, inputs, "edgewright.quantize.saturation:convert", model=str(model.path / MODEL),
        runtime=runtime, into="out",
    )  # fmt: skip
    return emulate(runner, saturated, candidate.id, spec)


class File(NamedTuple):
    """A file in a model's folder, and its spec."""

    model: Entry
    name: str
    spec: ModelSpec


def _compile(
    runner: StageRunner, what: str, file: File, options: Options, run: bool,
    refuse: Callable[[Path], str] | None = None,
) -> Entry:  # fmt: skip
    how = {"spec": msgspec.to_builtins(file.spec), "options": msgspec.to_builtins(options), "run": run}
    inputs = {"model": file.model.key, "file": file.name, **how, "made_by": made_by("compile", "runtimes", "graph")}
    if run and (identity := getattr(registry.module(options.runtime), "identity", None)):
        inputs["device"] = identity()  # its builds depend on more than the library's version
    target = "edgewright.runtimes.artifact:build"
    return runner.run("compile", what, inputs, target, refuse=refuse, model=str(file.model.path / file.name), **how)


def finish(runner: StageRunner, artifact: Entry, what: str, host: Host) -> Entry:
    """The artifact, completed with the parts that only the device `host` can build."""
    device = f"{host.unit}; {host.identity}"
    inputs = {"artifact": artifact.key, "machine": device, "made_by": made_by("compile", "runtimes")}
    work = Stage(
        name="finish", what=what, target=f"{__name__}:finished", arguments={"artifact": str(artifact.path)},
        inputs=inputs, by="finish",
    )  # fmt: skip
    return runner.keep(work, host.execute)


def finished(artifact: str, context: Context, finish: Finish) -> None:
    """The function of the stage `finish`, on a device."""
    finish(Path(artifact), context.folder, context.progress)
    # The store writes a manifest of the finished artifact.
    Path(context.folder, "manifest.json").unlink(missing_ok=True)
