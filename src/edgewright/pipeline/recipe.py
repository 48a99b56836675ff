"""The recipe: what to try and how long, as a TOML file or as defaults that the target completes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgewright.core.errors import InvalidInput
from edgewright.runtimes.options import Builder

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to build and measure. None means all that the target calls for and this machine can build.

    `normalize`: where pixels are normalized; with both, the finalists are also built with normalization inside the
    graph and measured beside the others. `threads`: thread counts tried for the finalists (0: all physical cores).
    `finalists`: how many candidates get such variations. `min_duration_s`: how long contenders are measured at most,
    `min_count`: how many samples they get at least (docs/measuring.md). `fps`: frames a second of a camera at
    which the latency is measured too, beside back to back. `margin`: points of top-1 in the non-inferiority verdict.
    `builder`: TensorRT's
    settings (optimization level, workspace, 2:4 sparsity, DLA core) where they are not to be the target's.
    `mixed_precision`: where INT8 loses too much, try it with the most sensitive blocks in float
    (docs/mixed_precision.md). `hardswish`: shares of the values of SiLUs that can be replaced, for which OpenVINO on
    x86 gets the cheaper HardSwish (docs/hardswish.md); None: a half, three quarters and all, where the methods are not
    named. `prune`: for each speed-up named here a pruned copy of the model goes through all that the model goes through
    (docs/pruning.md); "2:4": one with sparse weights, for TensorRT. `distill`: so do these sources, after they learned
    from the model (docs/distillation.md). Each of them is trained for `train_time_s` seconds. `strict`: stop at an
    image that cannot be read, and at anything else in the data that deserves a warning (docs/data.md).

    `effort`: "normal" builds what can still win (docs/effort.md), "quick" only what is cheap, "thorough" everything.
    `within_s`: nothing more is begun where the run would take longer than these seconds.
    """

    schema_version: int = 1
    runtimes: tuple[str, ...] | None = None
    precisions: tuple[str, ...] | None = None
    schemes: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    normalize: Annotated[tuple[Literal["host", "graph"], ...], Meta(min_length=1)] = ("host", "graph")
    threads: Annotated[tuple[int, ...], Meta(min_length=1)] = (0,)
    finalists: Annotated[int, Meta(ge=0)] = 3
    batch: Count = 1
    calibration_images: Count = 300
    parity_images: Count = 16
    min_duration_s: Annotated[float, Meta(ge=0)] = 2.0
    min_count: Count = 130
    fps: Annotated[float, Meta(ge=0.1, le=1000)] | None = None
    margin: Annotated[float, Meta(ge=0)] = 1.0
    seed: int = 0
    stage_timeout_s: Seconds = 1800.0
    memory_bytes: int | None = None
    builder: Builder | None = None
    mixed_precision: bool = False
    hardswish: tuple[Annotated[float, Meta(gt=0, le=1)], ...] | None = None
    prune: tuple[Annotated[float, Meta(gt=1)] | Literal["2:4"], ...] = ()
    distill: tuple[str, ...] = ()
    train_time_s: Seconds = 1200.0
    strict: bool = False
    effort: Literal["quick", "normal", "thorough"] = "normal"
    within_s: Seconds | None = None


def checked(recipe: Recipe) -> Recipe:
    """`recipe`, which was made in Python, where its values are not checked; raises `InvalidInput` as `read` does."""
    try:
        return msgspec.convert(msgspec.to_builtins(recipe), Recipe)
    except msgspec.ValidationError as error:
        raise _invalid("The recipe", error) from None


def read(path: Path) -> Recipe:
    """The recipe in a TOML file; raises `InvalidInput` that names the field."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Recipe)
    except OSError as error:
        raise InvalidInput(f"The recipe {path} cannot be read.", str(error), "Give the path of a TOML file.") from None
    except msgspec.MsgspecError as error:
        raise _invalid(f"The recipe {path}", error) from None


def _invalid(what: str, error: msgspec.MsgspecError) -> InvalidInput:
    return InvalidInput(
        f"{what} is not valid: {error}.",
        "Its fields are: " + ", ".join(Recipe.__struct_fields__) + ".",
        "Correct or remove the field that is named.",
    )
