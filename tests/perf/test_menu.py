"""How long INT8 takes: every method of the menu, statistics collected once, and distillation of a 2.5 M model.

EDGEWRIGHT_ZOO=... pytest tests/perf/test_menu.py --benchmark-only -s
"""

from __future__ import annotations

import runpy
import time
from pathlib import Path
from typing import Any

import pytest

from edgewright import api
from edgewright.quantize import methods

pytestmark = pytest.mark.zoo
ZOO = Path(__file__).parents[1] / "zoo"
CASES = runpy.run_path(str(ZOO / "test_main_job.py"))["CASES"]


def test_the_menu_of_a_mobilenet(benchmark: Any, zoo: Path, tmp_path: Path) -> None:
    case = CASES["mobilenetv1_075"]
    model, images = tmp_path / "float.onnx", linked(zoo / case.data, tmp_path / "images", 100)
    spec, weights = ZOO / "specs" / f"{case.spec}.toml", zoo / "weights" / case.checkpoint
    api.export(case.source, out=model, checkpoint=weights, spec=spec, data=zoo / case.data)
    learned = {name for name, method in methods.OTHERS.items() if method.needs("checkpoint")}

    def menu() -> None:
        for name in methods.METHODS | methods.OTHERS:
            if name in learned:
                continue
            begin = time.monotonic()
            out = tmp_path / f"{name}.onnx"
            api.quantize(model, calibration=images, out=out, method=name, num_images=100)
            print(f"{name:<18} {time.monotonic() - begin:6.1f} s")

    benchmark.pedantic(menu, rounds=1)
    print(f"all of them        {benchmark.stats.stats.max:6.1f} s")


def test_distillation_of_a_model_with_2_5_million_weights(benchmark: Any, zoo: Path, tmp_path: Path) -> None:
    model, data = tmp_path / "float.onnx", zoo / CASES["mobilenetv1_075"].data
    api.export("timm:mobilenetv3_small_100?pretrained=false", out=model, data=data)
    images = linked(data, tmp_path / "images", 500)
    run = {"calibration": images, "out": tmp_path / "int8.onnx", "method": methods.DISTIL, "num_images": 500}
    benchmark.pedantic(lambda: api.quantize(model, **run), rounds=1)
    print(f"{len(list(images.iterdir()))} images {benchmark.stats.stats.max:6.1f} s")


def linked(data: Path, folder: Path, count: int) -> Path:
    """A folder of `count` of the images below `data`."""
    folder.mkdir()
    for path in sorted(data.rglob("*.webp"))[:count]:
        (folder / path.name).symlink_to(path)
    return folder
