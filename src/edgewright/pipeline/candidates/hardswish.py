"""The model with HardSwish for a part of its SiLUs, as further candidates for OpenVINO: built and measured as the rest.

Each share that is tried runs in the fastest float precision. What is inside the budget is quantized too, the largest
share first, by NNCF's methods: our own engine would put pairs between a HardSwish and what scales it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edgewright.pipeline import stages
from edgewright.pipeline.candidates.base import Candidate, compressed
from edgewright.pipeline.score import is_inside
from edgewright.quantize import hardswish, methods
from edgewright.quantize.calibration.images import MINIMUM

if TYPE_CHECKING:
    from edgewright.pipeline.run import Line, Made, Work

SHARES = (0.5, 0.75, 1.0)
"""Of the values that SiLU is computed for, how many HardSwish is computed for instead."""
FASTEST = ("bf16", "f32")
"""OpenVINO's float precisions, the one for processors that have it first."""


def look(line: Line, made: Made) -> tuple[Line, list[Work]]:
    """`line` with the models made here, and the works built of them and evaluated; none for a model without SiLU.

    Only on x86, and not where a recipe names the INT8 methods and no shares, nor where there are fewer calibration
    images than INT8 needs; where a recipe names shares, progress says so. Of shares that come to the same SiLUs the
    smallest is tried.
    """
    recipe = line.job.recipe
    shares = recipe.hardswish if recipe.hardswish is not None else () if recipe.methods is not None else SHARES
    alive = [w for w in made.works if w.alive and w.candidate.options.runtime == "openvino"]
    alive = [w for w in alive if not w.candidate.variant.compression]
    exact = [w for p in FASTEST for w in alive if w.candidate.precision == p and is_inside(made, w)]
    enough = len({*line.images.calibration_digests}) >= MINIMUM
    if not (line.measure and line.job.target.arch == "x86_64" and shares and exact and enough):
        if recipe.hardswish:
            why = "not tried: needs an x86 target that is measured, OpenVINO in float inside the budget"
            line.shop.watch("fit", "HardSwish", 1, 1, f"{why}, and {MINIMUM} calibration images")
        return line, []
    shop, images, digests = line.shop, line.images.calibration, line.images.calibration_digests
    models = dict(line.compressed)
    line = replace(line, compressed=models)
    works = [_named(exact[0].candidate, "hardswish")]
    with works[0].stage("fit", shop):
        fitted = stages.fit_hardswish(shop, line.exported, images, digests)
    if not works[0].alive:
        return line, works
    works.clear()
    functions = hardswish.read_fitted(fitted.path)
    chosen = {tuple(functions.chosen(share)): share for share in sorted(shares, reverse=True)}
    chosen.pop((), None)  # a model without SiLU

    def is_good(candidate: Candidate, share: float) -> bool:
        name = f"hardswish{100 * share:g}"
        work = _named(candidate, name)
        if name not in models:
            with work.stage("substitute", shop):
                models[name] = stages.put_hardswish(shop, line.exported, fitted, share, images, digests, name)
        if work.alive:
            work = line.build(work.candidate)
            line.evaluate(work)
        works.append(work)
        return work.alive and is_inside(made, work)

    good = [share for share in sorted(chosen.values()) if is_good(exact[0].candidate, share)]
    for share in reversed(good):
        kept = [is_good(candidate, share) for candidate in _quantized(alive, exact[0].candidate)]
        if any(kept):
            break
    return line, works


def _named(candidate: Candidate, compression: str) -> Work:
    from edgewright.pipeline.run import Work  # which imports this module

    return Work(candidate=compressed(candidate, compression))


def _quantized(works: Sequence[Work], like: Candidate) -> list[Candidate]:
    """The INT8 candidates among `works` that NNCF makes, with the options of `like`."""
    found = [w.candidate for w in works if w.candidate.variant.scheme and w.candidate.options == like.options]
    return [c for c in found if methods.get(c.variant.method or "").engine == "nncf" and not c.variant.float_blocks]
