"""The model without its channel shuffles, as further candidates for OpenVINO: built and measured as the rest.

The products that take their place cost time on some processors and save it on others, and ONNX Runtime has fast
shuffles: so what is measured decides, and only OpenVINO's candidates are built again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from edgewright.graph import files, shuffle
from edgewright.pipeline import stages
from edgewright.pipeline.candidates import Candidate
from edgewright.pipeline.score import is_inside
from edgewright.quantize.methods import DISTIL

if TYPE_CHECKING:
    from edgewright.pipeline.run import Line, Made, Work

NAME = "unshuffled"


def look(line: Line, made: Made) -> tuple[Line, list[Work]]:
    """`line` with the model without shuffles, and the works built of it and evaluated; none for a model that has none.

    What is inside the budget as it is is built again: float, and INT8 but for mixtures and distilled ones, which take
    many times as long.
    """
    from edgewright.pipeline.run import Work  # which imports this module

    again = []
    for work in made.works:
        variant = work.candidate.variant
        is_plain = not (variant.compression or variant.plan) and variant.method != DISTIL
        if is_plain and work.alive and work.candidate.options.runtime == "openvino" and is_inside(made, work):
            named = msgspec.structs.replace(variant, compression=NAME)
            again.append(Candidate(variant=named, options=work.candidate.options))
    if not (line.measure and again and shuffle.is_in(files.load(line.exported.path / stages.MODEL))):
        return line, []
    first = Work(candidate=again[0])
    with first.stage("unshuffle", line.shop):
        model = stages.unshuffle(line.shop, line.exported, NAME)
    if not first.alive:
        return line, [first]
    line = replace(line, compressed={**line.compressed, NAME: model})
    works = [line.build(candidate) for candidate in again]
    for work in works:
        line.evaluate(work)
    return line, works
