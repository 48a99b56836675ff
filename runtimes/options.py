"""What can be asked of a runtime, what it says it can do here, and how its failures are told."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec

from edgewright.core.errors import EdgewrightError, OutOfResources, RuntimeFailed, Unavailable, from_exception

Precision = Literal["f32", "bf16", "f16"]


class Builder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How TensorRT's builder works on a model.

    `optimization_level`: 0 (fast build) to 5 (longest search). `workspace_bytes`: memory that a layer may use beside
    its tensors; None leaves it to the builder, which takes all. `sparse`: use 2:4 sparse kernels where the weights are
    so. `dla`: the DLA core to run on, layers that it cannot take on the GPU. `max_batch`: largest batch of an open one.
    """

    optimization_level: Annotated[int, msgspec.Meta(ge=0, le=5)] = 3
    workspace_bytes: Annotated[int, msgspec.Meta(gt=0)] | None = None
    sparse: bool = False
    dla: Annotated[int, msgspec.Meta(ge=0)] | None = None
    max_batch: Annotated[int, msgspec.Meta(gt=0)] = 1


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to run a model; part of the artifact, and of what is searched.

    `runtime` is one of `registry.names`. `precision` is that of what is not quantized. `threads` 0: all physical cores
    that the process may use. `hint` is OpenVINO's performance hint; the others have none and run the same for both.
    `builder` is TensorRT's. `emulate`: ONNX Runtime computes the graph as it is written, Q/DQ pairs in float: the
    answers of any exact INT8, slowly.
    """

    runtime: Annotated[str, msgspec.Meta(pattern="^[a-z0-9_]+$")]
    precision: Precision = "f32"
    threads: Annotated[int, msgspec.Meta(ge=0)] = 0
    hint: Literal["latency", "throughput"] = "latency"
    builder: Builder | None = None
    emulate: bool = False


class Kernel(NamedTuple):
    """A kernel of one inference: the `names` in the model that it goes by, what it runs, microseconds (median)."""

    names: tuple[str, ...]
    kind: str
    microseconds: float


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What a runtime can do on this machine; `why` says in words why it is not available, or what is missing."""

    available: bool
    version: str | None = None
    precisions: tuple[Precision, ...] = ()
    device: str = ""
    why: str = ""


def require_precision(options: Options, precisions: tuple[str, ...], why: str) -> None:
    """Raise `Unavailable` where the precision that `options` ask for is not one of `precisions`."""
    if options.precision not in precisions:
        raise Unavailable(
            f"{options.runtime} cannot compute in {options.precision} on this machine.",
            f"{why} Possible here: {', '.join(precisions)}.",
            "Build the artifact for this device's target, or ask for one of the possible precisions.",
        )


def failure(runtime: str, doing: str, error: Exception) -> EdgewrightError:
    """The user's error for what a runtime library raised while `doing` something ("run the model")."""
    if known := from_exception(error):
        return known
    text = " ".join(str(error).split()) or type(error).__name__
    text = text if len(text) <= 400 else f"... {text[-400:]}"  # the reason stands last, after the library's own lines
    signs = ("bad_alloc", "failed to allocate memory", "out of memory", "could not be allocated")
    if any(sign in text.lower() for sign in signs):
        return OutOfResources(f"{runtime} ran out of memory while trying to {doing}.", text, "Free memory.")
    return RuntimeFailed(f"{runtime} failed to {doing}.", text, "Choose another variant or runtime for this model.")
