"""The model without its channel shuffles, as further candidates for OpenVINO: built and measured as the rest.

The products that take the shuffles' place may cost more than they save. So what is measured decides, INT8 is built
again only where a float one is faster at a first look, and only for OpenVINO, where it was seen to pay.
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
    """What is rewritable of the model without shuffles: float, then INT8; none for a model that has none."""
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
