"""Candidates for OpenVINO without the model's channel shuffles.

The matrix products that replace the shuffles may cost more than they save, so measurements decide. INT8 is built only
if a float one is faster in screening.
"""

from __future__ import annotations

from edgewright.core.errors import EdgewrightError
from edgewright.pipeline import policy
from edgewright.pipeline.candidate import Candidate, compressed
from edgewright.pipeline.stages.rewrite import unshuffle
from edgewright.pipeline.stages.runner import FATAL
from edgewright.pipeline.state import Failure, RunState

NAME = "unshuffled"


def propose(state: RunState) -> list[Candidate]:
    """Rewritable builds without shuffles: float first, then INT8. Empty for a model without shuffles."""
    whole = policy.rewritable(state)
    if not whole:
        return []
    if NAME not in state.models:
        try:
            model = unshuffle(state.runner, state.exported, NAME)
        except FATAL:
            raise
        except EdgewrightError as error:
            state.models[NAME] = Failure("unshuffle", error.what, error.why)
        else:
            if model is None:
                return []
            state.models[NAME] = model
    if isinstance(state.models[NAME], Failure):
        return [compressed(whole[0].candidate, NAME)]
    exact = [build for build in whole if not build.candidate.variant.scheme]
    again = {build.candidate.id: build for build in state.builds if build.candidate.variant.compression == NAME}
    found = [compressed(build.candidate, NAME) for build in exact]
    if exact and not again:
        return found
    if not exact or policy.is_any_faster(state, exact, [again[candidate.id] for candidate in found]):
        found += [compressed(build.candidate, NAME) for build in whole if build.candidate.variant.scheme]
    return found
