"""The search for mixtures wired: blocks' damage and times found, plans built, measured beside the uniform variants.

Everything measured is in the store: a search that was killed, or is asked for again with more time, goes on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from edgewright.bench import budget as budgets
from edgewright.bench import profile
from edgewright.bench.latency import Rules, Timing
from edgewright.bench.results import Loss, Mixture, Part, Ratio, Search, Sensitivity
from edgewright.core.errors import EdgewrightError
from edgewright.pipeline import stages
from edgewright.pipeline.candidates.base import Candidate
from edgewright.pipeline.score import ACCURACIES, checked, is_inside
from edgewright.quantize.mixed import block_sensitivity, search
from edgewright.quantize.mixed.block_sensitivity import Damage, Sensitivities
from edgewright.quantize.mixed.search import Belief, Limit, Outcome, Plan, Space
from edgewright.runtimes.options import Kernel

if TYPE_CHECKING:
    from edgewright.pipeline.run import Line, Made, Work

SIDE_BY_SIDE = Rules(min_duration_s=1.5, min_count=60, max_duration_s=6.0, rounds=10, warm_up_s=0.6, cold_starts=1)
"""How plans are measured against the uniform variants: many short rounds, for a narrow paired interval."""
FINALISTS = 2
"""Mixtures that go into the final run: the fastest that beat every uniform variant beyond doubt."""
IMAGES, QUICK_IMAGES = 8, 2
"""Calibration images that damage is measured on; fewer where all in INT8 is inside the budget and so nothing binds."""
NOISE = 0.01
"""Standard deviation of a time that was measured side by side, relative to it."""
DOUBT = 1.1
"""How far above the fastest variant a family may be believed to stay and still be searched: first looks are short."""
CROSSING_NS = 0.5
"""What a value costs that goes from INT8 to float or back, until measurements tell: about reading and writing it."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A uniform INT8 artifact and the float one of the same runtime and options, between which mixtures lie."""

    exact: Work
    int8: Work
    sensitivities: Sensitivities
    table: Sensitivity
    space: Space
    float_ms: float

    @property
    def least(self) -> float:
        """The latency in ms that no mixture is believed to get below."""
        gains = sum(min(0.0, ms) for ms in self.space.time.mean[: self.space.blocks])
        return self.float_ms + gains


@dataclass(kw_only=True)
class _Log:
    """What the search found so far."""

    tables: list[Sensitivity] = field(default_factory=list)
    mixtures: list[Mixture] = field(default_factory=list)
    winners: list[tuple[float, Work]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def look(line: Line, made: Made) -> Made:
    """`made` with what the search told, and in its works the mixtures that beat every uniform variant.

    Runtime after runtime, the one that is fastest so far first, each with its share of the recipe's time.
    """
    begin = time.monotonic()
    for work in made.works:
        line.evaluate(work)
    first = line.screen(made.works)
    whole = [work for work in made.works if not work.candidate.variant.compression]
    alive = [work for work in whole if work.alive and _p50(first[work.candidate.id])]
    inside = [work for work in alive if is_inside(made, work)] or alive
    pairs = _pairs(made, alive, first)
    if not inside or not pairs:
        return replace(
            made, search=Search(told="There is no float and INT8 variant of one runtime to mix.", seconds=0.0)
        )
    best = min(inside, key=lambda work: _p50(first[work.candidate.id]))
    end, log = begin + line.job.recipe.time_budget_s, _Log()
    for number, (exact, int8) in enumerate(pairs):
        now = time.monotonic()
        deadline = now + (end - now) / (len(pairs) - number)
        try:
            _search(line, made, exact, int8, best, first, deadline, log)
        except stages.FATAL:
            raise
        except EdgewrightError as error:  # of this family: the others may do
            log.skipped.append(f"{int8.candidate.id}: {error.what}")
    log.winners.sort(key=lambda pair: -pair[0])
    made.works.extend(work for _, work in log.winners[:FINALISTS])
    seconds = time.monotonic() - begin
    told = _told(best.candidate.id, log, seconds)
    line.shop.watch("search", f"{len(log.mixtures)} mixtures", 1, 1, told)
    return replace(
        made,
        search=Search(
            told=told, seconds=round(seconds, 1), best=best.candidate.id, tables=tuple(log.tables),
            mixtures=tuple(log.mixtures), skipped=tuple(log.skipped),
        ),
    )  # fmt: skip


def family(line: Line, made: Made, exact: Work, int8: Work, first: dict[str, Timing], layers: bool = False) -> Family:
    """What is known of each block (and layer) of a pair of artifacts before any mixture is measured.

    Raises `EdgewrightError`s of the stages: an INT8 file that no mixture can be made of, a profiler that fails.
    """
    assert int8.quantized and exact.artifact and int8.artifact
    calibration, digests = line.images.calibration, line.images.calibration_digests
    variant = int8.candidate.variant
    binds = layers or not is_inside(made, int8)
    count = IMAGES if binds else QUICK_IMAGES
    entry = stages.sensitivity(
        line.shop, line.exported, int8.quantized, variant, calibration, digests, line.job.recipe.seed, count, layers
    )
    found = block_sensitivity.read(entry.path)
    times: dict[str, list[Kernel]] = {}
    if line.place.is_here and profile.has_profiler(exact.candidate.options.runtime):
        item, digest = line.images.evaluation.items[0], line.images.evaluation_digests[0]
        pair = {work.candidate.id: work.artifact for work in (exact, int8) if work.artifact}
        times = profile.read(stages.profile(line.shop, pair, item.path, digest, line.place.identity).path)
    totals = tuple(_runtime_ms(first[work.candidate.id]) for work in (exact, int8))
    blocks, single = (
        tuple(_times(times, (exact, int8), rows, found.tensors, totals)) for rows in (found.blocks, found.layers)
    )
    table = Sensitivity(
        id=int8.candidate.id, float_id=exact.candidate.id, images=found.images, whole=_loss(found.whole),
        blocks=_parts(found.blocks, blocks), layers=_parts(found.layers, single),
    )  # fmt: skip
    return Family(
        exact=exact, int8=int8, sensitivities=found, table=table, float_ms=_p50(first[exact.candidate.id]),
        space=_space(made, (exact, int8), found, blocks, totals),
    )  # fmt: skip


def _search(
    line: Line, made: Made, exact: Work, int8: Work, best: Work, first: dict[str, Timing], deadline: float, log: _Log
) -> None:
    """Search one family until `deadline` (monotonic seconds)."""
    ours = family(line, made, exact, int8, first)
    log.tables.append(ours.table)
    fastest = _p50(first[best.candidate.id])
    if ours.least > DOUBT * fastest:
        told = f"each block in its faster precision takes {ours.least:.3g} ms, {best.candidate.id} {fastest:.3g} ms"
        log.skipped.append(f"{int8.candidate.id}: {told}.")
        return
    offset, took = len(log.mixtures), 0.0

    def measure(plans: Sequence[Plan]) -> list[Outcome]:
        nonlocal took
        start = time.monotonic()
        works: list[Work] = []
        for plan in plans:
            number = len(log.mixtures) + len(works) - offset + 1
            works.append(line.build(_candidate(int8.candidate, ours.sensitivities, plan, number)))
        outcomes = _measure(line, made, ours, best, plans, works, log)
        took = time.monotonic() - start
        return outcomes

    uniform = Outcome(
        plan=(True,) * ours.space.blocks, time=_p50(first[int8.candidate.id]) - _p50(first[exact.candidate.id]),
        damages=tuple(_drops(made, int8, exact)),
    )  # fmt: skip
    nothing = Outcome(plan=(False,) * ours.space.blocks, time=0.0, damages=(0.0,) * len(ours.space.limits))
    space = msgspec.structs.replace(ours.space, beat=fastest - ours.float_ms)
    search.explore(space, [nothing, uniform], measure, lambda: time.monotonic() + took < deadline)


def _measure(
    line: Line, made: Made, ours: Family, best: Work, plans: Sequence[Plan], works: Sequence[Work], log: _Log
) -> list[Outcome]:
    """Measure the mixtures `works` beside the uniform variants in one interleaved run; answer images with fast ones."""
    beside = list({work.candidate.id: work for work in (ours.exact, ours.int8, best)}.values())
    alive = [work for work in works if work.alive]
    timings = line.timings("search", [*beside, *alive], SIDE_BY_SIDE, fresh=False, base=best.candidate.id)
    exact = timings[ours.exact.candidate.id].speedup
    outcomes = []
    if exact and (whole := timings[ours.int8.candidate.id].speedup):  # the first look was a short one
        lost = tuple(_drops(made, ours.int8, ours.exact))
        outcomes.append(_outcome(ours, (True,) * ours.space.blocks, exact, whole, lost))
    for plan, work in zip(plans, works):
        ratio = timings[work.candidate.id].speedup if work.alive else None
        entry = Mixture(id=work.candidate.id, float_layers=len(work.candidate.variant.float_layers), ratio=ratio)
        if ratio is None or exact is None:
            reason = work.reason or timings[work.candidate.id].reason if work.alive else work.reason
            log.mixtures.append(msgspec.structs.replace(entry, reason=reason or "it was not measured"))
            outcomes.append(Outcome(plan=plan))
            continue
        damages = None
        if ratio.value > 1.0 and line.evaluate(work):
            damages = tuple(_drops(made, work, ours.exact))
            entry = msgspec.structs.replace(entry, inside=is_inside(made, work))
            if entry.inside and ratio.low > 1.0:
                log.winners.append((ratio.value, work))
        log.mixtures.append(entry)
        outcomes.append(_outcome(ours, plan, exact, ratio, damages))
    return outcomes


def _outcome(ours: Family, plan: Plan, exact: Ratio, ratio: Ratio, damages: tuple[float, ...] | None) -> Outcome:
    """From how many times faster than a third the float artifact and the plan are, with 95 % intervals."""
    ms = ours.float_ms * exact.value / ratio.value
    noise = sum(((x.high - x.low) / (2 * 1.96 * x.value)) ** 2 for x in (exact, ratio)) ** 0.5
    return Outcome(plan=plan, time=ms - ours.float_ms, noise=ms * noise, damages=damages)


def _candidate(uniform: Candidate, found: Sensitivities, plan: Plan, number: int) -> Candidate:
    layers = tuple(name for row, is_int8 in zip(found.blocks, plan) if not is_int8 for name in row.block.layers)
    variant = msgspec.structs.replace(uniform.variant, float_layers=layers, plan=number)
    return Candidate(variant=variant, options=uniform.options)


def _pairs(made: Made, alive: Sequence[Work], first: dict[str, Timing]) -> list[tuple[Work, Work]]:
    """Of each runtime and precision the float variant and the best INT8 one: inside the budget, then the fastest.

    Where none is inside, the one that loses least.
    """

    def worth(work: Work) -> tuple[bool, float]:
        inside = is_inside(made, work)
        return not inside, _p50(first[work.candidate.id]) if inside else sum(_shortfalls(made, work))

    found = []
    for exact in alive:
        quantized = [w for w in alive if w.candidate.variant.scheme and w.candidate.options == exact.candidate.options]
        if not exact.candidate.variant.scheme and quantized:
            found.append((exact, min(quantized, key=worth)))
    return sorted(found, key=lambda pair: min(_p50(first[work.candidate.id]) for work in pair))


def _space(
    made: Made, pair: tuple[Work, Work], found: Sensitivities, times: Sequence[tuple[float, float]],
    totals: tuple[float, ...],
) -> Space:  # fmt: skip
    exact_ms, int8_ms = totals
    blocks = len(found.blocks)
    if times:
        mean = [int8 - exact for exact, int8 in times]
        spread = [0.3 * abs(int8 - exact) + 0.1 * exact + 1e-3 * exact_ms for exact, int8 in times]
    else:
        mean = [(int8_ms - exact_ms) / blocks] * blocks
        spread = [3 * abs(mean[0]) + 0.3 * exact_ms / blocks] * blocks
    crossings = [(a, b) for a, b, _ in found.crossings]
    between = [values * CROSSING_NS * 1e-6 for _, _, values in found.crossings]
    belief = Belief(mean=(*mean, *between), spread=(*spread, *(ms + 1e-3 * exact_ms for ms in between)))
    return Space(
        time=belief, crossings=tuple(crossings), noise=NOISE * exact_ms, limits=tuple(_limits(made, pair, found)),
        is_profiled=bool(times),
    )  # fmt: skip


def _limits(made: Made, pair: tuple[Work, Work], found: Sensitivities) -> list[Limit]:
    """For each accuracy of the budget what each block takes of it, scaled to what the uniform INT8 artifact lost."""
    exact, int8 = pair
    limits = []
    for metric, lost, most in zip(*_terms(made, int8, exact)):
        if metric == "sqnr":
            each = [_noise(row.alone) for row in found.blocks]
        else:
            each = [
                max(row.alone.loss + found.whole.loss - row.others.loss, row.alone.loss, 0.0) for row in found.blocks
            ]
        scale = max(lost, 0.0) / max(sum(each), 1e-12)
        mean = tuple(scale * value for value in each)
        spread = tuple(0.5 * value + 0.1 * max(lost, 0.0) / len(each) for value in mean)
        limits.append(Limit(damage=Belief(mean=mean, spread=spread), most=most, noise=0.1 * max(most, lost, 1e-9)))
    return limits


def _terms(made: Made, work: Work, exact: Work) -> tuple[list[str], list[float], list[float]]:
    """The budget's accuracies that both have: their metrics, what `work` loses against `exact`, what it may lose."""
    metrics, lost, most = [], [], []
    for ours, theirs in zip(checked(made, work), checked(made, exact)):
        if ours.metric not in ACCURACIES or ours.value is None or theirs.value is None or ours.limit is None:
            continue
        values = [_lost(ours.metric, value) for value in (ours.value, ours.limit, theirs.value)]
        metrics.append(ours.metric)
        lost.append(values[0] - values[2])
        most.append(values[1] - values[2])
    return metrics, lost, most


def _lost(metric: str, value: float) -> float:
    """A figure as something that adds up over blocks: noise power for SQNR, what is missing for the others."""
    if metric == "sqnr":
        return float(10 ** (-value / 10))
    return -value if metric in budgets.HIGHER_IS_BETTER else value


def _drops(made: Made, work: Work, exact: Work) -> list[float]:
    return _terms(made, work, exact)[1]


def _noise(found: Damage) -> float:
    return float(10 ** (-found.sqnr_db / 10))


def _shortfalls(made: Made, work: Work) -> list[float]:
    return [max(-(term.by or 0.0), 0.0) for term in checked(made, work) if term.metric in ACCURACIES]


def _times(
    kernels: dict[str, list[Kernel]], pair: tuple[Work, Work], rows: Sequence[block_sensitivity.Sensitivity],
    tensors: dict[str, str], totals: tuple[float, ...],
) -> list[tuple[float, float]]:  # fmt: skip
    """Milliseconds of each of `rows` in float and in INT8, scaled so that they add up to the measured `totals`."""
    if not kernels:
        return []
    owners = {name: i for i, row in enumerate(rows) for name in row.block.nodes}
    owners |= {tensor: owners[node] for tensor, node in tensors.items() if node in owners and tensor not in owners}
    columns = []
    for work, total in zip(pair, totals):
        each = profile.attribute(kernels[work.candidate.id], owners, len(rows))
        columns.append([value * total / max(sum(each), 1e-9) for value in each])
    return list(zip(*columns))


def _parts(rows: Sequence[block_sensitivity.Sensitivity], times: Sequence[tuple[float, float]]) -> tuple[Part, ...]:
    return tuple(
        Part(
            layers=row.block.layers, operators=row.operators, alone=_loss(row.alone), others=_loss(row.others),
            float_ms=times[i][0] if times else None, int8_ms=times[i][1] if times else None,
        )
        for i, row in enumerate(rows)
    )  # fmt: skip


def _loss(found: Damage) -> Loss:
    return msgspec.convert(msgspec.to_builtins(found), Loss)


def _told(best: str, log: _Log, seconds: float) -> str:
    measured = [m for m in log.mixtures if m.ratio]
    why = "" if measured else " (none looked faster, or the time was up)"
    text = f"{len(measured)} mixtures measured in {seconds:.0f} s{why}, "
    if not log.winners:
        return text + f"none faster than {best} inside the budget."
    ratio, work = log.winners[0]
    return text + f"{len(log.winners)} faster than {best} inside the budget; {work.candidate.id} is {ratio:.2f} times."


def _p50(timing: Timing) -> float:
    return (timing.latency.p50_ms if timing.latency else None) or 0.0


def _runtime_ms(timing: Timing) -> float:
    assert timing.latency
    return timing.latency.runtime_p50_ms or _p50(timing)
