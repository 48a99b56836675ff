"""The model without its channel shuffles, as further candidates for OpenVINO: built and measured as the rest.

The products that take the shuffles' place may cost more than they save. So what is measured decides, INT8 is built
again only where a float one is faster at a first look, and only for OpenVINO, where it was seen to pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edgewright.pipeline import stages
from edgewright.pipeline.candidates.base import compressed
from edgewright.pipeline.score import is_inside
from edgewright.quantize import methods

if TYPE_CHECKING:
    from edgewright.pipeline.run import Line, Made, Work

NAME = "unshuffled"


def look(line: Line, made: Made) -> tuple[Line, list[Work]]:
    """`line` with the model without shuffles, and the works built of it and evaluated; none for a model that has none.

    What is inside the budget as it is is built again: float, and INT8 but for mixed precision and what is trained,
    which take many times as long.
    """
    from edgewright.pipeline.run import Work  # which imports this module

    whole = [work for work in made.works if _is_plain(work) and is_inside(made, work)]
    if not (line.measure and whole):
        return line, []
    first = Work(candidate=compressed(whole[0].candidate, NAME))
    with first.stage("unshuffle", line.shop):
        model = stages.unshuffle(line.shop, line.exported, NAME)
    if not first.alive:
        return line, [first]
    if model is None:
        return line, []
    line = replace(line, compressed={**line.compressed, NAME: model})

    def build(works: Sequence[Work]) -> list[Work]:
        built = [line.build(compressed(work.candidate, NAME)) for work in works]
        for work in built:
            line.evaluate(work)
        return built

    exact = [work for work in whole if not work.candidate.variant.scheme]
    works = build(exact)
    if not exact or _is_any_faster(line, exact, works):
        works += build([work for work in whole if work.candidate.variant.scheme])
    return line, works


def _is_plain(work: Work) -> bool:
    variant = work.candidate.variant
    is_trained = variant.method is not None and methods.get(variant.method).distil
    is_ours = work.alive and work.candidate.options.runtime == "openvino"
    return is_ours and not (variant.compression or variant.float_blocks or is_trained)


def _is_any_faster(line: Line, works: Sequence[Work], again: Sequence[Work]) -> bool:
    """Whether one of `works` is faster as it was built `again`."""
    seen = line.screen([*works, *again])

    def p50(work: Work) -> float:
        latency = seen[work.candidate.id].latency if work.candidate.id in seen else None
        return (latency.p50_ms if latency else None) or 0.0

    return any(0 < p50(less) < p50(work) for work, less in zip(works, again))
