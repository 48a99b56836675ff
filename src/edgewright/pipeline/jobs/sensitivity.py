"""The table of `edgewright sensitivity`: the INT8 loss of each block and layer, and its time in float and in INT8."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgewright.bench import profile
from edgewright.bench.latency import Timing
from edgewright.bench.results import Loss, Part, Sensitivity
from edgewright.core.errors import InvalidInput, RuntimeFailed, Unavailable
from edgewright.pipeline import builder
from edgewright.pipeline.candidates import base
from edgewright.pipeline.hosts import Host
from edgewright.pipeline.prepare import prepare
from edgewright.pipeline.stages import mixed_precision as stages
from edgewright.pipeline.stages.measure import profile_kernels
from edgewright.pipeline.stages.model import require_float
from edgewright.pipeline.stages.runner import StageRunner
from edgewright.pipeline.state import Build, Job, RunState
from edgewright.pipeline.timing import screen
from edgewright.quantize.mixed import block_sensitivity
from edgewright.runtimes.options import Kernel


def sensitivity(job: Job, runner: StageRunner, host: Host) -> Sensitivity:
    """The INT8 loss and the time of each block and layer, for the first runtime and scheme of the job.

    Raises `InvalidInput` if target and recipe have no float and INT8 variant of one runtime, and `RuntimeFailed` if one
    of them cannot be built or run.
    """
    state = prepare(job, runner, host)
    candidates = base.propose(state)
    require_float(state.exported)
    if not state.measured_here:
        raise Unavailable(
            f"This machine is {host.machine.title}, not {job.target.title}.",
            "Layers are timed on the target itself.", "Leave out --target, or run this on the target.",
        )  # fmt: skip
    pairs = [
        (exact, int8)
        for int8 in candidates
        for exact in candidates
        if int8.variant.scheme and not exact.variant.scheme and exact.options == int8.options
    ]
    if not pairs:
        raise InvalidInput(
            f"Target '{job.target.name}' and the scheme have no float and INT8 variant of one runtime.",
            "The time of a layer in INT8 is compared with its time in float.", "Name another --scheme.",
        )  # fmt: skip
    exact, int8 = (builder.build(state, candidate) for candidate in pairs[0])
    timings = screen(state, [exact, int8])
    for build in (exact, int8):
        reason = build.failure.reason if build.failure else timings[build.candidate.id].reason
        if reason:
            raise RuntimeFailed(f"{build.candidate.id} cannot be measured.", reason, "Name another --scheme.")
    return table(state, exact, int8, timings)


def table(state: RunState, exact: Build, int8: Build, first: dict[str, Timing]) -> Sensitivity:
    """The table of blocks and layers of `int8` against `exact`; `first` has the timings of both.

    Raises the `EdgewrightError` of a stage: no layer of the INT8 file can return to float, or a profiler fails.
    """
    assert exact.artifact and int8.artifact
    calibration = state.images.calibration
    int8_file = stages.InInt8(state.exported, int8.results["quantize"], int8.candidate.variant)
    entry = stages.sensitivity(state.runner, int8_file, calibration, state.job.recipe.seed, layers=True)
    found = block_sensitivity.read(entry.path)
    times: dict[str, list[Kernel]] = {}
    if state.host.is_here and profile.has_profiler(exact.candidate.options.runtime):
        item, digest = state.images.evaluation.items[0], state.images.evaluation.digests[0]
        pair = {build.candidate.id: build.artifact for build in (exact, int8) if build.artifact}
        times = profile.read(profile_kernels(state.runner, pair, item.path, digest, state.host.identity).path)
    totals = [(build.candidate.id, _runtime_ms(first[build.candidate.id])) for build in (exact, int8)]
    return Sensitivity(
        id=int8.candidate.id, float_id=exact.candidate.id, images=found.images, whole=_loss(found.whole),
        blocks=_parts(found.blocks, times, found.tensors, totals),
        layers=_parts(found.layers, times, found.tensors, totals),
    )  # fmt: skip


def _parts(
    rows: Sequence[block_sensitivity.Sensitivity], kernels: dict[str, list[Kernel]], tensors: dict[str, str],
    totals: Sequence[tuple[str, float]],
) -> tuple[Part, ...]:  # fmt: skip
    """`rows` with their times in ms in float and INT8, scaled so that they add up to the measured `totals`."""
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
