"""The accuracy of depth maps: delta1, AbsRel, RMSE and SILog of each image, then the mean over images.

The definitions are those of Eigen et al. 2014 ("Depth Map Prediction from a Single Image using a Multi-Scale Deep
Network"), with Ultralytics' rules: pixels with a true depth outside the range do not count, predictions are clipped
to it, and images with fewer than 10 such pixels are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from edgewright.core import statistics
from edgewright.core.spec import ModelSpec
from edgewright.core.statistics import Estimate
from edgewright.data import pairs
from edgewright.data.sets import Item
from edgewright.tasks import means
from edgewright.tasks.scores import PAIRED, Accuracy, AtChance, Drift, Likeness, Moved, Paired, Score, Vocabulary
from edgewright.vision import shift

from . import truth
from .decode import map_of
from .place import TINY, place_of, to_photo
from .spec import Depth, alignment, of

DELTA1, ABS_REL, RMSE, SILOG = "delta1", "abs_rel", "rmse", "silog"
SCORES = (
    Score(name=DELTA1, title="delta1"), Score(name=ABS_REL, title="AbsRel", better="lower"),
    Score(name=RMSE, title="RMSE", unit="m", better="lower"), Score(name=SILOG, title="SILog", better="lower"),
)  # fmt: skip
DEFAULT_BUDGET = "delta1 >= -1.0"
VOCABULARY = Vocabulary(
    models="depth models",
    names="delta1 delta125",
    others=(
        ("absrel arel abs relabs absoluterelative", "delta1", "AbsRel is reported, but it is not a budget metric"),
        ("silog", "delta1", "SILog is reported, but it is not a budget metric"),
    ),
)
FEWEST = 10
"""Images with fewer pixels of known depth are skipped."""
THRESHOLD = 1.25
SAME = 1.05
"""Two depths agree if their ratio is below this."""
SCALE = (0.02, 0.1)
"""Accepted change of the median depth relative to the reference: a larger one is a warning, or an error."""
OFFSET = (1.0, 4.0)
"""The same for the shift of the map, in pixels of the network's input."""


def score(outputs: np.ndarray, items: Sequence[Item], spec: ModelSpec) -> Accuracy:
    """Return the scores on the images with a depth map, and the delta1 of each image."""
    return means.score(len(items), _named(_each(outputs, items, spec)), DELTA1)


def compare(
    outputs: np.ndarray, reference: np.ndarray, items: Sequence[Item], spec: ModelSpec, paired: Paired = PAIRED
) -> Accuracy:
    """Return the result of `score`, and the comparison with the reference: delta, agreement, SQNR."""
    ours = _each(outputs, items, spec)
    result = means.score(len(items), _named(ours), DELTA1)
    if result.score is not None:
        theirs = _each(reference, items, spec)
        result = means.compared(result, ours[:, 0], theirs[:, 0], paired)
    alike = likeness(outputs, reference, spec)
    return msgspec.structs.replace(result, agreement=alike.percent, sqnr_db=alike.db)


def difference(ours: np.ndarray, theirs: np.ndarray, confidence: float = 0.95) -> Estimate:
    """Return the difference of delta1 in points, from the contributions `theirs` to `ours`. Each bound is one-sided."""
    return statistics.mean_difference(ours, theirs, confidence)


def at_chance(outputs: np.ndarray, items: Sequence[Item], accuracy: Accuracy) -> AtChance | None:
    """Return why the model is at chance: a map of one distance is as good on these images; None if it is not."""
    known = [item for item in items if truth.known(item)]
    if accuracy.score is None or len(known) < 2:
        return None
    depths = [depth[np.isfinite(depth)] for depth in map(pairs.depth_map, known)]  # only ratios count: any unit
    flat = np.mean([(np.maximum(d / np.median(d), np.median(d) / d) < THRESHOLD).mean() for d in depths if len(d)])
    if accuracy.score > 100 * flat:
        return None
    why = (
        f"A map of one distance is as good as the reference's maps (delta1 {accuracy.score:.1f}%; one distance, the "
        f"median of each image, has {100 * flat:.1f}%). Likely causes: the depth maps have another unit, `values` "
        "names another quantity, preprocessing differs from training, or the weights are not trained."
    )
    return AtChance(why, len(known))


def likeness(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Likeness:
    """Return the percentage of pixels whose depth is within 5% of the reference's, and the SQNR of the maps."""
    depth, same, pixels = of(spec), 0, 0
    for ours, theirs in zip(answers, reference):
        ratio = _ratio(map_of(ours), map_of(theirs), depth)
        same, pixels = same + int((np.maximum(ratio, 1 / ratio) < SAME).sum()), pixels + ratio.size
    return Likeness(100 * same / max(pixels, 1), "the pixels", statistics.sqnr_db(answers, reference))


def confidence(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Moved | None:
    """Return None, because a depth map has no score."""
    return None


def drifts(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[Drift]:
    """Return the change of scale, which an alignment hides, and the shift of the map in pixels of the input."""
    depth, ratios = of(spec), []
    matrix, vector, step = np.zeros((2, 2)), np.zeros(2), 1.0
    for ours, theirs in zip(answers, reference):
        found, wanted = map_of(ours), map_of(theirs)
        ratios.append(float(np.median(_ratio(found, wanted, depth))))
        step = spec.input.width / wanted.shape[1]
        more = shift.normal_equations(wanted, found)
        matrix, vector = matrix + more[0], vector + more[1]
    ratio = float(np.median(ratios)) if ratios else 1.0
    x, y = (step * way for way in shift.solved(matrix, vector))
    return [
        Drift("scale", f"The median depth is {ratio:.3f} times that of the reference", _apart(ratio), SCALE),
        Drift("offset", f"The maps are shifted by {x:.2f}, {y:.2f} pixels (x, y)", float(np.hypot(x, y)), OFFSET),
    ]


def chosen(outputs: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Return the rows of only the images at `places`, in their order."""
    return np.array(outputs[list(places)])


def aligned(found: np.ndarray, wanted: np.ndarray, depth: Depth) -> np.ndarray:
    """Return the depth in meters of the map's numbers `found` (n,), fitted to the true depth `wanted` (n,).

    A least-squares fit of a disparity is done in disparity.
    """
    inverse = depth.values == "disparity" and depth.unit == "relative"
    how = alignment(depth)
    if how == "scale-shift":
        target = 1 / wanted if inverse else wanted
        ones = np.stack([found, np.ones_like(found)], 1).astype(np.float64)
        scale, offset = np.linalg.lstsq(ones, target.astype(np.float64), rcond=None)[0]
        found = scale * found + offset
    if inverse:
        found = 1 / np.maximum(found, 1 / depth.max_depth if how == "scale-shift" else TINY)
    if how == "median":
        found = found * (_median(wanted) / _median(np.maximum(found, depth.min_depth)))
    return np.asarray(np.clip(np.nan_to_num(found, nan=depth.max_depth), depth.min_depth, depth.max_depth))


def errors(found: np.ndarray, wanted: np.ndarray) -> tuple[float, float, float, float]:
    """Return delta1 and AbsRel in percent, RMSE in meters and SILog x 100, of depths (n,) in meters."""
    ratio = np.maximum(found / wanted, wanted / found)
    logs = np.log(found) - np.log(wanted)
    spread = max(float((logs**2).mean() - logs.mean() ** 2), 0.0)
    return (
        100 * float((ratio < THRESHOLD).mean()),
        100 * float((np.abs(found - wanted) / wanted).mean()),
        float(np.sqrt(((found - wanted) ** 2).mean())),
        100 * spread**0.5,
    )


def _each(outputs: np.ndarray, items: Sequence[Item], spec: ModelSpec) -> np.ndarray:
    """Return the errors of each image with enough true depths, (images, 4)."""
    depth, found = of(spec), []
    for row, item in zip(outputs, items):
        if not truth.known(item):
            continue
        wanted = truth.meters(item, spec)
        there = (wanted > depth.min_depth) & (wanted < depth.max_depth)
        whole = to_photo(map_of(row), depth, place_of((wanted.shape[1], wanted.shape[0]), spec))
        there &= np.isfinite(whole)
        if int(there.sum()) >= FEWEST:
            known = wanted[there].astype(np.float64)
            found.append(errors(aligned(whole[there].astype(np.float64), known, depth), known))
    return np.array(found, np.float64).reshape(-1, len(SCORES))


def _named(each: np.ndarray) -> dict[str, np.ndarray]:
    return {one.name: each[:, k] for k, one in enumerate(SCORES)}


def _ratio(found: np.ndarray, wanted: np.ndarray, depth: Depth) -> np.ndarray:
    """Return the ratio of two maps of a network, as depths."""
    if depth.values == "log":
        return np.asarray(np.exp(np.clip(depth.scale * (found - wanted), -20, 20)))
    ours, theirs = (depth.scale * one + depth.shift for one in (found, wanted))
    small = TINY + 1e-3 * float(np.abs(theirs).mean())
    ratio = np.where(np.abs(theirs) < small, 1.0, ours / np.where(theirs == 0, 1.0, theirs))
    ratio = np.clip(ratio, TINY, 1 / TINY)
    return np.asarray(1 / ratio if depth.values == "disparity" else ratio)


def _apart(ratio: float) -> float:
    return max(ratio, 1 / ratio) - 1


def _median(values: np.ndarray) -> float:
    """Return the lower median, as torch has it."""
    return float(np.partition(values, (len(values) - 1) // 2)[(len(values) - 1) // 2])
