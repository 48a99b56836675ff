"""Checks of a TensorRT artifact without its device: Q/DQ rules, parser, builder, precision, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgewright.bench.results import Finding
from edgewright.core import child
from edgewright.core.errors import OutOfResources, RuntimeFailed, TimedOut, Unavailable
from edgewright.core.spec import encode
from edgewright.core.store import Entry
from edgewright.pipeline.stages.model import MODEL
from edgewright.pipeline.stages.runner import Context, Stage, StageRunner, in_own_children, made_by
from edgewright.quantize.qdq.tensorrt_rules import RULES, Violation
from edgewright.runtimes.options import Options
from edgewright.runtimes.tensorrt.builder import PARSED
from edgewright.runtimes.tensorrt.check import Check, crashed
from edgewright.targets.target import Target, memory_for_model

FILE = "check.json"
MUCH = 0.5
"""A model that takes more than this share of the memory gets a warning: the estimate has no workspace and library."""


class Checked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``check.json``. `layers`: number of layers by the precision that the graph requests (predicted, not measured).

    Bytes are computed from shapes. `memory_bytes`: the memory of the target for a model. `ahead_of_time`: None if
    parser and builder did not run; then `unasked` says why. `sparse`: with sparse kernels, the number of layers with
    2:4 zeros and of layers that could have them.
    """

    schema_version: int = 1
    layers: dict[str, int]
    weight_bytes: int
    activation_bytes: int
    memory_bytes: int | None = None
    violations: tuple[Violation, ...] = ()
    ahead_of_time: Check | None = None
    unasked: str | None = None
    sparse: tuple[int, int] | None = None

    @property
    def refused(self) -> tuple[str, str] | None:
        """What TensorRT refuses in the file, and why; None if no check fails."""
        broken = [violation for violation in self.violations if violation.level == "error"]
        problems = self.ahead_of_time.problems if self.ahead_of_time else ()
        reported = [f"{problem.operator} '{problem.origin}': {problem.text}" for problem in problems]
        if broken:
            more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
            what = f"The file breaks TensorRT's rule '{broken[0].rule}' at '{broken[0].origin}'{more}: {broken[0].text}"
            return what, f"The parser reports: {reported[0]}" if reported else RULES[broken[0].rule]
        if reported:
            return "TensorRT's parser refuses the file.", reported[0]
        if (ahead := self.ahead_of_time) and not ahead.parsed:
            return "TensorRT's parser crashes on the file.", ahead.reason or ""
        return None

    @property
    def unbuilt(self) -> str | None:
        """Why the builder failed on the parsed file; None if it succeeded, or did not run."""
        ahead = self.ahead_of_time
        if ahead is None or ahead.built:
            return None
        return f"{ahead.library} cannot build it for compute capability {ahead.compute_capability}: {ahead.reason}"

    def findings(self) -> tuple[Finding, ...]:
        """The findings for the report."""
        found = [
            Finding(level="warning", code=f"tensorrt-{violation.rule}", text=f"{violation.origin}: {violation.text}")
            for violation in self.violations
        ]
        ahead = self.ahead_of_time
        if ahead is None:
            text = f"TensorRT's parser and builder did not check this file: {self.unasked}"
            found.append(Finding(level="note", code="not-parsed", text=text))
        elif ahead.built:
            layers = ", ".join(f"{count} {kind}" for kind, count in sorted(self.layers.items()))
            text = (
                f"Layers by the graph: {layers}. {ahead.library} parsed and built the file ahead of time for compute "
                f"capability {ahead.compute_capability}; nothing was measured."
            )
            found.append(Finding(level="note", code="built-ahead-of-time", text=text))
        else:
            found.append(Finding(level="warning", code="not-built", text=self.unbuilt or ""))
        if self.sparse:
            some, every = self.sparse
            text = f"{some} of {every} layers have 2:4 zeros. The gain of sparse kernels was not measured."
            if not some:
                text = f"Sparse kernels are on, but none of {every} layers has 2:4 zeros: use prune --sparsity 2:4."
            found.append(Finding(level="note" if some else "warning", code="sparsity", text=text))
        needed = self.weight_bytes + self.activation_bytes
        if self.memory_bytes and needed > MUCH * self.memory_bytes:
            text = (
                f"Weights and tensors take {needed / 1e6:.0f} MB of the {self.memory_bytes / 1e6:.0f} MB for a model."
            )
            found.append(Finding(level="warning", code="memory", text=text))
        return tuple(found)


def check(runner: StageRunner, model: Entry, what: str, options: Options, target: Target) -> Entry:
    """``check.json`` of the ONNX file in `model`, for `target`."""
    capability = target.gpu.compute_capability if target.gpu else None
    rooms = ("quantize", "runtimes", "graph", "pipeline")
    inputs = {
        "model": model.key, "options": msgspec.to_builtins(options), "capability": capability,
        "memory": memory_for_model(target), "made_by": made_by("check", *rooms),
    }  # fmt: skip

    arguments = {
        "model": str(model.path / MODEL), "options": msgspec.to_builtins(options), "capability": capability,
        "memory": memory_for_model(target),
    }  # fmt: skip
    work = Stage(name="check", what=what, target=f"{__name__}:prove", arguments=arguments, inputs=inputs)
    return runner.keep(work, in_own_children)


def prove(model: str, options: dict[str, Any], capability: str | None, memory: int | None, context: Context) -> None:
    """The function of the stage: check the file, then build it ahead of time, in one child each."""
    wanted = msgspec.convert(options, Options)
    read = child.call(f"{__name__}:examine", log=context.log, limits=context.limits, model=model)
    ahead, unasked = _build(model, wanted, capability, context)
    if not (wanted.builder and wanted.builder.sparse):
        read["sparse"] = None
    found = msgspec.convert({**read, "memory_bytes": memory}, type=Checked)
    if ahead:
        origins = read["origins"]
        problems = [msgspec.structs.replace(p, origin=origins.get(p.node, p.node)) for p in ahead.problems]
        ahead = msgspec.structs.replace(ahead, problems=tuple(problems))
    written = msgspec.structs.replace(found, ahead_of_time=ahead, unasked=unasked)
    (context.folder / FILE).write_bytes(encode(written))


def read(entry: Entry) -> Checked:
    """The result of the stage."""
    return msgspec.json.decode((entry.path / FILE).read_bytes(), type=Checked)


def examine(model: str) -> dict[str, Any]:
    """Rules, layers and memory of the ONNX file `model`, and the layer of each node. Runs in a child."""
    from edgewright.graph import census, names, sparsity
    from edgewright.graph import files as onnx_files
    from edgewright.quantize.qdq import tensorrt_rules

    graph = onnx_files.load(Path(model))
    names.name_nodes(graph)
    memory = census.memory(graph)
    return {
        "layers": census.layers(graph), "weight_bytes": memory.weights, "activation_bytes": memory.activations,
        "sparse": tuple(sparsity.count(graph)), "violations": tensorrt_rules.check(graph),
        "origins": tensorrt_rules.origins(graph),
    }  # fmt: skip


def _build(model: str, options: Options, capability: str | None, context: Context) -> tuple[Check | None, str | None]:
    """The result of parser and builder, or why they did not run."""
    if capability is None:
        return None, "the target names no GPU."
    reported: list[str] = []

    def watched(done: int, total: int, text: str) -> None:
        reported.append(text)
        context.progress(done, total, text)

    try:
        found = child.call(
            "edgewright.runtimes.tensorrt.check:ahead_of_time", log=context.log, limits=context.limits,
            progress=watched, model=model, options=options, compute_capability=capability,
        )  # fmt: skip
    except Unavailable as error:
        return None, f"{error.what} {error.fix}"
    except (RuntimeFailed, TimedOut, OutOfResources) as error:
        return crashed(error, capability, parsed=PARSED in reported), None
    return msgspec.convert(found, type=Check), None
