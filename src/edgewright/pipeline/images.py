"""Which images calibrate and which evaluate: disjoint, labelled as the model's classes, known by their pixels."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.store import key_of
from edgewright.data import sets
from edgewright.data.sets import ImageSet
from edgewright.vision.image import open_image

EVALUATE_ON = ("val", "valid", "validation", "eval", "test")
CALIBRATE_ON = ("calib", "calibration", "train")


class Images(msgspec.Struct, frozen=True, kw_only=True):
    """The evaluation set and the calibration set, each with the digests of its images' pixels."""

    evaluation: ImageSet
    calibration: ImageSet
    evaluation_digests: list[str]
    calibration_digests: list[str]


def read_evaluation(data: Path, split: str | None) -> ImageSet:
    """The images to evaluate on: `split`, else the first of val, valid, validation, eval, test that there is."""
    names = sets.splits(data)
    if split is None and len(names) > 1:
        split = next((name for name in EVALUATE_ON if name in names), None)
        if split is None:
            raise InvalidInput(
                f"{data} has the splits {', '.join(names)}, none of which is for evaluation.",
                f"Looked for: {', '.join(EVALUATE_ON)}.",
                "Name one with --split.",
            )
    return sets.read(data, split)


def read_calibration(data: Path, evaluation: ImageSet, calibration: Path | None) -> ImageSet | None:
    """The images of the folder `calibration`, else of the calib or train split of `data`; None where there is none."""
    if calibration is not None:
        names = sets.splits(calibration)
        return sets.read(calibration, next((name for name in CALIBRATE_ON if name in names), None))
    name = next((n for n in CALIBRATE_ON if n in sets.splits(data) and n != evaluation.split), None)
    return sets.read(data, name) if name else None


def truth(images: ImageSet) -> str | None:
    """A digest of the labels and boxes of `images`, by which two reports know that they have the same; None of none."""
    known = [(item.label, item.boxes) for item in images.items]
    return key_of("truth", {"items": known}) if any(one != (None, None) for one in known) else None


def gather(data: Path, split: str | None, calibration: Path | None, count: int, seed: int) -> Images:
    """Evaluation and calibration images out of `data`, or the latter out of the folder `calibration`.

    Where neither a calibration folder nor a calib or train split is there, images are divided off the evaluation set
    (`count`, at most a quarter). At most `count` calibration images are taken. Raises `InvalidInput` where the two
    share an image.
    """
    evaluation = read_evaluation(data, split)
    found = read_calibration(data, evaluation, calibration)
    if found is None:
        found, evaluation = sets.divide(evaluation, min(count, max(1, len(evaluation.items) // 4)), seed)
    if len(found.items) > count:
        found = sets.divide(found, count, seed)[0]
    require_readable(found)
    require_readable(evaluation)
    sets.require_disjoint(found, evaluation)
    return Images(
        evaluation=evaluation,
        calibration=found,
        evaluation_digests=sets.digests(evaluation),
        calibration_digests=sets.digests(found),
    )


def require_readable(images: ImageSet) -> None:
    """Raise the `InvalidInput` of the first image that cannot be used, before hours are spent on the others."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda item: open_image(item.path).size, images.items):
            pass


def label(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """`images` with labels as indices of the model's classes; unlabelled sets stay so; half-labelled: refused.

    Raises `InvalidInput` for a set with boxes and a classifier, or with a class an image and a detector.
    """
    if all(item.label is None and item.boxes is None for item in images.items):
        return images
    boxes = images.items[0].boxes is not None
    if boxes != (spec.task == "detect"):
        has, wants = ("boxes", "a class an image") if boxes else ("a class an image", "boxes")
        raise InvalidInput(
            f"The images of '{images.name}' have {has}, the model '{spec.name}' needs {wants}.",
            f"Its task is {spec.task}.",
            "Give a data set of the model's own task.",
        )
    return sets.match_labels(images, spec)


def labelled(images: ImageSet) -> bool:
    """Whether every image has a label, or boxes (which may be none)."""
    return all(item.label is not None or item.boxes is not None for item in images.items)
