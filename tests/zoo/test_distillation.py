"""A student with random weights learns from a real teacher on real images."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewright import api
from edgewright.core import files
from edgewright.data import sets
from edgewright.quantize.distillation.schedule import Schedule

pytestmark = [pytest.mark.zoo, pytest.mark.slow, pytest.mark.timeout(3600)]


def test_a_student_learns_from_resnet18_without_labels(zoo: Path, tmp_path: Path) -> None:
    for split, count in (("train", 3000), ("test", 500)):
        found = sets.read(zoo / "cifar10", split)
        for item in sets.spread(found.items, count):
            assert item.label is not None
            files.write(
                tmp_path / split / found.classes[item.label] / Path(item.path).name, Path(item.path).read_bytes()
            )
    found = api.distill(
        "timm:resnet18?num_classes=10", checkpoint=zoo / "weights" / "resnet18_cifar10_64.safetensors",
        spec=Path(__file__).parent / "specs" / "cifar64.toml", student="timm:mobilenetv3_small_050?pretrained=false",
        data=tmp_path, out=tmp_path / "small", schedule=Schedule(epochs=4, batch=32), labels=False,
    )  # fmt: skip
    losses = [epoch.loss for epoch in found.history.epochs]
    assert losses == sorted(losses, reverse=True), losses
    assert found.history.mirror and found.history.feeding < 0.2
    assert found.history.ended > found.history.began + 8
    student, teacher = found.accuracy_student, found.accuracy_teacher
    assert teacher.score is not None and student.score is not None and student.delta is not None
    assert teacher.score > 75
    assert student.score > 18, "chance is 10"
    print(f"teacher {teacher.score:.1f}, student {student.score:.1f}, {found.history.images_per_s:.0f} images/s")
