"""A detector beside Ultralytics' own tools, interleaved in one run: outside its network, and from image to boxes.

Outside: one 1280x720 frame in memory, YOLO11n at 640; in place of the network both sides get the same answer with 20
objects. The library's predictor is called as an application calls it, and its pre- and postprocessing alone are shown
beside. OpenCV has as many threads as it has where either side is alone in a process: Ultralytics sets one, we leave the
default; what one thread gives us is shown too. Ultralytics decodes distances and scores of all cells inside its
network, we those of the few that count outside: what its decoding takes is shown by itself, and the ratio with and
without it.

Over ONNX Runtime float32: what the main job chooses for detectors with real weights and photos, inside the default
budget, among the methods that they keep their boxes by. Of YOLO11n the weights are random: only latency is looked at.

From image to boxes: the demo's detector through the main job, and through ``yolo export format=openvino int8=True``
with the same calibration images, on the same test scenes with the same thresholds, scored by the same mAP.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from pytest_benchmark.fixture import BenchmarkFixture

from edgewright import api
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.pipeline.candidates import hardswish
from edgewright.pipeline.recipe import Recipe
from edgewright.tasks.detect.decode import read
from edgewright.tasks.detect.spec import Detect
from edgewright.vision import preprocess

SIDE, OBJECTS = 640, 20
SPEC = ModelSpec(
    name="yolo11n",
    inputs=(
        Input(
            height=SIDE,
            width=SIDE,
            preprocess=Preprocess(resize="letterbox", resize_to=(SIDE, SIDE), interpolation="opencv"),
        ),
    ),
    outputs=("head",),
    task=Detect(decoder="dfl", scores="sigmoid", classes=80),
)

FOLDED = SPEC.with_input(
    dtype="uint8", layout="NHWC", preprocess=replace(SPEC.preprocess, normalize="graph"),
)  # fmt: skip
"""The same with normalization inside the graph: what a bundle with "+uint8" in its name takes."""


def frame() -> np.ndarray:
    """(720, 1280, 3) uint8, smooth with some texture."""
    y, x = np.mgrid[:720, :1280]
    waves = 128 + 90 * np.sin(x / 60 + np.arange(3)[:, None, None]) * np.cos(y / 80)
    noise = np.random.default_rng(0).normal(0, 8, waves.shape)
    return (waves + noise).clip(0, 255).astype(np.uint8).transpose(1, 2, 0).copy()


def head() -> np.ndarray:
    """(1, 144, 8400) float32: logits as a trained YOLO11n gives them, with `OBJECTS` objects of eight cells each."""
    random = np.random.default_rng(1)
    out = random.normal(0, 1, (1, 144, 8400)).astype(np.float32)
    out[:, 64:] -= 11
    for _ in range(OBJECTS):
        cell, kind = int(random.integers(8000)), int(random.integers(80))
        out[0, 64 + kind, cell : cell + 8] = random.uniform(-0.5, 3, 8)
    return out


def medians(
    contestants: dict[str, Callable[[], object]], rounds: int = 40, ahead: Callable[[str], object] = lambda _: None
) -> dict[str, float]:
    """Median wall seconds of each contestant, called in turns of ten; `ahead` of each turn, with its name.

    The first three calls of a turn do not count: another contestant's threads still spin, and its data fill the caches.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 2):
        for name, run in contestants.items():
            ahead(name)
            for call in range(10):
                start = time.perf_counter()
                run()
                if turn >= 2 and call >= 3:
                    seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


@pytest.mark.benchmark(group="outside the network")
def test_outside_the_network(benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    ultralytics = pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")
    import cv2
    import torch

    from edgewright.vision import resize

    rgb, raw = frame(), head()
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    model = ultralytics.YOLO("yolo11n.yaml")
    model.predict(bgr, imgsz=SIDE, rect=False, verbose=False, device="cpu")
    predictor, layer = model.predictor, model.model.model[-1]
    parts = {
        "boxes": torch.from_numpy(raw[:, :64]), "scores": torch.from_numpy(raw[:, 64:]),
        "feats": [torch.zeros(1, 1, SIDE // s, SIDE // s) for s in (8, 16, 32)],
    }  # fmt: skip

    def library_decode() -> Any:
        with torch.inference_mode():
            return layer._inference(parts)

    theirs = library_decode()
    untouched = theirs.clone()

    def library_before() -> Any:
        return predictor.preprocess([bgr])

    x = library_before()

    def library_after() -> Any:
        predictor.batch = (["frame"], None, None)
        with torch.inference_mode():
            return predictor.postprocess(theirs, x, [bgr])

    def ours_before() -> Any:
        return preprocess.batch([rgb], SPEC)

    def ours_before_uint8() -> Any:
        return preprocess.batch([rgb], FOLDED)

    def ours_after() -> Any:
        return read([raw], SPEC, [(1280, 720)])

    def library_call() -> Any:
        return predictor(bgr)

    monkeypatch.setattr(predictor, "inference", lambda *_, **__: theirs)
    with monkeypatch.context() as patch:
        patch.setattr(resize, "_opencv", lambda: None)
        plain = medians({"numpy": ours_before}, 5)["numpy"]
    np.testing.assert_allclose(ours_before(), x.numpy(), atol=1e-6)
    (a,), (b,), (c,) = ours_after(), library_after(), library_call()
    assert len(a) == len(b) == len(c) > OBJECTS / 2
    found = medians(
        {
            "library": library_call, "library before": library_before, "before": ours_before,
            "library after": library_after, "after": ours_after, "decode": library_decode,
            "copy": lambda: x.numpy().copy(), "before, uint8": ours_before_uint8,
            "before, one thread": ours_before, "before, uint8, one thread": ours_before_uint8,
        },
        ahead=lambda name: cv2.setNumThreads(-1 if name in ("before", "before, uint8") else 0),
    )  # fmt: skip
    cv2.setNumThreads(-1)  # as it is without Ultralytics, for the last line below and the tests that follow
    assert torch.equal(theirs, untouched), "the library works on it in place: give it a copy"
    ms = {name: f"{value * 1e3:.2f}" for name, value in found.items()}
    ours = found["before"] + found["after"]
    without, library = plain + found["after"], found["library"]
    print(
        f"\npreprocess {ms['before']} ms (Ultralytics {ms['library before']}; without OpenCV {plain * 1e3:.2f}), "
        f"postprocess {ms['after']} ({ms['library after']}). Its predictor spends {ms['library']} ms outside its "
        f"network: ours is {ours / library:.2f} of it ({without / library:.2f} without OpenCV). With its decoding, "
        f"{ms['decode']} ms inside the network: {ours / (library + found['decode']):.2f} "
        f"({without / (library + found['decode']):.2f}). Copying the input takes {ms['copy']} ms. "
        f"Where the graph normalizes, preprocessing takes {ms['before, uint8']} ms and ours is "
        f"{(found['before, uint8'] + found['after']) / library:.2f} of the predictor's. "
        f"With OpenCV's one thread instead of {cv2.getNumThreads()}: "
        f"{(found['before, one thread'] + found['after']) / library:.2f}, and "
        f"{(found['before, uint8, one thread'] + found['after']) / library:.2f} where the graph normalizes."
    )
    benchmark.extra_info.update({name: round(value * 1e3, 3) for name, value in found.items()})
    benchmark.pedantic(lambda: (ours_before(), ours_after()), rounds=20)


@pytest.mark.timeout(3600)
@pytest.mark.benchmark(group="over ONNX Runtime float32")
@pytest.mark.parametrize("name", ["yolox_nano_416", "nanodet_m_320", "yolo11n_320"])
def test_best_over_onnxruntime_float32(benchmark: BenchmarkFixture, name: str, zoo: Path, tmp_path: Path) -> None:
    if name == "yolo11n_320":
        source, more = "ultralytics:yolo11n.yaml?imgsz=320", {"budget": "p50 <= 1000ms"}
    else:
        spec = {"yolox_nano_416": "yolox", "nanodet_m_320": "nanodet320"}[name]
        source = str(zoo / "weights" / f"{name}_coco.onnx")
        more = {"spec": Path(__file__).parents[1] / "zoo" / "specs" / f"{spec}.toml"}
    recipe = Recipe(effort="thorough", methods=("nncf", "nncf-round", "round-mixed"), hardswish=hardswish.SHARES)
    job = {
        "data": zoo / "coco-val",
        "calibration": zoo / "coco-train",
        "out": tmp_path / "out",
        "recipe": recipe,
        **more,
    }
    report = benchmark.pedantic(lambda: api.optimize(source, **job), rounds=1).report
    rows = {m.id: m for m in report.measurements if m.latency and m.latency.p50_ms}
    base = rows["onnxruntime-f32"].latency.p50_ms
    print(f"\n{name}")
    for row in sorted(rows.values(), key=lambda row: row.latency.p50_ms):
        mark = ">" if report.choice and row.id == report.choice.id else " "
        kept = row.accuracy and row.accuracy.delta
        loss = f"{kept.value:+5.1f} [{kept.low:+.1f},{kept.high:+.1f}]" if kept else ""
        scores = row.accuracy.confidence if row.accuracy else None
        loss += f", scores {scores.shift:+.3f}" if scores else ""
        parts = [row.latency.preprocess_p50_ms, row.latency.runtime_p50_ms, row.latency.postprocess_p50_ms]
        told = " + ".join(f"{part:.2f}" for part in parts if part is not None)
        took = f"{row.latency.p50_ms:6.2f} ms ({told})  {base / row.latency.p50_ms:5.2f}x"
        print(f"{mark} {row.id:<42} {took}  {loss}")
    assert report.choice and report.choice.id and any(row.precision == "int8" for row in rows.values())
    print(report.choice.why)


@pytest.mark.benchmark(group="image to boxes")
def test_image_to_boxes(benchmark: BenchmarkFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ultralytics = pytest.importorskip("ultralytics", reason="the extra edgewright[ultralytics] is not installed")
    from safetensors.torch import load_file

    import edgewright
    from edgewright.boxes.average_precision import average_precision
    from edgewright.data import sets
    from edgewright.demo import scenes, train_detector
    from edgewright.vision.image import open_image

    recipe = Recipe(effort="thorough", runtimes=("openvino",), methods=scenes.RECIPE.methods, finalists=0)
    outcome = scenes.run(tmp_path / "ours", recipe=recipe)
    assert outcome.best is not None

    monkeypatch.chdir(tmp_path)
    model = ultralytics.YOLO(_with_classes("yolo11n.yaml", 10, tmp_path))
    model.model.load_state_dict(load_file(train_detector.WEIGHTS), strict=False)
    model.model.names = dict(enumerate(scenes.scenes.NAMES))
    data = train_detector.as_yolo(tmp_path / "ours" / "scenes", ("calib", "test"), "calib")
    kind: dict[str, Any] = {"format": "openvino", "imgsz": train_detector.SIDE, "data": str(data), "verbose": False}
    exported = {
        "Ultralytics f32": ultralytics.YOLO(model.export(**kind), task="detect"),
        "Ultralytics int8": ultralytics.YOLO(model.export(**kind, int8=True), task="detect"),
    }
    items = sets.read(tmp_path / "ours" / "scenes", "test").items
    frames = [np.asarray(open_image(item.path)) for item in items]
    found: dict[str, list[np.ndarray]] = {"edgewright": [], **{name: [] for name in exported}}
    seconds: dict[str, list[float]] = {name: [] for name in found}
    with edgewright.open(outcome.best.path) as session:
        asked = {"edgewright": lambda frame, least: session(frame, least)} | {
            name: lambda frame, least, net=net: net.predict(
                frame[..., ::-1], imgsz=train_detector.SIDE, conf=least, iou=0.7, verbose=False
            )[0]
            for name, net in exported.items()
        }
        for number, frame in enumerate(frames):
            for name, ask in asked.items():
                answer = ask(frame, 0.001)
                boxes = (
                    answer.boxes.data.numpy()
                    if name != "edgewright"
                    else np.hstack([answer.boxes, answer.scores[:, None], answer.indices[:, None]])
                )
                found[name].append(np.hstack([np.full((len(boxes), 1), number), boxes]).astype(np.float32))
            for name, ask in asked.items():
                start = time.perf_counter()
                ask(frame, 0.25)
                seconds[name].append(time.perf_counter() - start)
        benchmark.pedantic(lambda: session(frames[0]), rounds=20)
    scores = {name: average_precision(np.concatenate(rows), items, 10).map for name, rows in found.items()}
    ms = {name: statistics.median(values) * 1e3 for name, values in seconds.items()}
    print(f"\nchosen: {outcome.report.choice and outcome.report.choice.id}")
    for name in found:
        print(f"{name:17} {ms[name]:6.2f} ms  mAP {scores[name]:.2f}  {ms['Ultralytics int8'] / ms[name]:.2f}x")
    benchmark.extra_info.update({f"{name} ms": round(value, 3) for name, value in ms.items()})
    benchmark.extra_info.update({f"{name} mAP": round(value, 2) for name, value in scores.items()})


def _with_classes(name: str, classes: int, folder: Path) -> Path:
    """The library's model description `name` for another number of classes, as a file in `folder`."""
    import yaml
    from ultralytics.nn.tasks import yaml_model_load

    described = {**yaml_model_load(name), "nc": classes}
    path = folder / name
    path.write_text(yaml.safe_dump({key: value for key, value in described.items() if key != "yaml_file"}))
    return path
