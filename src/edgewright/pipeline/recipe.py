"""The recipe: which variants to try and how long, as a TOML file; the target completes what it leaves open."""

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
    """What to build and measure. None means: everything that the target supports and this machine can build.

    `methods`, `schemes`: INT8 (docs/explanation/int8.md). `normalize`: where pixels are normalized; with both, the
    finalists are also built with the normalization in the graph. `answers`: where the last step of decoding is
    computed, for tasks that can do it in the graph (ArgMax of a segmentation model). `threads`: thread counts of
    the finalists (0: all physical cores). `finalists`: how many candidates get such variations. `min_duration_s`:
    longest measurement of a contender; `min_count`: fewest samples (docs/explanation/latency.md). `fps`: also
    measure at this camera rate. `margin`: points of top-1 in the non-inferiority verdict. `builder`: TensorRT
    settings that replace the target's (optimization level, workspace, 2:4 sparsity, DLA core).

    `mixed_precision`: if INT8 loses too much, keep its most sensitive blocks in float. `hardswish`: shares of the SiLU
    values that get HardSwish in OpenVINO on x86 (docs/explanation/x86-rewrites.md); None: 0.5, 0.75 and 1 unless
    `methods` are named. `prune`: speedups; for each one, a pruned copy of the model goes through all steps; "2:4" adds
    a copy with sparse weights for TensorRT. `distill`: sources that learn from the model and then go through all steps.
    `train_time_s`: seconds of training for each of these.

    `effort`: "normal" builds what can still be chosen, "quick" what is cheap, "thorough" everything
    (docs/explanation/choice.md). `within_s`: start nothing that would take the run past this many seconds. `strict`:
    stop at an image that cannot be read, and at any other warning about the data (docs/reference/data.md).
    """

    schema_version: int = 1
    runtimes: tuple[str, ...] | None = None
    precisions: tuple[str, ...] | None = None
    schemes: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    normalize: Annotated[tuple[Literal["host", "graph"], ...], Meta(min_length=1)] = ("host", "graph")
    answers: Annotated[tuple[Literal["host", "graph"], ...], Meta(min_length=1)] = ("host", "graph")
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
    """`recipe` with checked values, for one created in Python. Raises `InvalidInput` as `read` does."""
    try:
        return msgspec.convert(msgspec.to_builtins(recipe), Recipe)
    except msgspec.ValidationError as error:
        raise _invalid("The recipe", error) from None


def read(path: Path) -> Recipe:
    """Read a recipe from a TOML file. Raises `InvalidInput` that names the wrong field."""
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
        "Correct or remove the named field.",
    )
