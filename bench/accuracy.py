"""Accuracy of an artifact on an image set, image by image, and paired with the reference's on the same images."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewright.core import statistics
from edgewright.core.child import YIELDING, Child, Limits, Progress
from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import encode

from .results import Accuracy, Delta, Interval

WORKER = "edgewright.bench.worker"
OUTPUTS, RESULT = "outputs.npy", "accuracy.json"

Outputs = NDArray[np.float32]
Labels = Sequence[int | None] | None
Answer = Callable[[Path, Sequence[str], Path, Progress | None], dict[str, Any]]
"""Answers images (files) with the artifact in a folder, here or on a device: writes `OUTPUTS` to another folder, and
returns what `worker.predict` returns."""


def evaluate(
    artifact: Path,
    paths: Sequence[str],
    labels: Labels,
    folder: Path,
    *,
    limits: Limits = Limits(),
    progress: Progress | None = None,
    answer: Answer | None = None,
) -> Accuracy:
    """Run `artifact` over the images (files, with a label or None each) in a child, by the session that devices run.

    Writes ``outputs.npy`` (images x classes, float32, in the given order; of a detector boxes x 7, see
    `worker.predict`) and ``accuracy.json`` to `folder`. Raises
    `RuntimeFailed` for outputs that are not finite, `InvalidInput` for labels that the model has no class for, and what
    the child's limits raise. `answer` does the work where it is not to be done on this machine within `limits`.
    """
    if not paths:
        raise InvalidInput("There are no images to evaluate on.", "Accuracy needs at least one.", "Name another split.")
    folder.mkdir(parents=True, exist_ok=True)
    told = answer(artifact, paths, folder, progress) if answer else _answer(artifact, paths, folder, limits, progress)
    # How right boxes are takes the set's boxes: see detection_accuracy.
    result = Accuracy(images=len(paths)) if "boxes" in told else score(load_outputs(folder), labels)
    (folder / RESULT).write_bytes(encode(result))
    return result


def _answer(
    artifact: Path, paths: Sequence[str], folder: Path, limits: Limits, progress: Progress | None
) -> dict[str, Any]:
    with Child(folder / "log.txt", limits, YIELDING) as child:
        child.call(f"{WORKER}:open_artifact", path=str(artifact), images=list(paths[:1]))
        told: dict[str, Any] = child.call(
            f"{WORKER}:predict", images=list(paths), out=str(folder / OUTPUTS), progress=progress
        )
    return told


def load_outputs(folder: Path) -> Outputs:
    """What `evaluate` wrote to `folder`: images x classes, float32, mapped rather than read."""
    outputs: Outputs = np.load(folder / OUTPUTS, mmap_mode="r", allow_pickle=False)
    return outputs


def score(outputs: Outputs, labels: Labels) -> Accuracy:
    """Top-1 and top-5 against `labels` (None: unlabelled; only labelled images count), without a reference."""
    require_finite(outputs)
    rows, known = _labelled(outputs, labels)
    if not len(known):
        return Accuracy(images=len(outputs))
    right = statistics.top_k(outputs[rows], known, 1)
    top1 = statistics.proportion(right)
    top5 = float(statistics.top_k(outputs[rows], known, 5).mean()) * 100 if outputs.shape[1] > 5 else None
    return Accuracy(
        images=len(known),
        top1=top1.value * 100,
        top5=top5,
        top1_interval=Interval(low=top1.low * 100, high=top1.high * 100),
        right=pack(right),
    )


def compare(
    outputs: Outputs, reference: Outputs, labels: Labels, margin: float = 1.0, confidence: float = 0.95, seed: int = 0
) -> Accuracy:
    """`score`, and what compares with the reference's outputs for the same images: delta, agreement, SQNR.

    `margin` is the loss in points that the verdict is about, each bound of the delta is one-sided at `confidence`.
    Without labels there is no delta. Raises `InvalidInput` where the two are not outputs for the same images and
    classes.
    """
    if outputs.shape != reference.shape:
        raise InvalidInput(
            f"Outputs of shape {outputs.shape} cannot be compared with the reference's {reference.shape}.",
            "Both must be (images, classes) for the same images and the same classes.",
            "Evaluate both on one image set; check `classes` of the model's spec.",
        )
    require_finite(reference)
    result = score(outputs, labels)
    rows, known = _labelled(outputs, labels)
    delta = None
    if len(known):
        ours, theirs = (statistics.top_k(array[rows], known, 1) for array in (outputs, reference))
        found = statistics.paired_difference(ours, theirs, confidence, seed)
        value, low, high = (part * 100 for part in found)
        verdict = statistics.verdict(low, high, margin)
        delta = Delta(value=value, low=low, high=high, verdict=verdict, margin=margin, confidence=confidence)
    return msgspec.structs.replace(
        result,
        delta=delta,
        agreement=statistics.agreement(outputs, reference) * 100,
        sqnr_db=statistics.sqnr_db(outputs, reference),
    )


def require_finite(outputs: Outputs) -> None:
    """Raise `RuntimeFailed` that tells how many rows hold a NaN or an infinity."""
    bad = sum(int((~np.isfinite(outputs[i : i + 4096]).all(axis=1)).sum()) for i in range(0, len(outputs), 4096))
    if bad:
        raise RuntimeFailed(
            f"The model's outputs are not finite for {bad} of {len(outputs)} images.",
            "NaN or infinity is no answer.",
            "This variant is unusable; try another precision or calibration method.",
        )


def pack(right: NDArray[np.bool_]) -> str:
    """Bits of right and wrong as base64, eight images a byte: how a report keeps per-image results."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def unpack(text: str, images: int) -> NDArray[np.bool_]:
    """Read what `pack` wrote for this number of images; raise `ValueError` for any other text."""
    bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    if len(bits) != -(-images // 8):
        raise ValueError(f"{len(bits)} bytes for {images} images")
    return np.unpackbits(bits, count=images).astype(bool)


def pack_numbers(numbers: NDArray[np.floating[Any]]) -> str:
    """Numbers as float32 (little endian) in base64: how a report keeps what each image contributes."""
    return base64.b64encode(numbers.astype("<f4").tobytes()).decode()


def unpack_numbers(text: str) -> NDArray[np.float32]:
    """Read what `pack_numbers` wrote; raise `ValueError` for any other text."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4")


def _labelled(outputs: Outputs, labels: Labels) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows that have a label, and their labels."""
    given = list(labels or [])
    if given and len(given) != len(outputs):
        raise InvalidInput(
            f"{len(given)} labels for {len(outputs)} images.", "Each image needs one.", "Read both from one image set."
        )
    rows = np.array([row for row, label in enumerate(given) if label is not None], np.intp)
    known = np.array([label for label in given if label is not None], np.intp)
    if len(known) and (known.min() < 0 or known.max() >= outputs.shape[1]):
        raise InvalidInput(
            f"Label {known.max() if known.max() >= outputs.shape[1] else known.min()} is none of the model's classes.",
            f"The model has {outputs.shape[1]} classes: labels are 0 to {outputs.shape[1] - 1}.",
            "Use the data set that the model was trained for, or map its labels to the model's classes.",
        )
    return rows, known
