"""The images of a run: disjoint evaluation and calibration sets, readable, labeled with the model's classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from edgewright.data.boxes import Box
from edgewright.data.remarks import NAMED, Remark, remark
from edgewright.data.sets import ImageSet, Item
from edgewright.data.splits import CALIBRATE_ON, EVALUATE_ON, LEARN_FROM, first, role
from edgewright.data.wants import PLAIN, Wants
from edgewright.pipeline.stages.runner import Watch, quiet

MOST_TRAINING_IMAGES = 20_000
"""The most images that a training reads."""


class Reading(Protocol):
    """How to read images; a `StageRunner` is one. `strict`: raise for everything that would be left out."""

    @property
    def strict(self) -> bool:
        """Whether to raise for an unreadable image and for everything else that needs a warning."""

    @property
    def watch(self) -> Watch:
        """Receives the progress."""


class _Alone(msgspec.Struct, frozen=True):
    strict: bool = False
    watch: Watch = quiet


ALONE: Reading = _Alone()


class Images(msgspec.Struct, frozen=True, kw_only=True):
    """The evaluation set and the calibration set, which share no image."""

    evaluation: ImageSet
    calibration: ImageSet


def gather(
    data: Path, split: str | None, calibration: Path | None, count: int, seed: int, runner: Reading = ALONE
) -> Images:
    """The evaluation and calibration images of `data`; calibration images come from `calibration` if it is given.

    Without a calibration folder and without a split calib or train, calibration images are split off the evaluation
    set: `count`, at most a quarter of it. Otherwise at most `count` images calibrate. Unreadable images are left out
    with a remark (see `usable`). Raises `InvalidInput` if both sets share an image.
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
    """The evaluation images: `split`, else the first split of val, eval and test, by any of their names.

    Training images are used only if `split` names them. Raises `InvalidInput` if no split fits, or more than one.
    """
    return usable(sets.read(data, evaluation_split(data, split) or None), runner)


def evaluation_split(data: Path, split: str | None) -> str:
    """The name of the split of `data` that `read_evaluation` reads; "" if `data` has no splits."""
    names = sets.splits(data)
    if split is not None or not names:
        return sets.chosen(data, names, split)
    found = first(names, EVALUATE_ON)
    if len(found) != 1:
        meant = f"several are for evaluation: {', '.join(found)}" if found else "none is for evaluation"
        raise InvalidInput(
            f"{data} has the splits {', '.join(names)}; {meant}.",
            f"edgewright evaluates on {', '.join(EVALUATE_ON)}; on training images only if you name them.",
            f"Name one split, e.g. --split {(found or names)[0]}",
        )
    return found[0]


def require_training(data: Path, split: str | None, calibration: Path | None) -> None:
    """Raise `InvalidInput` if `data` has no images to train on besides the evaluation images."""
    if calibration is None and _other_split(data, evaluation_split(data, split), CALIBRATE_ON) is None:
        raise InvalidInput(
            f"{data} has no training images besides its evaluation images.",
            "Pruning and training must not see the images that judge the result.",
            "Sort the images into folders train and val, or add --train-data DIR (for optimize: --calibration DIR).",
        )


def read_calibration(
    data: Path, evaluation: ImageSet, calibration: Path | None, count: int, seed: int, runner: Reading = ALONE
) -> ImageSet | None:
    """At most `count` images of the folder `calibration`, else of the split calib or train of `data`.

    Returns None if there is no such split. Opens only the images that it chooses, and reads no boxes.
    """
    if calibration is not None:
        return calibrating(calibration, count, seed, runner)
    name = _other_split(data, evaluation.split, CALIBRATE_ON)
    return taken(sets.listed(data, name), count, seed, runner) if name else None


def calibrating(folder: Path, count: int, seed: int, runner: Reading = ALONE) -> ImageSet:
    """At most `count` images of `folder`: of its split calib or train, else of the whole folder."""
    names = sets.splits(folder)
    found = first(names, CALIBRATE_ON)
    return taken(sets.listed(folder, found[0] if len(found) == 1 else None), count, seed, runner)


def read_training(
    data: Path, evaluation: ImageSet, folder: Path | None, seed: int, runner: Reading = ALONE
) -> ImageSet | None:
    """Training images, with labels or boxes: of `folder`, else of the split train or calib of `data`; None without one.

    Chooses `MOST_TRAINING_IMAGES` images if there are more: a training of minutes sees no more, and decoding a million
    takes hours.
    """
    if folder is not None:
        found = first(sets.splits(folder), LEARN_FROM)
        return taken(sets.read(folder, found[0] if len(found) == 1 else None), MOST_TRAINING_IMAGES, seed, runner)
    name = _other_split(data, evaluation.split, LEARN_FROM)
    return taken(sets.read(data, name), MOST_TRAINING_IMAGES, seed, runner) if name else None


def without_split(evaluation: ImageSet, absent: sets.Absent, named: Path | None, runner: Reading) -> ImageSet:
    """`evaluation` with a remark that another split was left out, since its images are missing.

    Raises `absent` if the user `named` the folder with these images.
    """
    if named is not None:
        raise absent
    text = f"{{count|split|splits}} of {evaluation.name} left out: the images are missing. {absent.what}"
    found = remark("warning", "splits-left-out", [evaluation.name], text)
    _warn(evaluation, found, runner)
    return evaluation.noticed(found)


def taken(images: ImageSet, count: int, seed: int, runner: Reading = ALONE) -> ImageSet:
    """`images`; of more than `count` a choice of `count`, by name, each class in proportion."""
    if len(images.items) <= count:
        return usable(images, runner)
    what = f"{count} of {len(images.items)} images of {images.split or images.name}"
    found, broken = sets.choose(images, count, seed, _step(runner, what))
    return _without(usable(found, runner), broken, runner)


def usable(images: ImageSet, runner: Reading = ALONE) -> ImageSet:
    """`images` without the unreadable ones, with a remark that names them; CMYK images get a remark, too.

    Decodes every image, once in a process. Raises `InvalidInput` if no image is readable. With `runner.strict` it
    raises for one unreadable image, and for any remark that is a warning.
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
    """Show the `remarks` that are warnings at once, before hours of work; raise if `runner` is strict."""
    for one in remarks:
        if one.level == "note":
            continue
        names = f" ({', '.join(one.names)}{' ...' if one.count > len(one.names) else ''})"
        if runner.strict:
            raise InvalidInput(
                f"{images.name}: {one.code}: {one.text.rstrip('.')}{names}.",
                "--strict stops at every warning about the data (docs/reference/data.md).",
                "Correct the data. Or leave out --strict: the run then continues, and the report shows the warning.",
            )
        runner.watch("data", images.split or images.name, 1, 1, f"{one.code}: {one.text}{names}")


def _without(images: ImageSet, broken: Sequence[Item], runner: Reading) -> ImageSet:
    """`images` with a remark on the `broken` ones, which were left out."""
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


def _other_split(data: Path, evaluated: str, roles: Sequence[str]) -> str | None:
    """The split of `data` with the first of `roles` that it has, except the `evaluated` one."""
    found = first([name for name in sets.splits(data) if name != evaluated], roles)
    if len(found) > 1:
        raise InvalidInput(
            f"{data} has several splits for {role(found[0])}: {', '.join(found)}.",
            "edgewright does not choose between them.",
            "Keep one of them, or name its folder with --calibration DIR (for prune and distill: --train-data DIR).",
        )
    return found[0] if found else None


def only_inputs(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """`images` without the good images of a set of degraded and good ones: a network to restore sees none of them."""
    wants = tasks.of(spec).truth.WANTS
    if wants.pair != "image" or not images.folder:
        return images
    inputs = {item.path for item in sets.listed(Path(images.folder), images.read_split or None, wants).items}
    kept = tuple(item for item in images.items if item.path in inputs)
    return msgspec.structs.replace(images, items=kept) if kept else images


def _step(runner: Reading, what: str) -> Callable[[int, int], None]:
    def step(done: int, total: int) -> None:
        runner.watch("data", what, done, total + 1 if done < total else total, "")

    return step


def truth(images: ImageSet) -> str | None:
    """A digest of the labels of `images`, which shows whether two reports have the same; None without any.

    Boxes are included with their masks and points, and pairs with the content of their files.
    """
    pairs = iter(photos.file_digests([item.pair for item in images.items if item.pair is not None]))
    known = [_known(item, pairs) for item in images.items]
    return key_of("truth", {"items": known}) if any(one != (None, None) for one in known) else None


def _known(item: Item, pairs: Iterator[str]) -> tuple[object, ...]:
    """The labels of `item`, as they were encoded before boxes had masks and points. `pairs`: the next file's digest."""
    boxes = None if item.boxes is None else [_plain_fields(box) for box in item.boxes]
    known: tuple[object, ...] = (item.label, boxes)
    if item.truth is not None:
        known = (*known, item.truth)
    return known if item.pair is None else (*known, next(pairs), item.turn, item.ids)


def _plain_fields(box: Box) -> dict[str, object]:
    fields = {name: getattr(box, name) for name in box.__struct_fields__}
    return {name: value for name, value in fields.items() if value is not None}


def findings(images: ImageSet) -> list[Finding]:
    """The remarks on `images` as findings of a report."""
    return [
        Finding(
            level=one.level, code=one.code, text=plain(one.text), count=one.count, names=tuple(map(plain, one.names))
        )
        for one in images.remarks
    ]


def label(images: ImageSet, spec: ModelSpec, runner: Reading = ALONE) -> ImageSet:
    """`images` with labels as indices of the model's classes. Images without any label stay as they are.

    Raises `InvalidInput` if only some images have a label, and if the annotations do not fit the model's task.
    """
    turned = _turned(images, spec)
    _warn(images, turned, runner)
    images = images.noticed(turned)
    truth = tasks.of(spec).truth
    images = truth.found(as_inputs(wanted(images, truth.WANTS, runner), spec))
    if any(map(truth.known, images.items)):
        return truth.match(images, spec)
    if all(item.label is None and item.boxes is None and item.pair is None for item in images.items):
        return images
    boxes = images.items[0].boxes is not None
    near = "" if boxes else sets.annotated_near(images)
    has = "boxes" if boxes else "a class for each image"
    raise InvalidInput(
        f"The images of '{images.name}' have {has}, but the model '{spec.name}' needs {truth.NEEDS}.",
        f"Its task is {spec.task.kind}.{f' {near}.' if near else ''}",
        "Give that folder, or folders of splits like it." if near else "Give a data set for the model's task.",
    )


def as_inputs(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """`images` as the inputs of the model. A task may compute them: a small image from a large one."""
    truth = tasks.of(spec).truth
    derived: Callable[[ImageSet, ModelSpec], ImageSet] | None = getattr(truth, "derived", None)
    images = only_inputs(images, spec)
    return derived(wanted(images, truth.WANTS), spec) if derived else images


def wanted(images: ImageSet, wants: Wants, runner: Reading = ALONE) -> ImageSet:
    """`images` with the labels that a task wants, read again from their folder if they were read without the task."""
    if images.wants == wants or not images.folder or (wants == PLAIN and not images.unread):
        return images
    found = sets.read(Path(images.folder), images.read_split or None, wants)
    by_path = {item.path: item for item in found.items}
    if images.unread and any(path not in images.paths for path in by_path) and wants == PLAIN:
        _require_no_pairs(images, len(by_path))
    left = [Path(item.path).name for item in images.items if item.path not in by_path]
    text = "{count|image has|images have} no label of the model's task: left out."
    noticed = [*found.remarks, *remark("warning", "images-left-out", left, text)]
    _warn(images, [one for one in noticed if one not in images.remarks], runner)
    items = tuple(by_path[item.path] for item in images.items if item.path in by_path)
    if not items:
        raise InvalidInput(
            f"None of the {len(images.items)} images of '{images.name}' is in {found.name} for the model's task.",
            f"It has {len(found.items)} other images, such as {found.items[0].path}.",
            "Check the layout (docs/reference/data.md).",
        )
    replaced = msgspec.structs.replace(found, items=items, split=images.split, name=images.name)
    return replaced.noticed((*images.remarks, *noticed))


def _require_no_pairs(images: ImageSet, every: int) -> None:
    """Raise if the images were listed as pairs, and are classes for the model: then some of them are missing here."""
    if every > len(sets.listed(Path(images.folder), images.read_split or None).items):
        raise InvalidInput(
            f"{images.folder} has {images.unread}, but the model needs classes or boxes.",
            "edgewright lists only the images of such a folder, not the files that belong to them.",
            "Give a data set for the model's task, or rename the folders.",
        )


def _turned(images: ImageSet, spec: ModelSpec) -> list[Remark]:
    """The remark on images with an EXIF orientation, which says whether they were turned."""
    found = photos.look(images.paths)
    names = [Path(item.path).name for item, photo in zip(images.items, found) if photo.orientation != 1]
    what = f"{{count|image has|images have}} an EXIF orientation (of {len(images.items)} images)."
    if spec.turns:
        return remark("note", "exif-orientation", names, f"{what} They were turned, as OpenCV and Ultralytics do.")
    text = f"{what} They were not turned, as Pillow, timm and torchvision do not"
    turned = tasks.of(spec).truth.TURNED
    fix = 'If training turned them, set exif = "apply" in [preprocess] of the spec.'
    return remark("warning" if turned else "note", "exif-orientation", names, f"{text}{turned}. {fix}")


def has_labels(images: ImageSet, spec: ModelSpec | None = None) -> bool:
    """Whether every image has the labels that the model's task needs (`spec` None: that any task needs)."""
    if spec is None and images.unread:
        return True
    for task in [tasks.of(spec)] if spec else map(tasks.get, tasks.names()):
        read = wanted(images, task.truth.WANTS) if spec else images
        if all(map(task.truth.known, task.truth.found(read).items)):
            return True
    return False
