"""The segmentation demo: optimize a small U-Net, trained on scenes of handwritten digits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright import api
from edgewright.core import files
from edgewright.core.store import Store
from edgewright.data import scenes
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.stages.runner import StageRunner, Watch, quiet
from edgewright.tasks.segment.draw import draw
from edgewright.vision.draw import save

from . import images
from .train_segmenter import SIDE, WEIGHTS

if TYPE_CHECKING:
    from edgewright.tasks.contract import Line

FOLDER = "build/demo-segment"
"""The default output folder."""
SOURCE = f"torch:edgewright.demo.segmenter:build?classes={len(scenes.REGIONS)}"
RECIPE = Recipe(methods=("minmax", "nncf", "nncf-round"), normalize=("host",), min_duration_s=1.0)
SPEC = f"""\
name = "regions"
task = "segment"
labels = {json.dumps(scenes.REGIONS)}

[input]
height = {SIDE}
width = {SIDE}

[preprocess]
resize = "exact"
resize_to = [{SIDE}, {SIDE}]
interpolation = "bilinear"
"""
COUNTS = {"calib": scenes.COUNTS["calib"], "test": 200}
"""Number of scenes in each split."""


def run(out: Path, *, recipe: Recipe | None = None, watch: Watch = quiet) -> api.Outcome:
    """Write the scenes and optimize the network with the weights of the package. All output goes to `out`."""
    out = files.absolute(out)
    files.require_writable(out, "Name another folder: -o DIR")
    store = Store()
    store.require_writable()
    data = out / "scenes"
    images.write(StageRunner(store=store, watch=watch), data, {"train", *scenes.COUNTS}, parts())
    with files.new_folder(out / "model") as folder:
        shutil.copyfile(WEIGHTS, folder / WEIGHTS.name)
        (folder / f"{WEIGHTS.stem}.toml").write_text(SPEC)
    return api.optimize(
        SOURCE, checkpoint=out / "model" / WEIGHTS.name, data=data, out=out, recipe=recipe or RECIPE, watch=watch
    )


def parts() -> list[images.Part]:
    """The scenes of each split, with maps of classes."""
    return [
        images.Part(f"maps: {split}", f"{scenes.__name__}:draw_maps", {"split": split, "count": count})
        for split, count in COUNTS.items()
    ]


def show(outcome: api.Outcome, out: Path, count: int = 3) -> Iterator[Line]:
    """Lines for the first `count` test scenes with the predictions of the chosen bundle; draws them to
    ``out/drawn``."""
    from edgewright.runtimes.session import open as open_bundle

    yield ("Three test scenes through the bundle:",)
    if outcome.best is None:
        return
    paths = sorted((files.absolute(out) / "scenes" / "test" / "images").glob("*.png"))[:count]
    with open_bundle(outcome.best.path) as session:
        answers = session(list(paths))
    saved = save(draw, paths, answers, files.absolute(out) / "drawn", session.spec.preprocess.turns)
    for path, answer in zip(paths, answers):
        first, *_ = answer.lines()
        yield f"  {saved[path]}  →  ", *first
