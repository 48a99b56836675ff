"""Inputs and wanted images of a set without calibration images: both parts are read from the same folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.pipeline import images
from edgewright.tasks.restore.spec import Restore

SPEC = ModelSpec(
    name="x", inputs=(Input(height=16, width=16, preprocess=Preprocess(resize="tiles")),),
    task=Restore(scale=2, overlap=4),
)  # fmt: skip


@pytest.mark.parametrize("pairs", [True, False])
def test_a_set_is_divided_into_inputs_with_wanted_images(pairs: bool, tmp_path: Path) -> None:
    for number in range(12):
        image = Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 24, 3), np.uint8))
        for folder, size in (("HR", (24, 20)), ("LR", (12, 10))) if pairs else (("HR", (24, 20)),):
            (tmp_path / "val" / folder).mkdir(parents=True, exist_ok=True)
            image.resize(size).save(tmp_path / "val" / folder / f"{number}.png")
    found = images.gather(tmp_path, None, None, 3, 0)
    evaluation, calibration = images.label(found.evaluation, SPEC), images.as_inputs(found.calibration, SPEC)
    for part in (evaluation, calibration):
        assert part.items
        for item in part.items:
            assert item.pair and Path(item.pair).parent.name == "HR" and Path(item.pair).name == Path(item.path).name
            with Image.open(item.path) as small, Image.open(item.pair) as large:
                assert (2 * small.width, 2 * small.height) == large.size
    assert not {item.pair for item in evaluation.items} & {item.pair for item in calibration.items}
