"""The model with HardSwish for a part of its SiLUs, as further candidates for OpenVINO: built and measured as the rest.

Each share that is tried runs in the fastest float precision. What is inside the budget is quantized too, the largest
share first, by NNCF's methods: our own engine would put pairs between a HardSwish and what scales it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgewright.pipeline.builder import CandidateBuilder
from edgewright.pipeline.candidate import Candidate, compressed
from edgewright.pipeline.score import is_inside
from edgewright.pipeline.stages.rewrite import fit_hardswish, put_hardswish
from edgewright.pipeline.state import Build, RunState
from edgewright.quantize import hardswish, methods
from edgewright.quantize.calibration.images import MINIMUM
from edgewright.quantize.steps import PlaceByNncf

SHARES = (0.5, 0.75, 1.0)
"""Of the values that SiLU is computed for, how many HardSwish is computed for instead."""
FASTEST = ("bf16", "f32")
"""OpenVINO's float precisions, the one for processors that have it first."""


def look(builder: CandidateBuilder, state: RunState) -> tuple[CandidateBuilder, list[Build]]:
    """`builder` with the models made here, and what is built of them and evaluated; none for a model without SiLU.

    Only on x86, and not where a recipe names the INT8 methods and no shares, nor where there are fewer calibration
    images than INT8 needs; where a recipe names shares, progress says so. Of shares that come to the same SiLUs the
    smallest is tried.
    """
    recipe = builder.job.recipe
    shares = recipe.hardswish if recipe.hardswish is not None else () if recipe.methods is not None else SHARES
    alive = [w for w in state.builds if w.alive and w.candidate.traits.prefers_hardswish]
    alive = [w for w in alive if not w.candidate.variant.compression]
    exact = [w for p in FASTEST for w in alive if w.candidate.precision == p and is_inside(state, w)]
    enough = len({*builder.images.calibration.digests}) >= MINIMUM
    if not (builder.measure and builder.job.target.arch == "x86_64" and shares and exact and enough):
        if recipe.hardswish:
            why = "not tried: needs an x86 target that is measured, OpenVINO in float inside the budget"
            builder.runner.watch("fit", "HardSwish", 1, 1, f"{why}, and {MINIMUM} calibration images")
        return builder, []
    runner, images = builder.runner, builder.images.calibration
    models = dict(builder.compressed)
    builder = replace(builder, compressed=models)
    builds = [_named(exact[0].candidate, "hardswish")]
    with builds[0].stage("fit", runner):
        fitted = fit_hardswish(runner, builder.exported, images)
    if not builds[0].alive:
        return builder, builds
    builds.clear()
    functions = hardswish.read_fitted(fitted.path)
    chosen = {tuple(functions.chosen(share)): share for share in sorted(shares, reverse=True)}
    chosen.pop((), None)  # a model without SiLU

    def is_good(candidate: Candidate, share: float) -> bool:
        name = f"hardswish{100 * share:g}"
        build = _named(candidate, name)
        if name not in models:
            with build.stage("substitute", runner):
                models[name] = put_hardswish(runner, builder.exported, fitted, share, images, name)
        if build.alive:
            build = builder.build(build.candidate)
            builder.evaluate(build)
        builds.append(build)
        return build.alive and is_inside(state, build)

    good = [share for share in sorted(chosen.values()) if is_good(exact[0].candidate, share)]
    for share in reversed(good):
        kept = [is_good(candidate, share) for candidate in _quantized(alive, exact[0].candidate)]
        if any(kept):
            break
    return builder, builds


def _named(candidate: Candidate, compression: str) -> Build:
    from edgewright.pipeline.state import Build

    return Build(candidate=compressed(candidate, compression))


def _quantized(builds: Sequence[Build], like: Candidate) -> list[Candidate]:
    """The INT8 candidates among `builds` that NNCF makes, with the options of `like`."""
    found = [w.candidate for w in builds if w.candidate.variant.scheme and w.candidate.options == like.options]
    return [c for c in found if methods.get(c.variant.method or "").has(PlaceByNncf) and not c.variant.float_blocks]
