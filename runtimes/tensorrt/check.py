"""Parse and build a model ahead of time without a GPU, with TensorRT for RTX.

TensorRT for RTX has TensorRT's ONNX parser and a builder that needs no device. TensorRT on a Jetson most likely rejects
the same files. The built plan is not measured, and its kernels are not those of a Jetson. Run this in a child process,
because a graph that breaks the rules can crash the builder.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec.structs import replace

from edgewright.core.child import Progress
from edgewright.core.errors import EdgewrightError, RuntimeFailed
from edgewright.runtimes.options import Builder, Options

from . import builder, library
from .builder import Problem

NEAREST = {"7.2": "7.5", "8.7": "8.0", "9.0": "8.9", "10.0": "12.0", "11.0": "12.0"}
"""The nearest compute capability for those that TensorRT for RTX does not build for. Orin's 8.7 has the shared memory
of 8.0, Xavier's 7.2 the instructions of 7.5, Hopper's 9.0 those of 8.9 and more, Thor's 11.0 those of 12.0."""


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of parser and builder for a model.

    `compute_capability`: the one that was used. The builder reports the bytes. `problems`: errors of the parser.
    `reason`: why the builder failed.
    """

    library: str
    compute_capability: str
    parsed: bool
    built: bool
    problems: tuple[Problem, ...] = ()
    reason: str | None = None
    plan_bytes: int | None = None
    activation_bytes: int | None = None
    weight_bytes: int | None = None


def ahead_of_time(
    model: str, options: Options | dict[str, object], compute_capability: str, progress: Progress | None = None
) -> Check:
    """Parse and build the ONNX file `model` for a GPU of `compute_capability` ("8.7"), or the nearest.

    Raises `Unavailable` if TensorRT for RTX is not installed.
    """
    options = msgspec.convert(options, type=Options) if isinstance(options, dict) else options
    trt = library.bindings("tensorrt_rtx")
    nearest = NEAREST.get(compute_capability, compute_capability)
    # DLA and sparsity need the device.
    wanted = replace(options.builder or Builder(), dla=None, sparse=False)
    job = builder.Job(
        model=Path(model).read_bytes(), precision=options.precision, builder=wanted, ahead_of_time=nearest
    )
    nothing = Check(library=library.identity(trt), compute_capability=nearest, parsed=False, built=False)
    try:
        built = builder.build(trt, job, progress)
    except builder.Rejected as error:
        return replace(nothing, problems=tuple(error.problems))
    except RuntimeFailed as error:
        return replace(nothing, parsed=True, reason=error.why)
    return replace(
        nothing, parsed=True, built=True, plan_bytes=len(built.plan),
        activation_bytes=built.memory.get("activation"), weight_bytes=built.memory.get("weights"),
    )  # fmt: skip


def crashed(error: EdgewrightError, compute_capability: str, parsed: bool) -> Check:
    """Return the check of a model that crashed `ahead_of_time`. `parsed`: whether the crash came after the parser."""
    nearest = NEAREST.get(compute_capability, compute_capability)
    reason = f"{error.what} {error.why}"
    return Check(library="tensorrt_rtx", compute_capability=nearest, parsed=parsed, built=False, reason=reason)
