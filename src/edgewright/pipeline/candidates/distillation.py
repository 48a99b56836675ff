"""INT8 by distillation, for each scheme and set of options with which no other method stays inside the budget."""

from __future__ import annotations

import msgspec

from edgewright.pipeline import policy
from edgewright.pipeline.candidate import Candidate
from edgewright.pipeline.state import RunState
from edgewright.quantize.methods import DISTIL


def propose(state: RunState) -> list[Candidate]:
    """A candidate for each such family, where its float variant is inside."""
    return [
        msgspec.structs.replace(one, variant=msgspec.structs.replace(one.variant, method=DISTIL))
        for one in policy.outside(state)
    ]
