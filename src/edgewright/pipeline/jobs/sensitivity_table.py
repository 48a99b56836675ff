"""The table of `edgewright sensitivity`: what each block and layer loses in INT8, and its time in float and in INT8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from edgewright.bench import profile
from edgewright.bench.latency import Timing
from edgewright.bench.results import Loss, Part, Sensitivity
from edgewright.pipeline import stages
from edgewright.quantize.mixed import block_sensitivity
from edgewright.runtimes.options import Kernel

if TYPE_CHECKING:
    from edgewright.pipeline.run import Line, Work

IMAGES = 8
"""Calibration images that sensitivity is measured on."""


def table(line: Line, exact: Work, int8: Work, first: dict[str, Timing]) -> Sensitivity:
    """Blocks and layers of `int8` against `exact`, which were timed as `first` says.

    Raises `EdgewrightError`s of the stages: an INT8 file of which no layer can be given back to float, a profiler that
    fails.
    """
    assert int8.quantized and exact.artifact and int8.artifact
    calibration, digests = line.images.calibration, line.images.calibration_digests
    entry = stages.sensitivity(
        line.shop, line.exported, int8.quantized, int8.candidate.variant, calibration, digests, line.job.recipe.seed,
        IMAGES, True,
    )  # fmt: skip
    found = block_sensitivity.read(entry.path)
    times: dict[str, list[Kernel]] = {}
    if line.place.is_here and profile.has_profiler(exact.candidate.options.runtime):
        item, digest = line.images.evaluation.items[0], line.images.evaluation_digests[0]
        pair = {work.candidate.id: work.artifact for work in (exact, int8) if work.artifact}
        times = profile.read(stages.profile(line.shop, pair, item.path, digest, line.place.identity).path)
    totals = [(work.candidate.id, _runtime_ms(first[work.candidate.id])) for work in (exact, int8)]
    return Sensitivity(
        id=int8.candidate.id, float_id=exact.candidate.id, images=found.images, whole=_loss(found.whole),
        blocks=_parts(found.blocks, times, found.tensors, totals),
        layers=_parts(found.layers, times, found.tensors, totals),
    )  # fmt: skip


def _parts(
    rows: Sequence[block_sensitivity.Sensitivity], kernels: dict[str, list[Kernel]], tensors: dict[str, str],
    totals: Sequence[tuple[str, float]],
) -> tuple[Part, ...]:  # fmt: skip
    """`rows` with their milliseconds in float and in INT8, scaled so that they add up to the measured `totals`."""
    owners = {name: i for i, row in enumerate(rows) for name in row.block.nodes}
    owners |= {tensor: owners[node] for tensor, node in tensors.items() if node in owners and tensor not in owners}
    columns: list[list[float | None]] = []
    for id, total in totals:
        each = profile.attribute(kernels[id], owners, len(rows)) if kernels else []
        columns.append([ms * total / max(sum(each), 1e-9) for ms in each] or [None] * len(rows))
    return tuple(
        Part(
            layers=row.block.layers, operators=row.operators, alone=_loss(row.alone), others=_loss(row.others),
            float_ms=float_ms, int8_ms=int8_ms,
        )
        for row, float_ms, int8_ms in zip(rows, *columns)
    )  # fmt: skip


def _loss(found: block_sensitivity.Loss) -> Loss:
    return msgspec.convert(msgspec.to_builtins(found), Loss)


def _runtime_ms(timing: Timing) -> float:
    assert timing.latency
    return timing.latency.runtime_p50_ms or timing.latency.p50_ms or 0.0
