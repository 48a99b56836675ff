"""`edgewright distill`: a student learns the digits from a teacher; what does not fit is said before it learns."""

from __future__ import annotations

import json
import math
from pathlib import Path

import msgspec
import pytest
import torch

from edgewright import tasks
from edgewright.cli.main import run_command
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.core.store import Store
from edgewright.data import digits, sets
from edgewright.pipeline.jobs import distill
from edgewright.pipeline.stages.export import Source
from edgewright.tasks.classify.spec import Classify
from edgewright.tasks.detect.spec import Detect

NETS = """\
import torch
from torch import nn

def network(width=16, classes=10):
    torch.manual_seed(width)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(),
        nn.Linear(16 * width, classes),
    )
"""
SPEC = """\
name = "digits"
classes = 10
[input]
height = 8
width = 8
[preprocess]
resize = "exact"
resize_to = [8, 8]
mean = [0.3, 0.3, 0.3]
std = [0.4, 0.4, 0.4]
"""


DETECTOR = ModelSpec(
    name="detector",
    inputs=(Input(height=96, width=96),),
    outputs=("head",),
    task=Detect(decoder="dfl", scores="sigmoid", classes=80),
)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``digits/``, ``nets.py``, and ``teacher.safetensors`` that tell digits apart."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("distil")
    digits.write(folder / "digits")
    (folder / "nets.py").write_text(NETS)
    (folder / "digits.toml").write_text(SPEC)
    namespace: dict = {}
    exec(NETS, namespace)
    teacher = namespace["network"](16).eval()
    pixels, labels, splits = digits.load()
    chosen = [index for index, split in enumerate(splits) if split == "train"]
    x = torch.from_numpy(pixels[chosen]).float()[:, None].expand(-1, 3, -1, -1) / 255
    with torch.no_grad():  # random features and a fitted linear head are a good enough teacher
        seen = teacher[:-1]((x - 0.3) / 0.4)
        ones = torch.cat([seen, torch.ones(len(seen), 1)], 1)
        wanted = 6 * torch.nn.functional.one_hot(torch.from_numpy(labels[chosen]), 10) - 3.0
        head = torch.linalg.solve(ones.T @ ones + torch.eye(ones.shape[1]), ones.T @ wanted)
        teacher[-1].weight.copy_(head[:-1].T)
        teacher[-1].bias.copy_(head[-1])
    save_file(teacher.state_dict(), folder / "teacher.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _own_store(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One store for all tests here: the teacher is exported once."""
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(job / "store"))


def command(job: Path, *more: str) -> list[str]:
    return [
        "distill", f"torch:{job}/nets.py:network", "--checkpoint", str(job / "teacher.safetensors"),
        "--spec", str(job / "digits.toml"), "--data", str(job / "digits"), "-o", str(job / "small"), *more,
    ]  # fmt: skip


def test_a_student_of_digits_becomes_a_source(job: Path, capfd: pytest.CaptureFixture[str]) -> None:
    student = f"torch:{job}/nets.py:network?width=5"
    learn = command(job, "--student", student, "--epochs", "5", "--lr", "0.01", "--json")
    assert run_command(learn) == 0
    found = json.loads(capfd.readouterr().out)
    history = found["history"]
    assert history["labels"] and history["metric"] == "accuracy" and history["images"] == 1197 - 120
    assert history["ended"] > history["began"] + 40
    teacher, ours = (found[f"accuracy_{who}"]["scores"]["top1"] for who in ("teacher", "student"))
    assert teacher["value"] > 90 and ours["value"] > 70
    assert ours["delta"]["value"] == pytest.approx(ours["value"] - teacher["value"])
    assert found["parameters"][1] < found["parameters"][0] / 3
    assert not list((Store().root / "checkpoints").glob("*")), "what it needed to go on is no longer needed"

    assert sorted(path.name for path in (job / "small").iterdir()) == ["plan.json", "weights.safetensors"]
    from edgewright.export.sources import trainable
    from edgewright.export.sources.parse import parse

    small = trainable(parse(str(job / "small")), None, True)
    assert sum(p.numel() for p in small.module.parameters()) == found["parameters"][1]
    assert small.load().spec["preprocess"]["std"] == [0.4, 0.4, 0.4], "the teacher's"

    assert run_command(learn[:-1]) == 0  # from the store
    captured = capfd.readouterr()
    assert f"teacher top-1 {teacher['value']:.1f}, student {ours['value']:.1f}" in captured.out
    assert "from the store" in captured.err


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (["--student", "timm:mobilenetv9?pretrained=false"], "timm has no model 'mobilenetv9'"),
        (["--student", "torch:{job}/nets.py:network?classes=7"], "have the shapes 7, the teacher's 10"),
        (["--student", "torch:{job}/nets.py:network", "--train-data", "{job}/bare", "--labels"], "have none"),
    ],
)
def test_what_does_not_fit_is_said(job: Path, capfd: pytest.CaptureFixture[str], how: list[str], words: str) -> None:
    bare = job / "bare"
    bare.mkdir(exist_ok=True)
    for path in (job / "digits" / "calib").rglob("*.png"):
        (bare / path.name).write_bytes(path.read_bytes())
    assert run_command(command(job, *(word.format(job=job) for word in how), "--epochs", "1")) == 3
    error = " ".join(capfd.readouterr().err.split())
    assert words in error


def test_a_student_is_built_for_the_teachers_classes() -> None:
    spec = ModelSpec(name="grey", inputs=(Input(height=64, width=96, channels=1),), task=Classify(classes=7))
    assert distill.fit("timm:resnet10t", spec) == "timm:resnet10t?num_classes=7&in_chans=1"
    assert distill.fit("timm:resnet10t?num_classes=3&in_chans=1", spec) == "timm:resnet10t?num_classes=3&in_chans=1"
    assert distill.fit("torchvision:resnet18?pretrained=false", spec).endswith("pretrained=false&num_classes=7")
    assert distill.fit("ultralytics:yolo11n.yaml", spec) == "ultralytics:yolo11n.yaml?imgsz=[64,96]&nc=7"
    assert distill.fit("torch:nets:small", spec) == "torch:nets:small"


def test_without_splits_most_images_are_learned_from(job: Path) -> None:
    evaluation, training = distill.gather(job / "digits" / "test", None, None, 0)
    assert (len(training.items), len(evaluation.items)) == (375, 125)
    evaluation, training = distill.gather(job / "digits", None, None, 0)
    assert (evaluation.split, training.split) == ("test", "train")
    with pytest.raises(InvalidInput, match="calibration-leak"):
        distill.gather(job / "digits", None, job / "digits" / "test", 0)


def test_labels_are_left_out_where_that_is_asked(job: Path) -> None:
    spec = ModelSpec(name="digits", inputs=(Input(height=8, width=8),), task=Classify(classes=10))
    training = sets.read(job / "digits", "calib")
    assert {item.label for item in distill._labelled(training, spec, None).items} == set(range(10))
    assert {item.label for item in distill._labelled(training, spec, False).items} == {None}
    bare = msgspec.structs.replace(
        training, items=tuple(msgspec.structs.replace(item, label=None) for item in training.items)
    )
    assert {item.label for item in distill._labelled(bare, spec, None).items} == {None}


def test_a_folder_does_without_the_checkpoint_that_it_was_made_of(tmp_path: Path) -> None:
    library = pytest.importorskip("ultralytics")
    import torch

    from edgewright.export.sources import trainable
    from edgewright.export.sources.parse import parse

    net = library.YOLO("yolo11s.yaml").model
    net.names = {0: "cat", 1: "dog"} | {k: str(k) for k in range(2, 80)}
    torch.save({"model": net, "train_args": {"imgsz": 96}}, tmp_path / "mine.pt")
    given = f"ultralytics:{tmp_path}/mine.pt"
    taught = trainable(parse(given), None, True)
    with torch.no_grad():
        for parameter in taught.module.parameters():
            parameter.mul_(1.01)
    spec = DETECTOR.with_task(labels=("cat", "dog", *map(str, range(2, 80))))
    distill.write(tmp_path / "first", given, taught.module, spec, {})
    distill.write(tmp_path / "second", str(tmp_path / "first"), taught.module, spec, {})
    distill.copy(tmp_path / "second", tmp_path / "last")
    for name in ("mine.pt", "first/plan.json", "second/plan.json"):
        (tmp_path / name).unlink()
    again = trainable(parse(str(tmp_path / "last")))  # a pickle would have to be trusted
    images = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        for ours, theirs in zip(again.answers(again.module, images), taught.answers(taught.module, images)):
            assert torch.equal(ours, theirs)
    found = again.finish(again.module).spec
    assert (list(found["labels"][:2]), found["input"]["height"]) == (["cat", "dog"], 96)


def test_a_detectors_weights_are_judged_by_map(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")
    from edgewright.data import scenes
    from edgewright.demo import scenes as demo
    from edgewright.demo.train_detector import WEIGHTS

    scenes.write(tmp_path / "scenes", {"train": 24})
    items = sets.read(tmp_path / "scenes", "train").items
    rows = [[msgspec.structs.astuple(box) for box in item.boxes or ()] for item in items]
    learner = distill.trainable_of(Source(source=demo.SOURCE, checkpoint=WEIGHTS))
    spec = ModelSpec(
        name="scenes",
        inputs=(
            Input(
                height=160,
                width=160,
                preprocess=Preprocess(resize="letterbox", resize_to=(160, 160), interpolation="opencv"),
            ),
        ),
        outputs=("head",),
        task=Detect(decoder="dfl", scores="sigmoid", multi_label_eval=True, classes=10),
    )
    exported = tasks.of(spec).training.exported(spec)
    assert exported is not None
    judge = distill._by_boxes([item.path for item in items], rows, learner.answers, exported, spec)
    torch.manual_seed(0)
    with torch.no_grad():
        learned = judge(learner.module, range(24))
        assert 50 < learned < 95
        assert judge(learner.module, range(12)) != learned, "on the images that are named"
        for parameter in learner.module.parameters():
            parameter.copy_(torch.randn_like(parameter) / 10)
        assert judge(learner.module, range(24)) < 10
        next(iter(learner.module.parameters())).fill_(torch.nan)
        assert math.isnan(judge(learner.module, range(24)))
