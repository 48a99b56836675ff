"""Models of other widths as plain files: they come back as they were, and what does not fit is named."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.export import exporter
from edgewright.export.sources import plan, trainable
from edgewright.export.sources.parse import parse
from edgewright.quantize.pruning import groups as grouping

SOURCE = "timm:test_resnet?pretrained=false&num_classes=4"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a narrowed model."""
    folder = tmp_path_factory.mktemp("narrow")
    found = trainable(parse(SOURCE))
    images = torch.zeros(1, 3, 64, 64)
    groups = grouping.find(found.module, found.answers, images).groups
    gone = {g.name: grouping.indices(g, torch.rand(g.channels), g.units // 3) for g in groups}
    changed = grouping.prune(found.module, found.answers, images, gone, groups)
    plan.write(folder, SOURCE, (found.module, changed), made={"by": "a test"})
    torch.save(changed(torch.ones(1, 3, 64, 64)), folder / "answer.pt")
    return folder


def test_a_narrowed_model_comes_back_from_its_two_files(narrow: Path, tmp_path: Path) -> None:
    found = trainable(parse(str(narrow)))
    assert torch.equal(found.module(torch.ones(1, 3, 64, 64)), torch.load(narrow / "answer.pt"))
    spec = exporter.export(str(narrow), tmp_path)
    assert spec.classes == 4
    original = trainable(parse(SOURCE)).module
    assert sum(p.numel() for p in found.module.parameters()) < 0.7 * sum(p.numel() for p in original.parameters())


def test_a_block_that_was_removed_gives_back_what_it_is_given(tmp_path: Path) -> None:
    original = trainable(parse(SOURCE)).module
    changed = copy.deepcopy(original)
    name = "layer1.0"
    parent, _, leaf = name.rpartition(".")
    setattr(changed.get_submodule(parent), leaf, torch.nn.Identity())
    made = plan.write(tmp_path, SOURCE, (original, changed), removed=[name])
    images = torch.rand(1, 3, 64, 64)
    assert made.removed == (name,)
    assert torch.equal(trainable(parse(str(tmp_path))).module(images), changed(images))


def damaged(folder: Path, to: Path, change: dict[str, Any]) -> Path:
    """A copy of a plan's folder whose plan says something else."""
    to.mkdir()
    (to / plan.WEIGHTS).write_bytes((folder / plan.WEIGHTS).read_bytes())
    (to / "plan.json").write_text(json.dumps({**json.loads((folder / "plan.json").read_text()), **change}))
    return to


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"removed": ["no.such"]}, "removes 'no.such'"),
        ({"attributes": {"conv1": {"no_such": 3}}}, "sets 'conv1.no_such'"),
        ({"shapes": {}}, "The weights '.*' are"),
        ({"source": "timm:test_vit?num_classes=4"}, "differ in the weights|which the source does not have"),
        ({"schema_version": 99}, "schema version 99"),
    ],
)
def test_what_does_not_fit_is_named(narrow: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = damaged(narrow, tmp_path / "wrong", change)
    with pytest.raises(InvalidInput, match=message):
        trainable(parse(str(folder)))


def test_a_plan_calls_no_factory_unless_it_is_trusted(narrow: Path, tmp_path: Path) -> None:
    folder = damaged(narrow, tmp_path / "evil", {"source": "torch:os:system?command=true"})
    with pytest.raises(IntegrityError, match="os:system"):
        trainable(parse(str(folder)))


def test_weights_that_were_cut_off_are_named(narrow: Path, tmp_path: Path) -> None:
    folder = damaged(narrow, tmp_path / "short", {})
    (folder / plan.WEIGHTS).write_bytes((narrow / plan.WEIGHTS).read_bytes()[:-100])
    with pytest.raises(InvalidInput, match="is damaged"):
        trainable(parse(str(folder)))
    with pytest.raises(InvalidInput, match="was given with a checkpoint"):
        trainable(parse(str(narrow)), checkpoint="x.pt")
