"""Options of a runtime, its abilities on this machine, and the error messages for its failures."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec

from edgewright.core.errors import EdgewrightError, OutOfResources, RuntimeFailed, Unavailable, from_exception

Precision = Literal["f32", "bf16", "f16"]


class Builder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of TensorRT's builder.

    `optimization_level`: 0 (fast build) to 5 (longest search). `workspace_bytes`: scratch memory of a layer; None: the
    builder may use all memory. `sparse`: use 2:4 sparse kernels for 2:4 sparse weights. `dla`: the DLA core to use; the
    GPU runs unsupported layers. `max_batch`: largest batch size if the model's batch size is dynamic.
    """

    optimization_level: Annotated[int, msgspec.Meta(ge=0, le=5)] = 3
    workspace_bytes: Annotated[int, msgspec.Meta(gt=0)] | None = None
    sparse: bool = False
    dla: Annotated[int, msgspec.Meta(ge=0)] | None = None
    max_batch: Annotated[int, msgspec.Meta(gt=0)] = 1


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to run a model. It is part of the artifact and of the search.

    `runtime`: one of `registry.names`. `precision`: of the layers that are not quantized. `threads`: 0 means all
    physical cores that the process may use. `hint`: OpenVINO's performance hint; other runtimes ignore it. `builder`:
    options of TensorRT. `emulate`: ONNX Runtime computes the graph with its Q/DQ pairs in float. This gives the outputs
    of exact INT8 kernels, but slowly.
    """

    runtime: Annotated[str, msgspec.Meta(pattern="^[a-z0-9_]+$")]
    precision: Precision = "f32"
    threads: Annotated[int, msgspec.Meta(ge=0)] = 0
    hint: Literal["latency", "throughput"] = "latency"
    builder: Builder | None = None
    emulate: bool = False


class Kernel(NamedTuple):
    """A kernel of one inference: the `names` of its layers in the model, its kind, its time (median)."""

    names: tuple[str, ...]
    kind: str
    microseconds: float


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """The abilities of a runtime on this machine. `why`: the reason if it is not available."""

    available: bool
    version: str | None = None
    precisions: tuple[Precision, ...] = ()
    device: str = ""
    why: str = ""


def require_precision(options: Options, precisions: tuple[str, ...], why: str) -> None:
    """Raise `Unavailable` if the precision in `options` is not one of `precisions`. `why`: the reason."""
    if options.precision not in precisions:
        raise Unavailable(
            f"{options.runtime} cannot compute in {options.precision} on this machine.",
            f"{why} Possible here: {', '.join(precisions)}.",
            "Build the artifact for the target of this device, or choose a possible precision.",
        )


def failure(runtime: str, doing: str, error: Exception) -> EdgewrightError:
    """Return the user's error for an exception of a runtime library. `doing`: the failed action ("run the model")."""
    if known := from_exception(error):
        return known
    text = " ".join(str(error).split()) or type(error).__name__
    text = text if len(text) <= 400 else f"... {text[-400:]}"  # the reason is at the end, after the library's lines
    signs = ("bad_alloc", "failed to allocate memory", "out of memory", "could not be allocated")
    if any(sign in text.lower() for sign in signs):
        return OutOfResources(f"{runtime} ran out of memory while trying to {doing}.", text, "Free memory.")
    return RuntimeFailed(f"{runtime} failed to {doing}.", text, "Choose another variant or runtime for this model.")
