"""Budgets as people type and paste them: characters, separators, other names of metrics, and names without a metric."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import NamedTuple

from edgewright import tasks

from . import metrics

# One character replaces one, so columns stay. Full-width forms (U+FF01 to U+FF5E) are ASCII plus 0xFEE0.
_CHARACTERS = {
    **{0xFEE0 + code: code for code in range(0x21, 0x7F)},
    **dict.fromkeys((*range(0x2010, 0x2016), 0x2212, 0xFE58, 0xFE63, 0x2796), "-"),  # hyphens, dashes, minus signs
    **dict.fromkeys((0x09, 0x0B, 0x0C, 0x0D, 0xA0, 0x1680, *range(0x2000, 0x200C), 0x202F, 0x205F, 0x2060), " "),
    **dict.fromkeys((0x3000, 0xFEFF), " "),
    **dict.fromkeys((0x85, 0x2028, 0x2029), "\n"),
    **dict.fromkeys((0x2267, 0x2A7E, 0x227D), "\N{GREATER-THAN OR EQUAL TO}"),
    **dict.fromkeys((0x2266, 0x2A7D, 0x227C), "\N{LESS-THAN OR EQUAL TO}"),
    **dict.fromkeys((0x3001, 0xFE50), ","),
    0xFE6A: "%", 0xD7: "x", 0xB5: "u", 0x3BC: "u",
}  # fmt: skip

_SEPARATOR = re.compile(r"\s*(?:[,;]\s*and(?=\s)|[,;]|&&?|(?<=\s)and(?=\s))\s*|\s*\n\s*", re.IGNORECASE)

_NAMES = {
    "confidence": "confidence confidenceshift scoreshift",
    "agreement": "agreement agree top1agreement",
    "sqnr": "sqnr sqnrdb",
    "cosine": "cosine cosinesimilarity cos",
    "speedup": "speedup speedupfactor",
    "p50": "p50 median p50latency latencyp50 p50ms medianlatency latencymedian medianms percentile50",
    "p90": "p90 p90latency latencyp90 p90ms percentile90",
    "p95": "p95 p95latency latencyp95 p95ms percentile95",
    "p99": "p99 p99latency latencyp99 p99ms percentile99",
    "mean": "mean avg average meanlatency latencymean averagelatency avglatency latencyavg latencyaverage meanms",
    "throughput": "throughput fps ips qps imagespersecond imagess imgs framespersecond framess framerate "
    "inferencespersecond",
    "cold_start": "coldstart coldstarttime coldstartms startup startuptime",
    "size": "size modelsize filesize artifactsize disksize disk sizeondisk",
    "memory": "memory ram mem peakmemory memorypeak peakram rampeak peakmem rss maxrss peakrss memoryusage ramusage",
}
UNITS = {
    **dict.fromkeys(("fps", "ips", "qps", "img/s", "imgs/s", "images/s", "frames/s", "1/s", "hz"), "/s"),
    "usec": "us", "msec": "ms", "sec": "s", "times": "x", "percent": "%",
    **dict.fromkeys(("point", "pts", "pp"), "points"),
}  # fmt: skip
"""Other names of units."""


class Answer(NamedTuple):
    """The advice for a name that is not a metric: `metrics` as (metric, description), and in `note` the reason.

    `same`: the metrics have the intended meaning, so the number stays. `lost`: the number is a loss. `share`: a number
    up to one is a share of one.
    """

    metrics: tuple[tuple[str, str], ...]
    note: str = ""
    same: bool = True
    lost: bool = False
    share: bool = False


_LATENCY = Answer((("p50", "median"), ("p95", ""), ("mean", "")))
_LOST = "A loss is a difference below zero"
_SPEED = Answer((("throughput", "images per second"), ("speedup", "times the reference"), ("p50", "median latency")))


def _other(metric: str, what: str, note: str) -> Answer:
    return Answer(((metric, what),), note, same=False)


_ANSWERS: tuple[tuple[str, Answer], ...] = (
    ("latency time inferencetime inference runtime delay lat latencyms responsetime duration ms", _LATENCY),
    ("speed faster performance", _SPEED),
    ("max maximum worst worstcase p100 maxlatency latencymax", _other("p99", "", "The slowest sample is not reliable")),
    ("min minimum minlatency latencymin best", _other("p50", "median", "The fastest sample is not reliable")),
    ("snr psnr cosine similarity", _other("sqnr", "of the outputs, in dB", "edgewright measures this similarity")),
    ("conf scorethreshold threshold",
     _other("confidence", "the shift of scores", "A threshold is not a budget metric")),
    ("params parameters weights flops macs gflops gmacs",
     _other("size", "of the file", "A budget metric must be a measured value")),
    ("vram gpumemory gpumem cudamemory", _other("memory", "of the process", "Memory of a GPU is not measured")),
    ("energy power watt watts joule energymj", _other("p50", "median latency", "Energy is only in the report")),
)  # fmt: skip
_ACCURACY = "accuracy acc score testaccuracy valaccuracy evalaccuracy quality"
_LOSS = "loss drop accuracyloss accuracydrop lossofaccuracy degradation regression delta accloss accdrop"
_UNMEASURED = (
    "f1 f1score precision recall auc roc auroc balancedaccuracy errorrate error err wer rmse mae miou iou dice"
)
_MEASURED = "edgewright measures these accuracies"


class Names(NamedTuple):
    """The known names, normalized by `key`. `aliases`: other names of a metric, with only one meaning. `answers`:
    advice for names that are not a metric or could be several."""

    aliases: dict[str, str]
    answers: dict[str, Answer]


def names() -> Names:
    """Return the names for all installed tasks."""
    return _names(tuple(tasks.names()))


@functools.cache
def _names(known: tuple[str, ...]) -> Names:
    """`known`: the names of the tasks."""
    spoken = metrics.vocabularies()
    scores = tuple((score, words.models) for score, words in spoken)
    answers = [*_ANSWERS]
    answers.append((_ACCURACY, Answer(scores, share=True)))
    answers.append((_LOSS, Answer(scores, _LOST, lost=True)))
    answers.append((_UNMEASURED, Answer(scores, _MEASURED, same=False)))
    aliases = {name: metric for metric, names in _NAMES.items() for name in names.split()}
    for score, words in spoken:
        plain = key(score)
        answers.append((f"{plain}loss {plain}drop lossof{plain}", Answer(((score, words.models),), _LOST, lost=True)))
        answers += [(others, _other(score, what, note)) for others, what, note in words.others]
        aliases |= dict.fromkeys([plain, *words.names.split()], score)
    answered = {name: answer for names, answer in answers for name in names.split() if name not in aliases}
    return Names(aliases, answered)


def plain(text: str) -> str:
    """Return `text` with one spelling of signs, comparisons, spaces and separators. The length stays the same."""
    return text.translate(_CHARACTERS)


def parts(text: str) -> Iterator[tuple[int, str]]:
    """Yield (column from zero, term). Commas, semicolons, line ends, ``&`` and "and" separate terms. A term may be
    empty."""
    lead = len(text) - len(text.lstrip())
    text = text.rstrip()
    start = lead
    for separator in _SEPARATOR.finditer(text, lead):
        yield start, text[start : separator.start()]
        start = separator.end()
    yield start, text[start:]


def key(name: str) -> str:
    """Return a name in lower case without separators: "mAP@[.5:.95]" becomes "map595"."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def metric(name: str) -> str | None:
    """Return the metric with this name or alias, or None."""
    return names().aliases.get(key(name))


def answer(name: str) -> Answer | None:
    """Return advice for `name`, which is not a metric, or None if no known name is similar."""
    found, (aliases, answers) = key(name), names()
    if re.fullmatch(r"p\d+", found) and found not in answers:
        choices = tuple((one, "median" if one == "p50" else "") for one in ("p50", "p90", "p95", "p99"))
        return Answer(choices, "edgewright measures these percentiles", same=False)
    if found in answers:
        return answers[found]
    digits = re.sub(r"\D", "", found)  # another number or unit is a different metric, not a typing error
    pool = [name for name in (*aliases, *answers) if re.sub(r"\D", "", name) == digits and not name.endswith("ms")]
    near = get_close_matches(found, pool, 1, 0.75)
    if not near:
        return None
    return answers.get(near[0]) or Answer(((aliases[near[0]], ""),))
