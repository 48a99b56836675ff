"""INT8 by distillation, for each scheme and set of options without a candidate inside the budget."""

from __future__ import annotations

import msgspec

from edgewright.pipeline import policy
from edgewright.pipeline.candidate import Candidate
from edgewright.pipeline.state import RunState
from edgewright.quantize.methods import DISTIL


def propose(state: RunState) -> list[Candidate]:
    """One candidate for each such family whose float variant is inside the budget."""
    return [
        msgspec.structs.replace(one, variant=msgspec.structs.replace(one.variant, method=DISTIL))
        for one in policy.outside(state)
    ]
