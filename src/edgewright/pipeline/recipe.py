"""The recipe: what to try and how long, as a TOML file or as defaults that the target completes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.runtimes.options import Builder


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to build and measure. None means all that the target calls for and this machine can build.

    `normalize`: where pixels are normalized; with both, the finalists are also built with normalization inside the
    graph and measured beside the others. `threads`: thread counts tried for the finalists (0: all physical cores).
    `finalists`: how many candidates get such variations. `fps`: frames a second of a camera at which the latency is
    measured too, beside back to back. `margin`: points of top-1 in the non-inferiority verdict. `builder`: TensorRT's
    settings (optimization level, workspace, 2:4 sparsity, DLA core) where they are not to be the target's.
    `mixed_precision`: where INT8 loses too much, try it with the most sensitive blocks in float
    (docs/mixed_precision.md). `hardswish`: shares of the values of SiLUs that can be replaced, for which OpenVINO on
    x86 gets the cheaper HardSwish (docs/hardswish.md); None: a half, three quarters and all, where the methods are not
    named. `prune`: for each speed-up named here a pruned copy of the model goes through all that the model goes through
    (docs/pruning.md); "2:4": one with sparse weights, for TensorRT. `distill`: so do these sources, after they learned
    from the model (docs/distillation.md). Each of them is trained for `train_time_s` seconds. `strict`: stop at an
    image that cannot be read, and at anything else in the data that deserves a warning (docs/data.md).
    """

    schema_version: int = 1
    runtimes: tuple[str, ...] | None = None
    precisions: tuple[str, ...] | None = None
    schemes: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    normalize: tuple[Literal["host", "graph"], ...] = ("host", "graph")
    threads: tuple[int, ...] = (0,)
    finalists: int = 3
    batch: int = 1
    calibration_images: int = 300
    parity_images: int = 16
    min_duration_s: float = 2.0
    min_count: int = 200
    fps: float | None = None
    margin: float = 1.0
    seed: int = 0
    stage_timeout_s: float = 1800.0
    memory_bytes: int | None = None
    builder: Builder | None = None
    mixed_precision: bool = False
    hardswish: tuple[float, ...] | None = None
    prune: tuple[float | Literal["2:4"], ...] = ()
    distill: tuple[str, ...] = ()
    train_time_s: float = 1200.0
    strict: bool = False

    def __post_init__(self) -> None:
        for name in ("finalists", "min_duration_s", "margin"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        counts = ("batch", "calibration_images", "parity_images", "min_count")
        for name in (*counts, "stage_timeout_s", "train_time_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above zero, got {getattr(self, name)}")
        for speedup in self.prune:
            if isinstance(speedup, float) and not speedup > 1:
                raise ValueError(f"prune names speed-ups above 1, got {speedup:g}")
        for share in self.hardswish or ():
            if not 0 < share <= 1:
                raise ValueError(f"hardswish names shares above 0 and at most 1, got {share:g}")
        if self.fps is not None and not 0.1 <= self.fps <= 1000:
            raise ValueError(f"fps must be from 0.1 to 1000 frames a second, got {self.fps:g}")
        if not self.normalize or not self.threads:
            raise ValueError("normalize and threads must name at least one value each")


def read(path: Path) -> Recipe:
    """The recipe in a TOML file; raises `InvalidInput` that names the field."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Recipe)
    except OSError as error:
        raise InvalidInput(f"The recipe {path} cannot be read.", str(error), "Give the path of a TOML file.") from None
    except msgspec.MsgspecError as error:
        raise InvalidInput(
            f"The recipe {path} is not valid: {error}.",
            "Its fields are: " + ", ".join(Recipe.__struct_fields__) + ".",
            "Correct or remove the field that is named.",
        ) from None
