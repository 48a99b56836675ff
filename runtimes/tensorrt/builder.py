"""Parse an ONNX file, configure TensorRT's builder, and build a plan.

From TensorRT 10 on, the network is strongly typed: the types in the file decide the precision of each layer. Before,
the builder receives the precisions as flags and may choose float32 for a layer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from edgewright.core.child import Progress
from edgewright.core.errors import RuntimeFailed, Unavailable
from edgewright.runtimes.onnx_file import require_whole
from edgewright.runtimes.options import Builder, Precision, failure

from . import library
from .library import Line

if TYPE_CHECKING:
    import tensorrt as trt

PARSED = "parsed"
"""The progress message after the parser accepted the file."""

_PLACES = re.compile(r"\[checkMacros.*|\s*In \w+ at /_src\S*")
"""References to the library's source code in messages."""
_MEMORY = re.compile(r"Total (Activation|Weights) Memory: (\d+) bytes")


class Problem(msgspec.Struct, frozen=True):
    """An error of the parser. `node`, `operator`: the node, or empty if the error is not about a node.

    `origin`: the layer of the node in the source model, if known.
    """

    node: str
    operator: str
    text: str
    origin: str = ""


class Rejected(RuntimeFailed):
    """The parser rejected the file. `problems`: the errors with their nodes."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        first = problems[0] if problems else Problem("", "", "It gave no reason.")
        where = f" at {first.operator} '{first.node}'" if first.node else ""
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(
            f"TensorRT's parser rejects the model{where}{more}.",
            first.text,
            "Check the file against all rules of TensorRT: `edgewright compile --target NAME`.",
        )


class Job(NamedTuple):
    """One build: the bytes of an ONNX file, the `precision` of its float layers, and the options of the builder.

    `ahead_of_time`: build for this compute capability ("8.6") instead of this device (`tensorrt_rtx` only).
    """

    model: bytes
    precision: Precision
    builder: Builder
    timing_cache: bytes = b""
    ahead_of_time: str | None = None


class Built(NamedTuple):
    """A plan and the builder's report.

    `outputs`, `inputs`: those of the model in order. `layers`: their number. `fallback`: layers that DLA does not
    support, so the GPU runs them. `memory`: bytes of "activation" and "weights", if the builder reports them.
    """

    plan: bytes
    outputs: tuple[str, ...]
    timing_cache: bytes
    layers: int
    fallback: tuple[str, ...]
    memory: dict[str, int]
    warnings: tuple[str, ...]
    inputs: tuple[str, ...] = ()


def build(trt: Any, job: Job, progress: Progress | None = None) -> Built:
    """Build the plan of `job`. This takes seconds to many minutes. `progress` receives the builder's phases.

    Raises `Rejected` (parser), `Unavailable` (the version or device does not support an option), `OutOfResources`,
    `RuntimeFailed` (builder).
    """
    lines: list[Line] = []
    builder = trt.Builder(library.logger(trt, lines))
    network = create_network(trt, builder, job)
    parse(trt, network, job.model, lines)
    if progress is not None:
        progress(0, 0, PARSED)
    outputs = tuple(network.get_output(index).name for index in range(network.num_outputs))
    inputs = tuple(network.get_input(index).name for index in range(network.num_inputs))
    config = configure(trt, builder, network, job, progress)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    fallback = _fallback(config, layers) if job.builder.dla is not None else ()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise failure("TensorRT", "build the plan", library.last(lines))
    cache = b"" if job.ahead_of_time else bytes(config.get_timing_cache().serialize())
    memory = {match[1].lower(): int(match[2]) for line in lines if (match := _MEMORY.search(line.text))}
    warnings = tuple(dict.fromkeys(line.text for line in lines if line.severity == library.WARNING))
    return Built(bytes(plan), outputs, cache, len(layers), fallback, memory, warnings, inputs)


def create_network(trt: Any, builder: trt.Builder, job: Job) -> trt.INetworkDefinition:
    """Create an empty network, strongly typed if the version supports it."""
    kinds = trt.NetworkDefinitionCreationFlag
    if hasattr(kinds, "STRONGLY_TYPED") and not _weakly(trt, job):
        return builder.create_network(flags=1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    if hasattr(kinds, "EXPLICIT_BATCH"):
        return builder.create_network(flags=1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    return builder.create_network()


def _weakly(trt: Any, job: Job) -> bool:
    # Before version 11, DLA does not support strongly typed networks. From 11 on, every network is strongly typed.
    return job.builder.dla is not None and hasattr(trt.BuilderFlag, "FP16")


def parse(trt: Any, network: trt.INetworkDefinition, model: bytes, lines: list[Line]) -> None:
    """Parse the ONNX file `model` into `network`. Raises `Rejected`, or `IntegrityError` for data outside the file."""
    require_whole(model, "The ONNX file")
    parser = trt.OnnxParser(network, library.logger(trt, lines))
    if not parser.parse(model):
        raise Rejected([_problem(parser.get_error(index)) for index in range(parser.num_errors)])


def _problem(error: trt.ParserError) -> Problem:
    name = error.node_name() if hasattr(error, "node_name") else ""
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    return Problem(name, operator, _PLACES.sub("", " ".join(error.desc().split())).strip())


def configure(
    trt: Any, builder: trt.Builder, network: trt.INetworkDefinition, job: Job, progress: Progress | None
) -> trt.IBuilderConfig:
    """Create the builder configuration: precisions, memory, effort, device, timing cache, shapes."""
    config, wanted = builder.create_builder_config(), job.builder
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for the census; costs nothing at run time
    if hasattr(config, "builder_optimization_level"):  # from 8.6 on
        config.builder_optimization_level = wanted.optimization_level
    config.clear_flag(trt.BuilderFlag.TF32)  # float32 in the file means full float32
    if wanted.workspace_bytes:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, wanted.workspace_bytes)
    if wanted.sparse:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED") or _weakly(trt, job):
        _allow(trt, config, network, job)
    if wanted.dla is not None:
        _use_dla(trt, builder, config, wanted.dla)
    if job.ahead_of_time:
        _target(trt, config, job.ahead_of_time)
    else:
        cache = config.create_timing_cache(job.timing_cache)
        if not config.set_timing_cache(cache, ignore_mismatch=False):  # cache of another device: use an empty one
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    if progress is not None:
        watch(trt, config, progress)
    _open_batch(builder, config, network, job)
    return config


def _allow(trt: Any, config: trt.IBuilderConfig, network: trt.INetworkDefinition, job: Job) -> None:
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    quantized = any(layer.type == trt.LayerType.QUANTIZE for layer in layers)
    if job.precision == "f16" and hasattr(trt.BuilderFlag, "FP16"):
        config.set_flag(trt.BuilderFlag.FP16)
    if quantized and hasattr(trt.BuilderFlag, "INT8"):
        config.set_flag(trt.BuilderFlag.INT8)


def _use_dla(trt: Any, builder: trt.Builder, config: trt.IBuilderConfig, core: int) -> None:
    if not core < builder.num_DLA_cores:
        raise Unavailable(
            f"DLA core {core} is not available.",
            f"This device has {builder.num_DLA_cores or 'no'} DLA cores for TensorRT {trt.__version__}.",
            "Remove `dla` from the builder options.",
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _fallback(config: trt.IBuilderConfig, layers: list[trt.ILayer]) -> tuple[str, ...]:
    return tuple(layer.name for layer in layers if not config.can_run_on_DLA(layer))


def _target(trt: Any, config: trt.IBuilderConfig, capability: str) -> None:
    if not hasattr(trt, "ComputeCapability"):
        raise Unavailable(
            f"{library.identity(trt)} builds only for the GPU of this machine.",
            "A build for another GPU needs TensorRT for RTX.",
            "Install it: pip install 'edgewright[tensorrt-rtx]'",
        )
    known = {name: value for name, value in trt.ComputeCapability.__members__.items() if name.startswith("SM")}
    name = f"SM{capability.replace('.', '')}"
    if name not in known:
        raise Unavailable(
            f"{library.identity(trt)} does not build for compute capability {capability}.",
            f"It builds for: {', '.join(sorted(known))}.",
            "Choose one of these.",
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(known[name], 0)


def _open_batch(builder: trt.Builder, config: trt.IBuilderConfig, network: trt.INetworkDefinition, job: Job) -> None:
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    if all(min(tuple(one.shape), default=0) >= 0 for one in inputs):
        return
    profile = builder.create_optimization_profile()
    for one in inputs:
        shape = tuple(one.shape)
        least, most = (tuple(size if side < 0 else side for side in shape) for size in (1, job.builder.max_batch))
        profile.set_shape(one.name, least, most, most)
    config.add_optimization_profile(profile)


def watch(trt: Any, config: trt.IBuilderConfig, progress: Progress) -> None:
    """Report the builder's phases to `progress`: steps of the outermost phase, name of the innermost. From 10 on."""
    if not hasattr(trt, "IProgressMonitor"):
        return

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[str, tuple[int, int]] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.phases[phase_name] = (0, num_steps)
            self.report(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.phases[phase_name] = (step, self.phases.get(phase_name, (0, 0))[1])
            self.report(phase_name)
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.phases.pop(phase_name, None)

        def report(self, phase_name: str) -> None:
            done, total = next(iter(self.phases.values()))
            progress(done, total, phase_name)

    config.progress_monitor = Monitor()
