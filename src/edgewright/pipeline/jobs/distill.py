"""Train a smaller student on the outputs of the user's model, as one stage; evaluate both on the same images."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgewright import tasks
from edgewright.bench import accuracy
from edgewright.core import child, description, files
from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.core.spec import ModelSpec, decode, flat
from edgewright.core.store import Entry
from edgewright.data import sets
from edgewright.data.sets import ImageSet, Item
from edgewright.data.wants import PLAIN
from edgewright.export.sources import parse as sources
from edgewright.export.sources import plan as plans
from edgewright.export.sources import ultralytics
from edgewright.pipeline import hosts
from edgewright.pipeline import images as image_sets
from edgewright.pipeline.images import Reading
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.stages.compile import compile_reference
from edgewright.pipeline.stages.export import Source, export
from edgewright.pipeline.stages.measure import evaluate
from edgewright.pipeline.stages.model import SPEC, spec_of
from edgewright.pipeline.stages.runner import StageRunner, made_by
from edgewright.quantize.distillation.schedule import History, Schedule
from edgewright.tasks.scores import Accuracy

if TYPE_CHECKING:
    from edgewright.export.sources.loaded import Trainable

PARITY_IMAGES = Recipe().parity_images
"""As many as in the main job, so that both use the same exports in the store."""
LONGEST_S = 7 * 86400.0
"""The limit of the training stage in seconds. Its schedule ends it earlier; a longer training hangs."""
HELD_OUT = 8
"""The fewest held-out images for the validation of a detector."""
AT_ONCE = 16
"""The batch size for a detector's mAP."""
SHARE = 0.75
"""The share of a data set without splits that is used for training; the rest is used for evaluation."""


class Distilled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of a distillation.

    `student`: the student's source, as its folder rebuilds it. `parameters`: numbers of weights of teacher and student.
    `accuracy_teacher`, `accuracy_student`: on the same evaluation images, the student's paired with the teacher's;
    without labels only their agreement. `learned_from`: number of training images.
    """

    teacher: str
    student: str
    parameters: tuple[int, int]
    history: History
    accuracy_teacher: Accuracy
    accuracy_student: Accuracy
    learned_from: int


@dataclass(frozen=True, kw_only=True)
class DistillRequest:
    """A student to train, and its teacher.

    `train_data`: a folder of training images; default: the split train or calib of `data`, else three quarters of it.
    `labels`: whether to train on the labels, too; default: if every image has one.
    """

    teacher: Source
    student: Source
    data: Path
    split: str | None
    train_data: Path | None
    schedule: Schedule
    labels: bool | None = None
    seed: int = 0


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """The request to the child that trains. `boxes`: the fields of each image's boxes. `strict`: raise if the loss
    cannot use them."""

    teacher: Source
    student: Source
    spec: str
    images: list[str]
    labels: list[int]
    boxes: list[list[Any]]
    schedule: Schedule
    seed: int
    strict: bool
    checkpoint: str


def train_student(runner: StageRunner, asked: DistillRequest) -> tuple[Entry, Distilled]:
    """Train the student. Returns ``weights.safetensors`` and ``plan.json``, and the comparison with the teacher.

    Raises `InvalidInput` if training and evaluation share images, if requested labels are missing, or if teacher and
    student do not fit.
    """
    teacher = asked.teacher
    evaluation, training = gather(asked.data, asked.split, asked.train_data, asked.seed, runner)
    counts = f"{len(evaluation.items)} evaluation images, {len(training.items)} training images"
    runner.watch("data", str(asked.data), 1, 1, counts)
    exported = _export(runner, teacher, evaluation)
    spec = spec_of(exported)
    evaluation = image_sets.label(evaluation, spec)
    training = _labelled(training, spec, asked.labels)
    fitted = msgspec.structs.replace(asked.student, source=fit(asked.student.source, spec))
    trained = _train(runner, replace(asked, student=fitted), exported, training)
    record = msgspec.json.decode((trained.path / sources.PLAN).read_bytes(), type=plans.Plan).made
    learner = Source(
        source=str(trained.path), trust_checkpoint=True
    )  # our own folder, from a source that the user named
    ours, theirs = (
        _answers(runner, entry, name, evaluation)
        for entry, name in ((_export(runner, learner, evaluation), "student"), (exported, "teacher"))
    )
    outputs, truth = accuracy.load_outputs(ours.path), accuracy.load_outputs(theirs.path)
    items, metric = evaluation.items, tasks.of(spec).metric
    reference, found = metric.score(truth, items, spec), metric.compare(outputs, truth, items, spec)
    return trained, Distilled(
        teacher=teacher.source, student=fitted.source, parameters=tuple(record["parameters"]),
        history=msgspec.convert(record["history"], History), accuracy_teacher=reference, accuracy_student=found,
        learned_from=len(training.items),
    )  # fmt: skip


def gather(
    data: Path, split: str | None, train_data: Path | None, seed: int, runner: Reading = image_sets.ALONE
) -> tuple[ImageSet, ImageSet]:
    """The evaluation and the training images. Raises `InvalidInput` if they share one."""
    evaluation = image_sets.read_evaluation(data, split, runner)
    try:
        training = image_sets.read_training(data, evaluation, train_data, seed, runner)
    except sets.Absent as absent:
        training, evaluation = None, image_sets.without_split(evaluation, absent, train_data, runner)
    if training is None:
        training, evaluation = sets.divide(evaluation, max(1, int(SHARE * len(evaluation.items))), seed)
        evaluation = sets.apart(training, evaluation)
    sets.require_disjoint(training, evaluation)
    return evaluation, training


def fit(student: str, spec: ModelSpec) -> str:
    """The source `student` with options that give it the teacher's classes and input size."""
    parsed = sources.parse(student)
    wanted: dict[str, Any] = {}
    if parsed.kind in ("timm", "torchvision"):
        wanted["num_classes"] = spec.classes
    if parsed.kind == "timm" and spec.input.channels != 3:
        wanted["in_chans"] = spec.input.channels
    if parsed.kind == "ultralytics":
        wanted["imgsz"] = f"[{spec.input.height},{spec.input.width}]"
        if parsed.name.endswith((".yaml", ".yml")):
            wanted["nc"] = spec.classes
    added = [f"{key}={value}" for key, value in wanted.items() if key not in parsed.options]
    return student + ("&" if "?" in student else "?") + "&".join(added) if added else student


def _export(runner: StageRunner, source: Source, images: ImageSet) -> Entry:
    return export(runner, source, images.only(images.items[:PARITY_IMAGES]), 1)


def _answers(runner: StageRunner, exported: Entry, name: str, images: ImageSet) -> Entry:
    artifact = compile_reference(runner, exported, spec_of(exported))
    return evaluate(runner, artifact, name, images, hosts.here())


def _labelled(training: ImageSet, spec: ModelSpec, asked: bool | None) -> ImageSet:
    """`training` with the model's classes or boxes if they are to be used, else without labels."""
    if asked and tasks.of(spec).truth.WANTS != PLAIN:
        raise InvalidInput(
            f"The task {spec.task.kind} has no training on labels.",
            "edgewright trains on classes and boxes. For other tasks, the student learns from the teacher's outputs.",
            "Leave out --labels.",
        )
    if asked is not False and tasks.of(spec).truth.WANTS == PLAIN and image_sets.has_labels(training, spec):
        return image_sets.label(training, spec)
    if asked:
        raise InvalidInput(
            f"Training on labels needs a label for every image, but the images of '{training.name}' have none.",
            f"Every image needs {tasks.of(spec).truth.NEEDS.removesuffix(' an image')}.",
            "Sort the images into a folder per class (or add COCO, YOLO or VOC files). Or leave out --labels: the "
            "student then trains on the teacher's outputs only.",
        )  # fmt: skip
    training = image_sets.as_inputs(training, spec)
    bare = (msgspec.structs.replace(item, label=None, boxes=None) for item in training.items)
    return msgspec.structs.replace(training, items=tuple(bare))


def _train(runner: StageRunner, asked: DistillRequest, exported: Entry, training: ImageSet) -> Entry:
    classes = [item.label for item in training.items if item.label is not None]
    boxes = [
        [(box.label, box.x1, box.y1, box.x2, box.y2, box.area, box.crowd) for box in item.boxes]
        for item in training.items
        if item.boxes is not None
    ]
    strict = asked.labels is True
    how = {"schedule": msgspec.to_builtins(asked.schedule), "labels": classes, "boxes": boxes, "seed": asked.seed}
    inputs = {
        "teacher": exported.key, "student": asked.student.identity(), "images": training.digests, **how,
        "strict": strict, "made_by": made_by("distill", "quantize", "export", "bench"),
    }  # fmt: skip
    checkpoint = runner.store.checkpoint("distill", inputs)
    patient = msgspec.structs.replace(runner, limits=msgspec.structs.replace(runner.limits, wall_s=LONGEST_S))
    request = Training(
        teacher=asked.teacher, student=asked.student, spec=str(exported.path / SPEC), images=training.paths,
        labels=classes, boxes=boxes, schedule=asked.schedule, seed=asked.seed, strict=strict,
        checkpoint=str(checkpoint),
    )  # fmt: skip
    trained = patient.with_torch.run(
        "distill", asked.student.source, inputs, f"{__name__}:train", request=msgspec.to_builtins(request)
    )
    shutil.rmtree(checkpoint, ignore_errors=True)
    return trained


# --- in the child -----------------------------------------------------------------------------------------------------


def train(request: dict[str, Any], folder: str, progress: child.Progress | None = None) -> None:
    """Train the student of a `Training` and write it to `folder`. Runs in a child."""
    from edgewright.quantize.distillation import supervision
    from edgewright.quantize.distillation import train as recovery

    asked = msgspec.convert(request, Training)
    about = decode(Path(asked.spec).read_bytes(), ModelSpec, asked.spec)
    guide, learner = (trainable_of(source) for source in (asked.teacher, asked.student))
    images, boxes, how = asked.images, asked.boxes, asked.schedule
    supervised = None
    if boxes and (asked.strict or hasattr(learner.module, "init_criterion")):
        objects = [[tuple(row[:5]) for row in rows if not row[6]] for rows in boxes]
        supervised = supervision.ultralytics(images, objects, about)
    # mAP validates if there are enough held-out images and most have boxes; too few boxes give no usable mAP.
    enough = len(boxes) * how.held_out >= HELD_OUT and 2 * sum(map(bool, boxes)) >= len(boxes)
    exported = tasks.of(about).training.exported(about)
    validate = _by_boxes(images, boxes, learner.answers, exported, about) if exported and enough else None
    distillation = recovery.Distillation(
        spec=about, schedule=how, labels=asked.labels, supervised=supervised, validate=validate,
        checkpoint=Path(asked.checkpoint), seed=asked.seed,
    )  # fmt: skip
    history = recovery.recover(
        learner.module, guide.module, images, learner.answers, distillation, progress or (lambda *_: None)
    )
    write(Path(folder), asked.student.source, learner.module, about, {
        "method": "distillation", "teacher": asked.teacher.source, "history": msgspec.to_builtins(history),
        "parameters": [sum(p.numel() for p in module.parameters()) for module in (guide.module, learner.module)],
    })  # fmt: skip


def _by_boxes(
    images: Sequence[str], boxes: Sequence[Sequence[Any]], answers: Any, exported: Any, spec: ModelSpec
) -> Any:
    """A `recovery.Validate` by the mAP on `images`. `boxes`: for each image the fields of each `Box`."""
    import torch

    from edgewright.data.boxes import Box
    from edgewright.vision import preprocess
    from edgewright.vision.image import open_picture, size_of

    task = tasks.of(spec)
    items = [Item(path, None, tuple(Box(*row) for row in rows)) for path, rows in zip(images, boxes)]

    def validate(module: Any, numbers: Sequence[int]) -> float:
        chosen = [items[number] for number in numbers]
        if not any(item.boxes for item in chosen):
            return math.nan
        device, found = next(module.parameters()).device, []
        for start in range(0, len(chosen), AT_ONCE):
            part = chosen[start : start + AT_ONCE]
            pictures = [open_picture(item.path, spec.preprocess.turns) for item in part]
            pixels = torch.from_numpy(preprocess.batch(pictures, spec)).to(device)
            raw = [output.float().cpu().numpy() for output in exported(answers(module, pixels))]
            sizes = [size_of(picture) for picture in pictures]
            try:
                found.append(task.decode.rows(raw, spec, sizes, [item.path for item in part], start))
            except RuntimeFailed:
                return math.nan  # outputs that are not finite
        return task.metric.score(np.concatenate(found), chosen, spec).score or 0.0

    return validate


def write(
    folder: Path, source: str, module: Any, spec: ModelSpec, made: dict[str, Any], removed: Sequence[str] = ()
) -> None:
    """Write the changed `module` of `source` as a folder that is a source itself; `spec` has its preprocessing.

    `removed`: blocks that were removed from it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parsed = sources.parse(source)
    if parsed.kind == "plan":  # a trained copy of a pruned model: its plan, with new weights
        before = files.absolute(parsed.name)
        plan = plans.read(before)
        source, removed = plan.source, (*plan.removed, *removed)
        parsed = plans.source_of(plan, before, trust=True)  # the user trusted it when it was loaded before
        if (before / plans.ARCHITECTURE).is_file():
            shutil.copyfile(before / plans.ARCHITECTURE, folder / plans.ARCHITECTURE)
    elif parsed.kind == "ultralytics" and (not parsed.name.endswith(".yaml") or ultralytics.file_of(parsed.name)):
        source = plans.keep_architecture(folder, module)
        parsed = plans.source_of(plans.Plan(source=source), folder)
    elif parsed.kind == "transformers":
        source = plans.keep_config(folder, parsed)
        parsed = plans.source_of(plans.Plan(source=source), folder)
    fields = flat(spec)
    own = ("preprocess", description.table_of(spec.task.kind), "classes", "labels")
    described = {key: fields[key] for key in own if key in fields}
    described["input"] = {key: fields["input"][key] for key in ("height", "width", "channels")}
    plans.write(folder, source, (_original(parsed), module), removed=removed, description=described, made=made)


def _original(source: sources.ParsedSource) -> Any:
    """The module as the source builds it: only its shapes matter."""
    from edgewright.export.sources import trainable

    if source.kind in ("timm", "torchvision", "transformers"):
        source = msgspec.structs.replace(source, options={**source.options, "pretrained": False})
    return trainable(source, None, True).module


def trainable_of(source: Source) -> Trainable:
    """The torch module of `source`, with its weights."""
    from edgewright.export.sources import trainable

    return trainable(source.parsed, source.checkpoint, source.trust_checkpoint)


def copy(source: Path, out: Path) -> None:
    """Copy the model from the folder `source` to `out`, atomically."""
    with files.new_folder(out) as folder:
        for name in (plans.WEIGHTS, sources.PLAN, plans.ARCHITECTURE):
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
