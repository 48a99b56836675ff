"""Which images calibrate and which evaluate: disjoint, readable, labelled as the model's classes, known by pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from edgewright import tasks
from edgewright.bench.results import Finding
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.core.store import key_of
from edgewright.core.text import plain
from edgewright.data import photos, sets
from edgewright.data.remarks import NAMED, Remark, remark
from edgewright.data.sets import ImageSet, Item
from edgewright.data.splits import CALIBRATE_ON, EVALUATE_ON, LEARN_FROM, first, role
from edgewright.pipeline.stages.runner import Watch, quiet

LEARNED = 20_000
"""At most so many images are learned from."""


class Reading(Protocol):
    """How images are read, as a `StageRunner` says it: `strict` stops at what else is left out."""

    @property
    def strict(self) -> bool:
        """Whether to stop at an image that cannot be read, and at what else needs a warning."""

    @property
    def watch(self) -> Watch:
        """Called with the progress."""


class _Alone(msgspec.Struct, frozen=True):
    strict: bool = False
    watch: Watch = quiet


ALONE: Reading = _Alone()


class Images(msgspec.Struct, frozen=True, kw_only=True):
    """The evaluation set and the calibration set, without a common image."""

    evaluation: ImageSet
    calibration: ImageSet


def gather(
    data: Path, split: str | None, calibration: Path | None, count: int, seed: int, runner: Reading = ALONE
) -> Images:
    """Evaluation and calibration images out of `data`, or the latter out of the folder `calibration`.

    Where neither a calibration folder nor a calib or train split is there, images are divided off the evaluation set
    (`count`, at most a quarter). At most `count` calibration images are taken. Images that cannot be read are left out
    with a remark (see `usable`). Raises `InvalidInput` where the two share an image.
    """
    evaluation = read_evaluation(data, split, runner)
    try:
        found = read_calibration(data, evaluation, calibration, count, seed, runner)
    except sets.Absent as absent:
        found, evaluation = None, without_split(evaluation, absent, calibration, runner)
    if found is None:
        found, evaluation = sets.divide(evaluation, min(count, max(1, len(evaluation.items) // 4)), seed)
        evaluation = sets.apart(found, evaluation)
    sets.require_disjoint(found, evaluation)
    return Images(evaluation=evaluation, calibration=found)


def read_evaluation(data: Path, split: str | None, runner: Reading = ALONE) -> ImageSet:
    """The images to evaluate on: `split`, else the first of val, eval and test that there is, by any of their names.

    Training images are never taken unasked. Raises `InvalidInput` where no split or more than one is meant.
    """
    return usable(sets.read(data, evaluation_split(data, split) or None), runner)


def evaluation_split(data: Path, split: str | None) -> str:
    """The name of the split of `data` that `read_evaluation` reads; "" where it has none."""
    names = sets.splits(data)
    if split is not None or not names:
        return sets.chosen(data, names, split)
    found = first(names, EVALUATE_ON)
    if len(found) != 1:
        meant = f"several are for evaluation: {', '.join(found)}" if found else "none is for evaluation"
        raise InvalidInput(
            f"{data} has the splits {', '.join(names)}; {meant}.",
            f"Looked for: {', '.join(EVALUATE_ON)}. Training images are not measured unless they are named.",
            f"Name one with --split, e.g. --split {(found or names)[0]}",
        )
    return found[0]


def require_training(data: Path, split: str | None, calibration: Path | None) -> None:
    """Raise `InvalidInput` where `data` has no images to learn from beside those to evaluate on."""
    if calibration is None and _beside(data, evaluation_split(data, split), CALIBRATE_ON) is None:
        raise InvalidInput(
            f"{data} has no images to learn from beside those to evaluate on.",
            "What goes, and what the rest learns, is found on other images than it is judged by.",
            "Sort them into folders train and val, or name some: --train-data DIR (of optimize: --calibration DIR)",
        )


def read_calibration(
    data: Path, evaluation: ImageSet, calibration: Path | None, count: int, seed: int, runner: Reading = ALONE
) -> ImageSet | None:
    """At most `count` images of the folder `calibration`, else of the calib or train split of `data`; None where there
    is none. Of more images only those that are chosen are opened; no boxes are read."""
    if calibration is not None:
        return calibrating(calibration, count, seed, runner)
    name = _beside(data, evaluation.split, CALIBRATE_ON)
    return taken(sets.listed(data, name), count, seed, runner) if name else None


def calibrating(folder: Path, count: int, seed: int, runner: Reading = ALONE) -> ImageSet:
    """At most `count` images of `folder`: of its calib or train split where it has splits, else of all of it."""
    names = sets.splits(folder)
    found = first(names, CALIBRATE_ON)
    return taken(sets.listed(folder, found[0] if len(found) == 1 else None), count, seed, runner)


def read_training(
    data: Path, evaluation: ImageSet, folder: Path | None, seed: int, runner: Reading = ALONE
) -> ImageSet | None:
    """Images of `folder` or of the train or calib split of `data`, with labels or boxes; None where there is none.

    Of more than `LEARNED` so many are chosen: a training that ends after minutes sees no more, and decoding a million
    takes hours.
    """
    if folder is not None:
        found = first(sets.splits(folder), LEARN_FROM)
        return taken(sets.read(folder, found[0] if len(found) == 1 else None), LEARNED, seed, runner)
    name = _beside(data, evaluation.split, LEARN_FROM)
    return taken(sets.read(data, name), LEARNED, seed, runner) if name else None


def without_split(evaluation: ImageSet, absent: sets.Absent, named: Path | None, runner: Reading) -> ImageSet:
    """`evaluation` with a remark that another split of its folder was left out, since none of its images is there.

    Raises `absent` where the user `named` the folder with these images.
    """
    if named is not None:
        raise absent
    text = f"{{count|split|splits}} of {evaluation.name}: left out, since its images are not there. {absent.what}"
    found = remark("warning", "splits-left-out", [evaluation.name], text)
    _warn(evaluation, found, runner)
    return evaluation.noticed(found)


def taken(images: ImageSet, count: int, seed: int, runner: Reading = ALONE) -> ImageSet:
    """`images` if these are at most `count`, else so many that are chosen by name, each class in proportion."""
    if len(images.items) <= count:
        return usable(images, runner)
    what = f"{count} of {len(images.items)} images of {images.split or images.name}"
    found, broken = sets.choose(images, count, seed, _step(runner, what))
    return _without(usable(found, runner), broken, runner)


def usable(images: ImageSet, runner: Reading = ALONE) -> ImageSet:
    """`images` without those that cannot be read, with a remark that names them; CMYK images have a remark, too.

    Every image is decoded, once in a process. Raises `InvalidInput` where none can be read, and with `runner.strict`
    where one cannot, or where a reader noticed something that needs a warning.
    """
    _warn(images, images.remarks, runner)
    found = photos.look(images.paths, _step(runner, f"images of {images.split or images.name}"))
    broken = [item for item, photo in zip(images.items, found) if photo.problem]
    cmyk = [Path(item.path).name for item, photo in zip(images.items, found) if photo.mode == "CMYK"]
    text = "{count|image is|images are} CMYK: converted to RGB as Pillow's convert does it."
    kept = tuple(item for item, photo in zip(images.items, found) if not photo.problem)
    images = msgspec.structs.replace(images, items=kept).noticed(remark("note", "cmyk-images", cmyk, text))
    return _without(images, broken, runner)


def _warn(images: ImageSet, remarks: Sequence[Remark], runner: Reading) -> None:
    """Show the `remarks` that deserve a warning now, before hours of work; raise where `runner` is strict."""
    for one in remarks:
        if one.level == "note":
            continue
        names = f" ({', '.join(one.names)}{' ...' if one.count > len(one.names) else ''})"
        if runner.strict:
            raise InvalidInput(
                f"{images.name}: {one.code}: {one.text.rstrip('.')}{names}.",
                "--strict stops at what deserves a warning (docs/reference/data.md).",
                "Correct the data, or leave out --strict: then the run goes on, and the report says this.",
            )
        runner.watch("data", images.split or images.name, 1, 1, f"{one.code}: {one.text}{names}")


def _without(images: ImageSet, broken: Sequence[Item], runner: Reading) -> ImageSet:
    """`images` with a remark on those that were left out, since they are `broken`."""
    if not broken:
        return images
    reason = photos.look([broken[0].path])[0].problem
    names = ", ".join(Path(item.path).name for item in broken[:NAMED]) + (" ..." if len(broken) > NAMED else "")
    if runner.strict or not images.items:
        of = "" if images.items else " (all of them)"
        raise InvalidInput(
            f"{len(broken)} images of '{images.name}'{of} cannot be read: {names}.",
            f"{broken[0].path} {reason}",
            "Replace or remove them" + (", or leave out --strict, which stops here." if images.items else "."),
        )
    text = f"{{count|image|images}} cannot be read: left out. {Path(broken[0].path).name} {reason}"
    found = remark("warning", "unreadable-images", [Path(item.path).name for item in broken], text)
    _warn(images, found, runner)
    return images.noticed(found)


def _beside(data: Path, evaluated: str, roles: Sequence[str]) -> str | None:
    """The split of `data` with the first of `roles`, apart from the one that is evaluated on."""
    found = first([name for name in sets.splits(data) if name != evaluated], roles)
    if len(found) > 1:
        raise InvalidInput(
            f"{data} has several splits that mean {role(found[0])}: {', '.join(found)}.",
            "Which of them is meant is not clear.",
            "Keep one of them, or name its folder: --calibration DIR, of prune and distill --train-data DIR",
        )
    return found[0] if found else None


def _step(runner: Reading, what: str) -> Callable[[int, int], None]:
    def step(done: int, total: int) -> None:
        runner.watch("data", what, done, total + 1 if done < total else total, "")

    return step


def truth(images: ImageSet) -> str | None:
    """A digest of the labels and boxes of `images`, by which two reports know that they have the same; None of none."""
    known = [(i.label, i.boxes) if i.truth is None else (i.label, i.boxes, i.truth) for i in images.items]
    return key_of("truth", {"items": known}) if any(one != (None, None) for one in known) else None


def findings(images: ImageSet) -> list[Finding]:
    """What was noticed while `images` were read, as findings of a report."""
    return [
        Finding(
            level=one.level, code=one.code, text=plain(one.text), count=one.count, names=tuple(map(plain, one.names))
        )
        for one in images.remarks
    ]


def label(images: ImageSet, spec: ModelSpec, runner: Reading = ALONE) -> ImageSet:
    """`images` with labels as indices of the model's classes; unlabelled sets stay so; half-labelled: refused.

    Raises `InvalidInput` for a set with boxes and a classifier, or with a class an image and a detector.
    """
    turned = _turned(images, spec)
    _warn(images, turned, runner)
    images = images.noticed(turned)
    truth = tasks.of(spec).truth
    images = truth.found(images)
    if any(map(truth.known, images.items)):
        return truth.match(images, spec)
    if all(item.label is None and item.boxes is None for item in images.items):
        return images
    boxes = images.items[0].boxes is not None
    near = "" if boxes else sets.annotated_near(images)
    has = "boxes" if boxes else "a class an image"
    raise InvalidInput(
        f"The images of '{images.name}' have {has}, the model '{spec.name}' needs {truth.NEEDS}.",
        f"Its task is {spec.task.kind}.{f' {near}.' if near else ''}",
        "Give that folder, or split folders of such." if near else "Give a data set of the model's own task.",
    )


def _turned(images: ImageSet, spec: ModelSpec) -> list[Remark]:
    """The remark on images with an EXIF orientation, and on what is done with them."""
    found = photos.look(images.paths)
    names = [Path(item.path).name for item, photo in zip(images.items, found) if photo.orientation != 1]
    what = f"{{count|image|images}} of {len(images.items)}: the EXIF orientation says that the photo is to be turned."
    if spec.preprocess.turns:
        return remark("note", "exif-orientation", names, f"{what} They were turned, as OpenCV and Ultralytics do.")
    text = f"{what} They were not turned, as Pillow, timm and torchvision do not"
    turned = tasks.of(spec).truth.TURNED
    fix = 'If training turned them, set exif = "apply" in [preprocess] of the spec.'
    return remark("warning" if turned else "note", "exif-orientation", names, f"{text}{turned}. {fix}")


def labelled(images: ImageSet, spec: ModelSpec | None = None) -> bool:
    """Whether every image has what the task of the model needs (None: what some task needs)."""
    wanted = [tasks.of(spec)] if spec else map(tasks.get, tasks.names())
    return any(all(map(task.truth.known, task.truth.found(images).items)) for task in wanted)
