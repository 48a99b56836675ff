"""How long the main job takes: by effort on the zoo, and beside what users of other tools do for the same result.

Each run begins with an empty store, in a process of its own, imports included. `EDGEWRIGHT_EFFORT_MODELS`: names of
models of the zoo, with commas (default: all).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgewright.bench.latency import Rules, Setup, measure_interleaved
from edgewright.bench.results import Report, faster
from edgewright.demo import scenes, train_detector

from .test_detector import _with_classes

ZOO_TESTS = Path(__file__).parents[1] / "zoo"
MODELS = f"torch:{ZOO_TESTS / 'models.py'}"
CIFAR = "cifar10"
CASES: dict[str, tuple[str, str, str, str]] = {
    "mobilenetv1_025": (
        f"{MODELS}:mobilenetv1?width=0.25", "mobilenetv1_025_keras_imagenet_timm.pt", "mobilenetv1", "imagenet",
    ),
    "mobilenetv1_075": (
        f"{MODELS}:mobilenetv1?width=0.75", "mobilenetv1_075_keras_imagenet_timm.pt", "mobilenetv1", "imagenet",
    ),
    "squeezenet": (
        "torchvision:squeezenet1_1", "squeezenet1_1_caffe_imagenet_torchvision.pt", "squeezenet", "imagenet",
    ),
    "resnet18": ("timm:resnet18?num_classes=10", "resnet18_cifar10_64.safetensors", "cifar64", CIFAR),
    "mobilenetv3_small": (
        "timm:mobilenetv3_small_100?num_classes=10", "mobilenetv3_small_100_cifar10_64.safetensors", "cifar64", CIFAR,
    ),
    "resnet20": (f"{MODELS}:resnet20", "cifar10_resnet20-12fca82f.th", "cifar_resnet", CIFAR),
    "vit": (f"{MODELS}:vit_cifar", "vit_cifar10_d128_depth4_timm.pt", "vit_cifar", CIFAR),
    "fastestdet": ("FastestDet_352_coco.onnx", "", "fastestdet", "coco"),
    "nanodet": ("nanodet_m_320_coco.onnx", "", "nanodet320", "coco"),
    "yolox": ("yolox_nano_416_coco.onnx", "", "yolox", "coco"),
}  # fmt: skip
"""Source, checkpoint, spec and images."""
ASKED = os.environ.get("EDGEWRIGHT_EFFORT_MODELS", ",".join(CASES)).split(",")


def optimize(source: str, data: list[str], out: Path, effort: str) -> tuple[Report, Path, float]:
    """The report, the bundle and the seconds of one run with an empty store."""
    command = [sys.executable, "-m", "edgewright", "optimize", source, *data, "-o", str(out), "--effort", effort]
    store = out.parent / f"{out.name}-store"
    begin = time.monotonic()
    done = subprocess.run(command, env={**os.environ, "EDGEWRIGHT_CACHE": str(store)}, check=False, capture_output=True)
    seconds = time.monotonic() - begin
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    shutil.rmtree(store)
    report = msgspec.json.decode((out / "report.json").read_bytes(), type=Report)
    return report, next(out.glob("*.edge")), seconds


def compared(bundles: dict[str, Path], images: list[str], folder: Path) -> str:
    """How much faster the first of two `bundles` is, measured in one interleaved run."""
    found = measure_interleaved(bundles, images, folder, Setup(rules=Rules(min_duration_s=3.0)))
    one, other = (found[name].latency for name in bundles)
    assert one and other, [timing.reason for timing in found.values()]
    ratio = faster(one, other)
    times = " against ".join(f"{latency.p50_ms:.3g} ms" for latency in (one, other))
    return f"{times}, {ratio.value:.3f}x [{ratio.low:.3f}, {ratio.high:.3f}]" if ratio else times


def verdict(report: Report) -> str:
    """The choice, and how its accuracy stands to the reference."""
    chosen = report.chosen
    assert chosen is not None and report.choice is not None
    delta = chosen.accuracy.delta if chosen.accuracy else None
    return f"{chosen.id} {delta.value:+.2f} {delta.verdict}" if delta else chosen.id


def cifar1000(zoo: Path, folder: Path) -> Path:
    """CIFAR-10 as the zoo has it, with 1000 test images."""
    for split, count in (("test", 100), ("train", 60)):
        for kind in sorted((zoo / CIFAR / split).iterdir()):
            (folder / split / kind.name).mkdir(parents=True)
            for path in sorted(kind.iterdir())[:count]:
                shutil.copy(path, folder / split / kind.name)
    return folder


@pytest.mark.timeout(7200)
@pytest.mark.benchmark(group="effort")
@pytest.mark.parametrize("name", [name for name in CASES if name in ASKED])
def test_normal_chooses_as_thorough_does(benchmark: Any, name: str, zoo: Path, tmp_path: Path) -> None:
    source, checkpoint, spec, images = CASES[name]
    data = ["--spec", str(ZOO_TESTS / "specs" / f"{spec}.toml")]
    if images == "coco":
        source = str(zoo / "weights" / source)
        data += ["--data", str(zoo / "coco-val"), "--calibration", str(zoo / "coco-train")]
        few = sorted((zoo / "coco-val").rglob("*.jpg"))[:4]
    else:
        folder = cifar1000(zoo, tmp_path / "cifar") if images == CIFAR else zoo / images
        data += ["--data", str(folder), "--checkpoint", str(zoo / "weights" / checkpoint)]
        few = sorted(path for path in folder.rglob("*") if path.suffix in (".webp", ".jpg", ".jpeg", ".png"))[:4]
    runs = {effort: optimize(source, data, tmp_path / effort, effort) for effort in ("normal", "thorough")}
    seconds = {effort: run[2] for effort, run in runs.items()}
    ratio = compared({effort: run[1] for effort, run in runs.items()}, [str(path) for path in few], tmp_path / "bench")
    print(f"\n{name}: normal {seconds['normal']:.0f} s, thorough {seconds['thorough']:.0f} s; {ratio}")
    for effort, run in runs.items():
        print(f"  {effort:8} {verdict(run[0])}")
    benchmark.extra_info.update({f"{effort} s": round(value, 1) for effort, value in seconds.items()})
    benchmark.pedantic(lambda: None, rounds=1)


@pytest.mark.timeout(1800)
@pytest.mark.benchmark(group="beside other tools")
def test_beside_ultralytics(benchmark: Any, tmp_path: Path) -> None:
    pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")
    scenes.scenes.write(tmp_path / "scenes")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    _with_classes("yolo11n.yaml", 10, theirs)
    # As a user has it: the calibration images are the train split.
    yolo = train_detector.as_yolo(tmp_path / "scenes", ("calib", "test"), "calib")
    begin = time.monotonic()
    subprocess.run(
        [sys.executable, str(Path(__file__).parent / "peers" / "ultralytics_openvino.py"),
         str(theirs), str(yolo), str(train_detector.WEIGHTS)],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    seconds = {"Ultralytics": time.monotonic() - begin}
    print("\n", msgspec.json.decode((theirs / "found.json").read_bytes()))
    (tmp_path / "scenes.toml").write_text(scenes.SPEC)
    data = [
        "--checkpoint", str(train_detector.WEIGHTS), "--spec", str(tmp_path / "scenes.toml"),
        "--data", str(tmp_path / "scenes"),
    ]  # fmt: skip
    for effort in ("quick", "normal"):
        report, _, seconds[effort] = optimize(scenes.SOURCE, data, tmp_path / effort, effort)
        chosen = report.chosen
        assert chosen is not None and chosen.latency and chosen.accuracy
        print(f"{effort}: {verdict(report)}, mAP {chosen.accuracy.score:.2f}, {chosen.latency.p50_ms:.2f} ms")
    print({name: f"{value:.1f} s" for name, value in seconds.items()})
    benchmark.extra_info.update({f"{name} s": round(value, 1) for name, value in seconds.items()})
    benchmark.pedantic(lambda: None, rounds=1)


@pytest.mark.timeout(1800)
@pytest.mark.benchmark(group="beside other tools")
def test_beside_nncf(benchmark: Any, zoo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cifar"
    for split, origin, count in (("test", "test", 100), ("calib", "train", 30)):
        for kind in sorted((zoo / CIFAR / origin).iterdir()):
            (folder / split / kind.name).mkdir(parents=True)
            for path in sorted(kind.iterdir())[:count]:
                shutil.copy(path, folder / split / kind.name)
    weights = zoo / "weights" / "resnet18_cifar10_64.safetensors"
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    begin = time.monotonic()
    script = Path(__file__).parent / "peers" / "nncf_openvino.py"
    command = [sys.executable, str(script), str(theirs), str(folder), str(weights)]
    subprocess.run(command, check=True, capture_output=True)
    seconds = {"NNCF": time.monotonic() - begin}
    print("\n", msgspec.json.decode((theirs / "found.json").read_bytes()))
    spec = ["--spec", str(ZOO_TESTS / "specs" / "cifar64.toml"), "--checkpoint", str(weights)]
    for effort in ("quick", "normal"):
        run = optimize("timm:resnet18?num_classes=10", [*spec, "--data", str(folder)], tmp_path / effort, effort)
        report, _, seconds[effort] = run
        print(f"{effort}: {verdict(report)}")
    print({name: f"{value:.1f} s" for name, value in seconds.items()})
    benchmark.extra_info.update({f"{name} s": round(value, 1) for name, value in seconds.items()})
    benchmark.pedantic(lambda: None, rounds=1)
