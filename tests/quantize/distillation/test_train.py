"""A student comes nearer to its teacher, goes on where it was ended, and never ends worse than it began."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import torch
from PIL import Image
from torch import nn

from edgewright.core.errors import EdgewrightError, InvalidInput, RuntimeFailed, UsageError
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.data import digits
from edgewright.quantize.distillation import features
from edgewright.quantize.distillation import losses as imitation
from edgewright.quantize.distillation import train as recovery
from edgewright.quantize.distillation.augment import Views
from edgewright.quantize.distillation.schedule import Schedule
from edgewright.quantize.pruning import sparsity
from edgewright.quantize.training import checkpoint, holdout, loop
from edgewright.tasks.classify.spec import Classify
from edgewright.tasks.detect.spec import Detect

SPEC = ModelSpec(
    name="digits",
    inputs=(
        Input(
            height=8,
            width=8,
            preprocess=Preprocess(resize="exact", resize_to=(8, 8), mean=(0.3, 0.3, 0.3), std=(0.4, 0.4, 0.4)),
        ),
    ),
    task=Classify(classes=10),
)
QUICK = Schedule(epochs=4, batch=32, lr=0.01, zoom=0.8)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small wait for threads longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Digits(msgspec.Struct):
    """Image files, their digits, and a network that tells these apart."""

    images: list[str]
    labels: list[int]
    teacher: nn.Module


def logits(module: nn.Module, pixels: torch.Tensor) -> list[torch.Tensor]:
    return [module(pixels)]


def network(width: int, classes: int = 10, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(),
        nn.Dropout(0.1), nn.Linear(16 * width, classes),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    folder = tmp_path_factory.mktemp("digits")
    pixels, labels, _ = digits.load()
    images = []
    for index in range(400):
        images.append(str(folder / f"{index:03}.png"))
        Image.fromarray(pixels[index]).save(images[-1])
    teacher = network(16, seed=1)
    with torch.no_grad():  # random features and a fitted linear head are a good enough teacher
        x = teacher[:-1](Views(images, SPEC).evaluation(range(400)))
        wanted = 6 * nn.functional.one_hot(torch.from_numpy(labels[:400]), 10) - 3.0
        ones = torch.cat([x, torch.ones(400, 1)], 1)
        found = torch.linalg.solve(ones.T @ ones + torch.eye(ones.shape[1]), ones.T @ wanted)
        teacher[-1].weight.copy_(found[:-1].T)
        teacher[-1].bias.copy_(found[-1])
    return Digits(images, [int(label) for label in labels[:400]], teacher)


def learn(learnt: Digits, student: nn.Module, schedule: Schedule = QUICK, **kwargs):
    tick = kwargs.pop("tick", lambda *_: None)
    how = recovery.Distillation(spec=SPEC, schedule=schedule, **kwargs)
    return recovery.recover(student, learnt.teacher, learnt.images, logits, how, tick)


def test_a_student_without_labels_answers_as_its_teacher(learnt: Digits) -> None:
    student, said = network(6), []
    before = copy.deepcopy(learnt.teacher.state_dict())
    history = learn(learnt, student, msgspec.structs.replace(QUICK, epochs=8), tick=lambda *step: said.append(step))
    assert history.metric == "agreement" and history.ended > history.began + 40
    held_out = holdout.at_random(400, 0.1, 0)[1]
    x = Views(learnt.images, SPEC).evaluation(held_out)
    same = (student(x).argmax(1) == learnt.teacher(x).argmax(1)).float().mean().item()
    assert 100 * same == pytest.approx(history.ended), "what is kept is what was best"
    assert not student.training and next(student.parameters()).is_contiguous()
    assert history.features == ("2", "5"), "the ends of both resolutions"
    assert not history.mirror, "a digit in a mirror is another one: the teacher says so"
    assert said[-1][0] == said[-1][1] == 8 * (360 // 32)
    assert "epoch 8 of 8, loss" in said[-1][2] and "agreement" in said[-1][2]
    assert all(torch.equal(tensor, before[name]) for name, tensor in learnt.teacher.state_dict().items())


def test_labels_are_learned_from_where_there_are_some(learnt: Digits) -> None:
    fooled = msgspec.structs.replace(learnt, labels=[(label + 1) % 10 for label in learnt.labels])
    history = learn(fooled, student := network(6), msgspec.structs.replace(QUICK, labels=20.0), labels=fooled.labels)
    assert history.metric == "accuracy" and history.labels
    told = student(Views(learnt.images, SPEC).evaluation(range(400))).argmax(1).tolist()
    right, copied = (sum(a == b for a, b in zip(told, of)) for of in (fooled.labels, learnt.labels))
    assert right > copied, "labels that contradict the teacher win where they weigh more"


def test_what_was_ended_goes_on_to_the_same_weights(learnt: Digits, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(done: int, _total: int, _what: str) -> None:
        if done == 28:
            raise Killed

    every = msgspec.structs.replace(QUICK, epochs=3, checkpoint_s=0.0, augment="rand-m5-mstd0.5")
    whole, again = network(6), network(6)
    learn(learnt, whole, every)
    with pytest.raises(Killed):
        learn(learnt, network(6), every, checkpoint=tmp_path, tick=kill)
    history = learn(learnt, again, every, checkpoint=tmp_path)
    assert history.resumed_at == 27, "the middle of an epoch: it has 11 steps"
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    other = learn(learnt, network(6, seed=5), every, checkpoint=tmp_path)
    assert other.resumed_at == 0, "another student's checkpoint is not taken"
    (tmp_path / checkpoint.FILE).write_bytes(b"torn")
    assert learn(learnt, network(6), msgspec.structs.replace(every, epochs=1), checkpoint=tmp_path).resumed_at == 0


def test_momentum_of_another_optimizer_is_kept_too(learnt: Digits, tmp_path: Path) -> None:
    schedule = msgspec.structs.replace(QUICK, epochs=1, optimizer="sgd", lr=0.05, checkpoint_s=0.0)
    whole, again = network(6), network(6)
    learn(learnt, whole, schedule)

    def kill(done: int, _total: int, _what: str) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(learnt, network(6), schedule, checkpoint=tmp_path, tick=kill)
    assert learn(learnt, again, schedule, checkpoint=tmp_path).resumed_at == 5
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters()))


def test_zeros_of_a_sparse_student_stay(learnt: Digits) -> None:
    student, names = sparsity.prune(network(16))
    assert names == ["3"]
    zeros, before = student[3].weight == 0, student[3].weight.clone()
    history = learn(learnt, student)
    assert history.best_epoch
    assert not student[3].weight[zeros].any()
    assert not torch.equal(student[3].weight, before), "the others learned"


def test_a_perfect_student_stays_what_it_is_and_training_ends_early(learnt: Digits) -> None:
    student = copy.deepcopy(learnt.teacher)
    schedule = msgspec.structs.replace(QUICK, epochs=30, lr=1.0, patience=0.0)
    history = learn(learnt, student, schedule)
    assert history.began == history.ended == 100.0
    assert history.best_epoch is None and history.stopped == "patience"
    assert len(history.epochs) == history.planned == 5 + 2, "the rate falls to its end"
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, learnt.teacher.state_dict()[name]), name


def test_a_callers_own_judge_decides_which_weights_are_kept(learnt: Digits) -> None:
    scores = iter([0.5, 0.1, 0.9, 0.2, 0.3])
    history = learn(learnt, network(6), validate=lambda _module, _numbers: next(scores))
    assert (history.metric, history.began, history.ended, history.best_epoch) == ("mAP", 0.5, 0.9, 2)


def test_a_time_becomes_a_number_of_epochs(learnt: Digits) -> None:
    history = learn(learnt, network(6), msgspec.structs.replace(QUICK, epochs=None, train_time_s=2.0))
    assert 1 <= len(history.epochs) <= history.planned <= 1000
    assert history.seconds < 10
    assert 0 < history.feeding < 1 and history.images_per_s > 0


class Clock:
    """A machine that takes 0.1 s for each of its first `quick` steps, `later` s for others, and 0.3 s to judge."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, later: float, quick: int = 30) -> None:
        self.now, self.steps, self.rates = 0.0, 0, []
        step, rank = recovery._Trainee._step, recovery._Trainee._rank

        def slow_step(trainee, student, optimizer, batch, number):
            self.steps += 1
            self.now += 0.1 if self.steps <= quick else later
            self.rates.append(optimizer.param_groups[0]["lr"])
            return step(trainee, student, optimizer, batch, number)

        def slow_rank(trainee, module):
            self.now += 0.3
            return rank(trainee, module)

        for module in (recovery, loop):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(recovery._Trainee, "_step", slow_step)
        monkeypatch.setattr(recovery._Trainee, "_rank", slow_rank)


@pytest.mark.parametrize("later", [0.4, 0.02])
def test_a_plan_follows_a_machine_that_gets_slower_or_faster(
    learnt: Digits, monkeypatch: pytest.MonkeyPatch, later: float
) -> None:
    clock = Clock(monkeypatch, later)
    schedule = msgspec.structs.replace(QUICK, epochs=None, train_time_s=20.0, patience=1.0)
    history = learn(learnt, network(6), schedule)
    epoch = history.images // history.batch * later + 0.3
    assert history.stopped == "done" and len(history.epochs) == history.planned
    assert history.seconds == pytest.approx(clock.now) and 20 - 2 * epoch <= clock.now <= 20
    assert clock.rates[-1] < 0.1 * max(clock.rates), "the rate has fallen to its end"


def test_a_longer_plan_does_not_warm_up_again(learnt: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, later=0.001, quick=recovery.REHEARSAL + 11)
    schedule = msgspec.structs.replace(QUICK, epochs=None, train_time_s=14.0, patience=1.0, warmup=0.1)
    history = learn(learnt, network(6), schedule)
    assert history.planned > 30, "many times the first plan"
    rates = clock.rates[recovery.REHEARSAL :]
    assert rates[22] > 0.9 * rates[21]


def test_an_epoch_longer_than_the_time_ends_it(learnt: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, later=100.0)
    history = learn(learnt, network(6), msgspec.structs.replace(QUICK, epochs=None, train_time_s=12.0))
    assert history.stopped == "time" and len(history.epochs) < history.planned


def test_a_slow_first_epoch_does_not_take_away_from_the_epochs_asked_for(
    learnt: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, later=0.02, quick=11)
    history = learn(learnt, network(6), msgspec.structs.replace(QUICK, epochs=12, train_time_s=10.0, patience=1.0))
    assert len(history.epochs) == history.planned == 12
    assert clock.now < 10


def test_a_training_that_goes_on_plans_as_if_it_had_not_been_ended(
    learnt: Digits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With one step left of an epoch, judging it must not count as part of each step."""
    clock = Clock(monkeypatch, later=0.1)
    schedule = msgspec.structs.replace(QUICK, epochs=None, train_time_s=20.0, patience=1.0, checkpoint_s=0.0)

    def kill(done: int, _total: int, _what: str) -> None:
        if done == 2 * 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(learnt, network(6), schedule, checkpoint=tmp_path, tick=kill)
    history = learn(learnt, network(6), schedule, checkpoint=tmp_path)
    assert history.resumed_at == 21
    assert history.planned == 13 == len(history.epochs), clock.now


@pytest.mark.parametrize(
    ("images", "side", "batch"),
    [(50_000, 224, 64), (50_000, 448, 16), (50_000, 2048, 4), (3000, 64, 20), (100, 64, 16)],
)
def test_few_images_are_learned_from_in_small_steps(images: int, side: int, batch: int) -> None:
    assert recovery._batch(images, side * side) == batch


def test_one_image_a_step_leaves_normalization_as_it_is(learnt: Digits) -> None:
    student = copy.deepcopy(learnt.teacher)
    nn.init.zeros_(student[-1].weight)
    few = msgspec.structs.replace(learnt, images=learnt.images[:40], labels=[])
    history = learn(few, student, Schedule(epochs=1, batch=1, lr=0.02))
    assert history.best_epoch == 1
    assert torch.equal(student[1].running_mean, learnt.teacher[1].running_mean)


def test_a_loss_that_is_not_finite_ends_it_and_leaves_the_checkpoint(learnt: Digits, tmp_path: Path) -> None:
    def poison(_module: nn.Module, _given: object, batch: object) -> torch.Tensor:
        poison.calls += 1
        return torch.tensor(float("nan") if poison.calls > 3 else 0.0)

    poison.calls = 0
    schedule = msgspec.structs.replace(QUICK, checkpoint_s=0.0)
    with pytest.raises(RuntimeFailed, match=r"loss is not finite at step 4 .*\n.*checkpoint") as raised:
        learn(learnt, network(6), schedule, supervised=poison, checkpoint=tmp_path)
    assert "rate" in raised.value.fix
    assert learn(learnt, network(6), schedule, checkpoint=tmp_path).resumed_at == 3


@pytest.mark.parametrize(
    ("error", "words", "how"),
    [
        (InvalidInput, "shapes 7, the teacher's 10", {"student": network(6, classes=7)}),
        (InvalidInput, "does not accept the teacher's input", {"student": nn.Sequential(nn.Conv2d(1, 4, 3))}),
        (InvalidInput, "There are only 5 training images", {"images": 5}),
        (InvalidInput, "3 labels for 400 images", {"labels": [0, 1, 2]}),
        (InvalidInput, "labels range from 0 to 10", {"labels": [0, 10] * 200}),
        (InvalidInput, "student has no module 'neck'", {"features": [("neck", "2")]}),
        (UsageError, "no optimizer 'adamz'", {"schedule": {"optimizer": "adamz"}}),
        (UsageError, "temperature of the training is 0", {"schedule": {"temperature": 0.0}}),
    ],
)
def test_what_does_not_fit_is_said(learnt: Digits, error: type[EdgewrightError], words: str, how: dict) -> None:
    student, images = how.pop("student", None) or network(6), learnt.images[: how.pop("images", 400)]
    with pytest.raises(error, match=words):
        schedule = msgspec.structs.replace(QUICK, **how.pop("schedule", {}))
        asked = recovery.Distillation(spec=SPEC, schedule=schedule, **how)
        recovery.recover(student, learnt.teacher, images, logits, asked)


# --- losses -----------------------------------------------------------------------------------------------------------

YOLO = ModelSpec(
    name="yolo",
    inputs=(Input(height=8, width=8),),
    outputs=("head",),
    task=Detect(decoder="dfl", bins=4, scores="sigmoid", classes=3),
)


def test_features_of_another_width_are_compared_by_where_they_are_strong() -> None:
    wide, narrow = torch.zeros(2, 8, 4, 4), torch.zeros(2, 3, 4, 4)
    wide[:, :, 1, 2] = 1.0
    narrow[:, :, 1, 2] = 5.0
    assert imitation.features([narrow], [wide]).item() == pytest.approx(0)
    assert imitation.features([narrow.flip(3)], [wide]).item() == pytest.approx(2)
    same = torch.randn(2, 8, 4, 4)
    assert imitation.features([same + 1], [same]).item() > imitation.features([same + 0.1], [same]).item() > 0


def test_a_head_that_gives_several_tensors_is_no_feature() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 2, 1)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"scores": self.conv(x)}

    module = nn.Sequential(nn.Conv2d(3, 4, 3), Head())
    run = lambda m: m(torch.zeros(1, 3, 8, 8))  # noqa: E731
    assert features.pairs(module, copy.deepcopy(module), run) == (("0", "0"),)


# --- images -----------------------------------------------------------------------------------------------------------


def test_views_are_the_evaluations_own_pixels_but_for_the_crop(learnt: Digits) -> None:
    for color in ("RGB", "BGR"):
        how = msgspec.structs.replace(SPEC.preprocess, color=color, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
        spec = SPEC.with_input(preprocess=how)
        views = Views(learnt.images[:5], spec, zoom=1.0, memory=0)
        plain, batch = views.evaluation(range(5)), views.training(range(5), 3)
        assert plain.shape == batch.pixels.shape == (5, 3, 8, 8)
        from edgewright.vision.image import open_image
        from edgewright.vision.preprocess import preprocess

        told = preprocess(open_image(learnt.images[2]), spec.preprocess, spec.input)
        assert torch.equal(plain[2], torch.from_numpy(told))
        assert torch.equal(batch.pixels, views.training(range(5), 3).pixels), "a seed decides everything"
        assert not any(move.mirrored for move in batch.moves)
        # No smaller crop than the whole: only its shape varies a little.
        assert (plain - batch.pixels).abs().mean() < 0.35
    cropped = Views(learnt.images[:5], SPEC, zoom=0.5, mirror=True)
    assert any(move.mirrored for move in cropped.training(range(5), 0).moves)
    assert not torch.equal(cropped.training(range(5), 0).pixels, cropped.training(range(5), 1).pixels)


def test_a_detectors_views_are_mirrored_and_say_so(learnt: Digits) -> None:
    spec = YOLO.with_input(preprocess=Preprocess(resize="letterbox", resize_to=(8, 8)))
    views = Views(learnt.images[:8], spec, mirror=True)
    plain, batch = views.evaluation(range(8)), views.training(range(8), 0)
    assert len(set(batch.moves)) == 2
    for image, seen, move in zip(plain, batch.pixels, batch.moves):
        assert torch.equal(image.flip(2) if move.mirrored else image, seen)
