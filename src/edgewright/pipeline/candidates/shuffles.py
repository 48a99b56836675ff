"""The model without its channel shuffles, as further candidates for OpenVINO: built and measured as the rest.

The products that take the shuffles' place may cost more than they save. So what is measured decides, INT8 is built
again only where a float one is faster at a first look, and only for OpenVINO, where it was seen to pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgewright.pipeline.builder import CandidateBuilder
from edgewright.pipeline.candidate import compressed
from edgewright.pipeline.score import is_inside
from edgewright.pipeline.stages.rewrite import unshuffle
from edgewright.pipeline.state import Build, RunState
from edgewright.quantize import methods

NAME = "unshuffled"


def look(builder: CandidateBuilder, state: RunState) -> tuple[CandidateBuilder, list[Build]]:
    """`builder` with the model without shuffles, and what is built of it and evaluated; none for a model that has none.

    What is inside the budget as it is is built again: float, and INT8 but for mixed precision and what is trained,
    which take many times as long.
    """
    from edgewright.pipeline.state import Build

    whole = [build for build in state.builds if _is_plain(build) and is_inside(state, build)]
    if not (builder.measure and whole):
        return builder, []
    first = Build(candidate=compressed(whole[0].candidate, NAME))
    with first.stage("unshuffle", builder.runner):
        model = unshuffle(builder.runner, builder.exported, NAME)
    if not first.alive:
        return builder, [first]
    if model is None:
        return builder, []
    builder = replace(builder, compressed={**builder.compressed, NAME: model})

    def build(builds: Sequence[Build]) -> list[Build]:
        built = [builder.build(compressed(build.candidate, NAME)) for build in builds]
        for build in built:
            builder.evaluate(build)
        return built

    exact = [build for build in whole if not build.candidate.variant.scheme]
    builds = build(exact)
    if not exact or _is_any_faster(builder, exact, builds):
        builds += build([build for build in whole if build.candidate.variant.scheme])
    return builder, builds


def _is_plain(build: Build) -> bool:
    variant = build.candidate.variant
    is_trained = variant.method is not None and methods.get(variant.method).needs("checkpoint")
    is_ours = build.alive and build.candidate.traits.prefers_slices
    return is_ours and not (variant.compression or variant.float_blocks or is_trained)


def _is_any_faster(builder: CandidateBuilder, builds: Sequence[Build], again: Sequence[Build]) -> bool:
    """Whether one of `builds` is faster as it was built `again`."""
    seen = builder.screen([*builds, *again])

    def p50(build: Build) -> float:
        latency = seen[build.candidate.id].latency if build.candidate.id in seen else None
        return (latency.p50_ms if latency else None) or 0.0

    return any(0 < p50(less) < p50(build) for build, less in zip(builds, again))
