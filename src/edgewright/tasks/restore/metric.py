"""The accuracy of restored images: PSNR and SSIM on the luminance, without a border, as the mean over images."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from edgewright.core import statistics
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.statistics import Estimate
from edgewright.data import pairs
from edgewright.data.sets import Item
from edgewright.tasks import means
from edgewright.tasks.scores import PAIRED, Accuracy, AtChance, Drift, Likeness, Moved, Paired, Score, Vocabulary
from edgewright.vision import shift

from . import decode, quality, truth
from .spec import border, of

PSNR, SSIM = "psnr", "ssim"
SCORES = (Score(name=PSNR, title="PSNR", unit="dB"), Score(name=SSIM, title="SSIM"))
DEFAULT_BUDGET = "psnr >= -0.02"
VOCABULARY = Vocabulary(
    models="restoration models",
    names="psnr psnry psnrdb peaksignaltonoiseratio",
    others=(("ssim mssim lpips", "PSNR", "SSIM is reported, but it is not a budget metric"),),
)
CLOSE = 2
"""Gray levels that two equal pixels may differ by."""
BLIND = 8.0
"""A PSNR in dB that images without any relation have."""
BRIGHTNESS = (0.01, 0.05)
"""Accepted change of the mean brightness relative to the reference: a larger one is a warning, or an error."""
OFFSET = (0.1, 0.5)
"""The same for the shift of the image, in its pixels."""


def score(outputs: np.ndarray, items: Sequence[Item], spec: ModelSpec) -> Accuracy:
    """Return PSNR and SSIM on the images with a known result, and the PSNR of each."""
    return means.score(len(items), _each(outputs, items, spec), PSNR)


def compare(
    outputs: np.ndarray, reference: np.ndarray, items: Sequence[Item], spec: ModelSpec, paired: Paired = PAIRED
) -> Accuracy:
    """Return the result of `score`, and the comparison with the reference: delta, agreement, SQNR."""
    ours = _each(outputs, items, spec)
    result = means.score(len(items), ours, PSNR)
    if result.score is not None:
        result = means.compared(result, ours[PSNR], _each(reference, items, spec, similar=False)[PSNR], paired)
    alike = likeness(outputs, reference, spec)
    return msgspec.structs.replace(result, agreement=alike.percent, sqnr_db=alike.db)


def difference(ours: np.ndarray, theirs: np.ndarray, confidence: float = 0.95) -> Estimate:
    """Return the difference of PSNR in dB, from the contributions `theirs` to `ours`. Each bound is one-sided."""
    return statistics.mean_difference(ours, theirs, confidence)


def at_chance(outputs: np.ndarray, items: Sequence[Item], accuracy: Accuracy) -> AtChance | None:
    """Return why the images of a model have no relation to the wanted ones; None if they have."""
    if accuracy.score is None or accuracy.score >= BLIND:
        return None
    why = (
        f"The restored images have no relation to the wanted ones (PSNR {accuracy.score:.1f} dB). Likely causes: "
        "`black` and `white` are not the range of the output, the order of colors is wrong, or preprocessing differs."
    )
    return AtChance(why, accuracy.images)


def likeness(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Likeness:
    """Return the percentage of color values within two levels of the reference's, and the SQNR of the images."""
    same = count = 0
    signal = noise = 0.0
    for ours, theirs in zip(decode.unpacked(answers), decode.unpacked(reference), strict=True):
        apart = ours.astype(np.int16) - theirs
        same, count = same + int((np.abs(apart) <= CLOSE).sum()), count + apart.size
        signal += float(np.square(theirs, dtype=np.float64).sum())
        noise += float(np.square(apart, dtype=np.float64).sum())
    most = statistics.MAX_SQNR_DB
    db = most if noise == 0 else 10 * float(np.log10(max(signal, 1e-9) / noise))
    return Likeness(100 * same / max(count, 1), "the color values", db)


def confidence(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> Moved | None:
    """Return None, because an image has no score."""
    return None


def drifts(answers: np.ndarray, reference: np.ndarray, spec: ModelSpec) -> list[Drift]:
    """Return the change of brightness and the shift of the images, which hardly change a PSNR against the truth."""
    ratios = []
    matrix, vector = np.zeros((2, 2)), np.zeros(2)
    for found, wanted in zip(decode.unpacked(answers), decode.unpacked(reference)):
        ours, theirs = quality.luminance(found), quality.luminance(wanted)
        ratios.append((ours.mean() - 16 + 1) / (theirs.mean() - 16 + 1))
        more = shift.normal_equations(theirs, ours)
        matrix, vector = matrix + more[0], vector + more[1]
    ratio = float(np.median(ratios)) if ratios else 1.0
    x, y = shift.solved(matrix, vector)
    return [
        Drift("scale", f"The mean brightness is {ratio:.3f} times that of the reference", abs(ratio - 1), BRIGHTNESS),
        Drift("offset", f"The images are shifted by {x:.2f}, {y:.2f} pixels (x, y)", float(np.hypot(x, y)), OFFSET),
    ]


def chosen(outputs: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Return the rows of only the images at `places`, in their order."""
    found = [place for place, _, _ in decode.starts(outputs)] + [len(outputs)]
    return np.concatenate([outputs[found[place] : found[place + 1]] for place in places])


def _each(outputs: np.ndarray, items: Sequence[Item], spec: ModelSpec, similar: bool = True) -> dict[str, np.ndarray]:
    """Return the PSNR and, with `similar`, the SSIM in percent of each image whose result is known."""
    found: list[tuple[float, float]] = []
    for image, item in zip(decode.unpacked(outputs), items, strict=True):
        if truth.known(item):
            ours, theirs = (_counted(one, spec) for one in (image, _wanted(item, image)))
            found.append((quality.psnr(ours, theirs), 100 * quality.ssim(ours, theirs) if similar else np.nan))
    columns = np.array(found, np.float64).reshape(-1, 2)
    return {PSNR: columns[:, 0], SSIM: columns[:, 1]}


def _wanted(item: Item, image: np.ndarray) -> np.ndarray:
    """Return the wanted image, without the last columns and rows that no input pixel gives."""
    wanted = np.asarray(pairs.restored(item))
    height, width = image.shape[:2]
    more = wanted.shape[0] - height, wanted.shape[1] - width
    if not all(0 <= one <= truth.MORE for one in more):
        size = f"{wanted.shape[1]}x{wanted.shape[0]}"
        raise InvalidInput(
            f"{item.pair} has {size} pixels; the model makes {width}x{height} of its input.",
            "The wanted image must have `scale` times the size of the input.",
            "Correct `scale` in [restore], or the images.",
        )
    return wanted[:height, :width]


def _counted(pixels: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Return the luminance (height, width) of the pixels that count."""
    edge = border(of(spec))
    if edge and min(pixels.shape[:2]) > 2 * edge:
        pixels = pixels[edge:-edge, edge:-edge]
    return quality.luminance(pixels)
