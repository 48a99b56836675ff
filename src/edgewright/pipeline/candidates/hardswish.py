"""Candidates for OpenVINO with HardSwish for a share of the model's SiLUs.

Each share is first tried in the fastest float precision. Shares inside the budget are quantized too, the largest
first, by NNCF's methods: edgewright's own quantizer would put Q/DQ pairs between a HardSwish and its scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgewright.core.errors import EdgewrightError
from edgewright.core.store import Entry
from edgewright.pipeline import policy
from edgewright.pipeline.candidate import Candidate, compressed
from edgewright.pipeline.score import is_inside
from edgewright.pipeline.stages.rewrite import fit_hardswish, put_hardswish
from edgewright.pipeline.stages.runner import FATAL
from edgewright.pipeline.state import Build, Failure, RunState
from edgewright.quantize import hardswish, methods
from edgewright.quantize.calibration.images import MINIMUM
from edgewright.quantize.steps import PlaceByNncf

SHARES = (0.5, 0.75, 1.0)
"""Shares of the SiLU values to compute with HardSwish instead."""
FASTEST = ("bf16", "f32")
"""OpenVINO's float precisions, fastest first; not every processor has bf16."""
FITTED = "hardswish"


def propose(state: RunState) -> list[Candidate]:
    """The shares in the fastest float precision, then INT8 of the largest one inside the budget.

    Empty for a model without SiLU, outside x86, with too few calibration images for INT8, and if the recipe names
    INT8 methods but no shares. If the recipe names shares, the progress says why none is tried. Of shares that select
    the same SiLUs only the smallest is tried.
    """
    if state.given is not None:
        return []
    recipe = state.job.recipe
    shares = recipe.hardswish if recipe.hardswish is not None else () if recipe.methods is not None else SHARES
    alive = [b for b in state.builds if b.alive and b.candidate.traits.prefers_hardswish]
    alive = [build for build in alive if not build.candidate.variant.compression]
    exact = [b for p in FASTEST for b in alive if b.candidate.precision == p and is_inside(state, b)]
    enough = policy.has_enough_images(state)
    if not (state.measured_here and state.job.target.arch == "x86_64" and shares and exact and enough):
        if recipe.hardswish:
            why = "skipped: needs a measured x86 target, a float variant for OpenVINO inside the budget"
            state.runner.watch("fit", "HardSwish", 1, 1, f"{why}, and {MINIMUM} calibration images")
        return []
    nncf = [build for build in alive if build.candidate in _quantized(alive, exact[0].candidate)]
    if not policy.could_win(state, [*exact, *nncf], policy.REWRITTEN):
        return []
    fitted = _model(
        state, FITTED, "fit", lambda: fit_hardswish(state.runner, state.exported, state.images.calibration)
    )  # fmt: skip
    if isinstance(fitted, Failure):
        return [compressed(exact[0].candidate, FITTED)]
    functions = hardswish.read_fitted(fitted.path)
    chosen = {tuple(functions.chosen(share)): share for share in sorted(shares, reverse=True)}
    chosen.pop((), None)  # the model has no SiLU
    for share in sorted(chosen.values()):
        _put(state, fitted, share)
    found = [compressed(exact[0].candidate, _named(share)) for share in sorted(chosen.values())]
    if recipe.effort != "thorough":
        found = _fastest_first(state, exact[0], found)
    if not all(candidate.id in {build.candidate.id for build in state.builds} for candidate in found):
        return found
    return _in_int8(state, sorted(chosen.values()), exact[0].candidate, _quantized(alive, exact[0].candidate))


def _fastest_first(state: RunState, exact: Build, shares: Sequence[Candidate]) -> list[Candidate]:
    """The next largest of `shares` to build; none if a built one is inside the budget, or saves no time."""
    builds = {build.candidate: build for build in state.builds}
    found = list[Candidate]()
    for candidate in reversed(shares):
        found.append(candidate)
        build = builds.get(candidate)
        if build is None:
            break
        if build.alive and (is_inside(state, build) or not policy.is_any_faster(state, [exact], [build])):
            break
    return found


def _in_int8(
    state: RunState, shares: Sequence[float], exact: Candidate, quantized: Sequence[Candidate]
) -> list[Candidate]:
    """The INT8 candidates of the largest of `shares` inside the budget in float, until one is inside in INT8, too."""
    builds = {build.candidate.id: build for build in state.builds}

    def is_good(candidate: Candidate) -> bool:
        build = builds[candidate.id]
        return build.alive and is_inside(state, build)

    tried = [share for share in shares if compressed(exact, _named(share)).id in builds]
    for share in reversed([share for share in tried if is_good(compressed(exact, _named(share)))]):
        found = [compressed(candidate, _named(share)) for candidate in quantized]
        if not all(candidate.id in builds for candidate in found):
            return found
        if any(map(is_good, found)):
            break
    return []


def _put(state: RunState, fitted: Entry, share: float) -> None:
    """Add the model with HardSwish for `share` of the values."""
    name, images = _named(share), state.images.calibration
    _model(
        state, name, "substitute", lambda: put_hardswish(state.runner, state.exported, fitted, share, images, name)
    )  # fmt: skip


def _model(state: RunState, name: str, stage: str, make: Callable[[], Entry]) -> Entry | Failure:
    """The model called `name`, or its failure; created at the first call."""
    if name not in state.models:
        try:
            state.models[name] = make()
        except FATAL:
            raise
        except EdgewrightError as error:
            state.models[name] = Failure(stage, error.what, error.why)
    return state.models[name]


def _named(share: float) -> str:
    return f"hardswish{100 * share:g}"


def _quantized(builds: Sequence[Build], like: Candidate) -> list[Candidate]:
    """The INT8 candidates among `builds` with NNCF methods and the options of `like`."""
    found = [b.candidate for b in builds if b.candidate.variant.scheme and b.candidate.options == like.options]
    return [c for c in found if methods.get(c.variant.method or "").has(PlaceByNncf) and not c.variant.float_blocks]
