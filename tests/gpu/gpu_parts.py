"""What is measured on a GPU: each part is a function of a `Setting` that gives a table."""

from __future__ import annotations

import contextlib
import copy
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import gpu_models
import msgspec
import numpy as np
from gpu_models import Model, Setting, answers, median, opened, pixels, why
from PIL import Image

from edgewright import tasks
from edgewright.core.errors import Unavailable
from edgewright.core.statistics import sqnr_db
from edgewright.runtimes import artifact
from edgewright.runtimes import torch as reference
from edgewright.runtimes.options import Options

MODES = ("float32", "TF32", "FP16", "bf16")
BATCHES = (1, 32)
WARM, LEAST = 20, 10
"""Calls before the first that counts, and fewest that count."""


class Table(msgspec.Struct, kw_only=True):
    """A part's figures: a sentence on what they are, a heading, and rows of text, as many cells as the heading has."""

    note: str
    head: list[str]
    rows: list[list[str]]


def filled(
    setting: Setting, note: str, head: list[str], rows: Iterable[tuple[list[str], Callable[[], list[list[str]]]]]
) -> Table:
    """A table of rows that are measured one after the other; one that fails says why, in place of its figures.

    What would begin after the setting's time is not begun.
    """
    table = Table(note=note, head=head, rows=[])
    for named, measure in rows:
        try:
            if time.monotonic() > setting.until:
                raise TimeoutError("the part's time was up")
            table.rows += measure()
        except Exception as error:
            table.rows.append([*named, f"not run: {why(error)}", *[""] * (len(head) - len(named) - 1)])
    return table


# --- what all others need ---------------------------------------------------------------------------------------------


def prepare(setting: Setting) -> Table:
    """Export all models."""

    def one(model: Model) -> list[list[str]]:
        begin = time.monotonic()
        gpu_models.export(setting, model)
        return [[model.name, model.source.rpartition("/")[2], f"{time.monotonic() - begin:.1f}"]]

    return filled(
        setting,
        "From the source to ONNX and a torch program, parity included.", ["model", "source", "seconds"],
        (([model.name], lambda model=model: one(model)) for model in setting.models),
    )  # fmt: skip


# --- the reference ----------------------------------------------------------------------------------------------------


def accuracy(setting: Setting) -> Table:
    """The reference on the GPU, image by image against that on the CPU, and the other precisions beside it."""

    def one(model: Model) -> list[list[str]]:
        spec, labelled, x = setting.spec(model), gpu_models.items(setting, model), pixels(setting, model)
        wanted = answers(setting, model, x)
        rows = []
        for mode in MODES:
            handle = opened(setting, model, setting.device)
            call = precise(handle, mode)
            found = np.concatenate([call(x[i : i + 50]) for i in range(0, len(x), 50)])
            differ = int((found.argmax(1) != wanted.argmax(1)).sum())
            apart = np.abs(found - wanted).max(1) / np.maximum(np.abs(wanted).max(1), 1e-9)
            scores = ["", ""]
            if labelled:
                compared = tasks.of(spec).metric.compare(found, wanted, labelled, spec)
                delta = compared.delta
                points = f"{delta.value:+.2f} [{delta.low:+.2f}, {delta.high:+.2f}]" if delta else ""
                scores = [f"{compared.score:.2f}", points]
            apart_text, near = f"{apart.max():.1e}", f"{sqnr_db(found, wanted):.1f}"
            rows.append([model.name, mode, str(len(x)), *scores, str(differ), apart_text, near])
        return rows

    return filled(
        setting,
        "Against float32 on the CPU of the same machine, on the same images. float32 is what reports call the "
        "reference (TF32 off, deterministic); FP16 and bf16 are the whole network in that type.",
        ["model", "on the GPU", "images", "top-1 %", "points, 90 %", "other answers", "farthest logit", "SQNR dB"],
        (([model.name], lambda model=model: one(model)) for model in setting.models),
    )  # fmt: skip


def precise(handle: reference.Handle, mode: str) -> Callable[[np.ndarray], np.ndarray]:
    """A call of the reference's network in the precision `mode`, from a numpy batch to numpy logits."""
    torch = handle.torch
    if mode == "float32":
        return lambda x: reference.run(handle, x)[0]
    module, dtype = cast(handle, mode)

    def call(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), fast(torch, mode):
            found: np.ndarray = module(torch.from_numpy(x).to(handle.device, dtype)).float().cpu().numpy()
        return found

    return call


def cast(handle: reference.Handle, mode: str) -> tuple[Any, Any]:
    """The network in the type of `mode`, and that type."""
    torch = handle.torch
    dtype = {"FP16": torch.float16, "bf16": torch.bfloat16}.get(mode, torch.float32)
    return handle.module.to(dtype), dtype


@contextlib.contextmanager
def fast(torch: Any, mode: str) -> Iterator[None]:
    """As an application sets torch for speed: cuDNN chooses by trying, TF32 where `mode` asks for it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if mode == "TF32" else "highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=mode == "TF32"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


# --- latency ----------------------------------------------------------------------------------------------------------


def latency(setting: Setting) -> Table:
    """Latency of one inference whose input is on the GPU, by CUDA events: call by call, and as one CUDA graph."""

    def one(model: Model, size: int, mode: str) -> list[list[str]]:
        handle = opened(setting, model, setting.device)
        torch, (module, dtype) = handle.torch, cast(handle, mode)
        x = torch.from_numpy(np.resize(pixels(setting, model, 1), (size, *setting.spec(model).input.shape(1)[1:])))
        x = x.to(setting.device, dtype)
        with torch.inference_mode(), fast(torch, mode):
            eager = timed(lambda: module(x), setting)
            try:
                graph = median(timed(captured(torch, lambda: module(x)), setting)) if setting.device == "cuda" else ""
            except Exception as error:
                graph = f"not captured: {why(error)}"
        return [[model.name, str(size), mode, median(eager), graph]]

    return filled(
        setting,
        "Milliseconds, median / 90th percentile, between two CUDA events around the network alone: its input lies on "
        "the GPU, its answer stays there. A CUDA graph is captured once and launched for each inference.",
        ["model", "images", "precision", "calls", "CUDA graph"],
        (
            ([model.name, str(size), mode], lambda model=model, size=size, mode=mode: one(model, size, mode))
            for model in setting.models
            for size in BATCHES
            for mode in MODES
        ),
    )  # fmt: skip


def timed(call: Callable[[], Any], setting: Setting, most: int = 2000) -> list[float]:
    """Seconds of each of many calls, by events of the GPU, or by the clock on a CPU."""
    for _ in range(WARM):
        call()
    times: list[float] = []
    end = time.monotonic() + setting.seconds
    while (time.monotonic() < end or len(times) < LEAST) and len(times) < most:
        times += _by_events(call) if setting.device == "cuda" else [by_clock(call)]
    return times


def _by_events(call: Callable[[], Any], count: int = 20) -> list[float]:
    import torch

    marks = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    torch.cuda.synchronize()
    marks[0].record()
    for mark in marks[1:]:
        call()
        mark.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) / 1e3 for a, b in itertools.pairwise(marks)]


def by_clock(call: Callable[[], Any]) -> float:
    """Seconds of one call that ends with its answer."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def captured(torch: Any, call: Callable[[], Any]) -> Callable[[], Any]:
    """`call` as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    replay: Callable[[], Any] = graph.replay
    return replay


# --- other runtimes ---------------------------------------------------------------------------------------------------

PROVIDERS: dict[str, tuple[tuple[str, str, dict[str, str]], ...]] = {
    "cuda": (
        ("float32", "CUDAExecutionProvider", {"use_tf32": "0"}),
        ("TF32", "CUDAExecutionProvider", {"use_tf32": "1"}),
        ("float32", "TensorrtExecutionProvider", {}),
        ("FP16", "TensorrtExecutionProvider", {"trt_fp16_enable": "1"}),
    ),
    "cpu": (("float32", "CPUExecutionProvider", {}),),
}


def providers(setting: Setting) -> Table:
    """ONNX Runtime's CUDA and TensorRT providers on the exported files."""
    import onnxruntime as ort

    if setting.device == "cuda" and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA and cuDNN of torch's wheels
    there = ort.get_available_providers()

    def one(model: Model, mode: str, provider: str, options: dict[str, str]) -> list[list[str]]:
        if provider not in there:
            raise Unavailable(f"onnxruntime {ort.__version__} has no {provider} here.", f"It has {', '.join(there)}.")
        begin = time.monotonic()
        session = ort.InferenceSession(setting.files(model) / "model.onnx", providers=[(provider, options)])
        opening = time.monotonic() - begin
        if session.get_providers()[0] != provider:
            raise Unavailable(f"{provider} did not start.", f"It fell back to {session.get_providers()[0]}.")
        x = pixels(setting, model)[:64]
        name = session.get_inputs()[0].name
        found = np.concatenate([session.run(None, {name: row[None]})[0] for row in x])
        wanted = answers(setting, model, x)
        bound = session.io_binding()
        bound.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(x[:1].copy(), setting.device, 0))
        bound.bind_output(session.get_outputs()[0].name, setting.device)

        def call() -> None:
            session.run_with_iobinding(bound)
            bound.synchronize_outputs()

        for _ in range(WARM):
            call()
        end, times = time.monotonic() + setting.seconds, [by_clock(call) for _ in range(LEAST)]
        while time.monotonic() < end:
            times.append(by_clock(call))
        same = f"{100 * float((found.argmax(1) == wanted.argmax(1)).mean()):.1f}"
        return [
            [model.name, provider.removesuffix("ExecutionProvider"), mode, f"{opening:.1f}", median(times), same,
             f"{sqnr_db(found, wanted):.1f}"]
        ]  # fmt: skip

    return filled(
        setting,
        f"onnxruntime {ort.__version__}; milliseconds of a call, median / 90th percentile, input and output bound on "
        "the GPU; answers against float32 on the CPU on up to 64 images.",
        ["model", "provider", "precision", "start s", "ms", "same answer %", "SQNR dB"],
        (
            ([model.name, provider.removesuffix("ExecutionProvider"), mode],
             lambda given=(model, mode, provider, options): one(*given))
            for mode, provider, options in PROVIDERS[setting.device]
            for model in setting.models
        ),
    )  # fmt: skip


def tensorrt_rtx(setting: Setting) -> Table:
    """Plans of TensorRT for RTX, built and run through our session."""
    return _plans(setting, "tensorrt_rtx")


def tensorrt(setting: Setting) -> Table:
    """Plans of TensorRT, built and run through our session."""
    return _plans(setting, "tensorrt")


def _plans(setting: Setting, library: str) -> Table:
    from edgewright.runtimes.tensorrt import library as libraries

    bindings = libraries.bindings(library)
    with mock.patch.object(libraries, "NAMES", (library,)):
        return filled(
            setting,
            f"{libraries.identity(bindings)}. Milliseconds of a whole call of our session, from an array in memory to "
            "an array in memory, median / 90th percentile; answers against float32 on the CPU on up to 64 images. INT8 "
            "is our file (`minmax`, 100 images).",
            ["model", "precision", "build s", "ms", "same answer %", "SQNR dB", "CUDA graph", "layers"],
            (
                ([model.name, mode], lambda model=model, mode=mode: _plan(setting, model, mode, library))
                for model in setting.models
                for mode in ("f32", "f16", "int8")
                if mode != "int8" or (model.data and model.data[0] == "imagenet")
            ),
        )  # fmt: skip


def _plan(setting: Setting, model: Model, mode: str, library: str) -> list[list[str]]:
    from edgewright.runtimes.session import open_measured

    folder = setting.work / library / setting.files(model).name / mode
    file = int8(setting, model) if mode == "int8" else setting.files(model) / "model.onnx"
    begin = time.monotonic()
    options = Options(runtime="tensorrt", precision="f16" if mode == "int8" else mode)  # type: ignore[arg-type]
    artifact.build(file, setting.spec(model), options, folder)
    built = time.monotonic() - begin
    x = pixels(setting, model)[:64]
    wanted = answers(setting, model, x)
    with open_measured(folder) as session:
        found = np.concatenate([session.run(row[None])[0] for row in x])
        end, times = time.monotonic() + setting.seconds, [by_clock(lambda: session.run(x[:1])) for _ in range(LEAST)]
        while time.monotonic() < end:
            times.append(by_clock(lambda: session.run(x[:1])))
        ran = session.describe()
    layers = ", ".join(f"{count} {kind}" for kind, count in sorted(ran["census"].items()))
    same = f"{100 * float((found.argmax(1) == wanted.argmax(1)).mean()):.1f}"
    return [
        [model.name, mode, f"{built:.1f}", median(times), same, f"{sqnr_db(found, wanted):.1f}",
         "yes" if ran["cuda_graph"] else "no", layers]
    ]  # fmt: skip


def int8(setting: Setting, model: Model) -> Path:
    """Our INT8 file of `model` for TensorRT, made once."""
    from edgewright import api

    path = setting.files(model) / "int8.onnx"
    if not path.exists():
        assert setting.zoo and model.data
        api.quantize(
            setting.files(model) / "model.onnx", calibration=setting.zoo / model.data[0], out=path, scheme="tensorrt",
            method="minmax", num_images=100,
        )  # fmt: skip
    return path


# --- training ---------------------------------------------------------------------------------------------------------


def training(setting: Setting) -> Table:
    """An epoch of our own training (a student under its teacher), in float32 and in bf16."""
    from edgewright.export.sources import trainable
    from edgewright.export.sources.parse import parse
    from edgewright.quantize.distillation import train
    from edgewright.quantize.distillation.schedule import Schedule

    model = next((model for model in setting.models if model.data), setting.models[0])
    weights = str(setting.zoo / "weights" / model.checkpoint) if setting.zoo and model.checkpoint else None
    teacher = trainable(parse(model.source), weights)
    images = _images(setting, model)

    def one(precision: str) -> list[list[str]]:
        student = copy.deepcopy(teacher.module)
        how = train.Distillation(
            spec=setting.spec(model), schedule=Schedule(epochs=1, precision=precision, batch=16, lr=1e-4)  # type: ignore[arg-type]
        )  # fmt: skip
        found = train.recover(student, teacher.module, images, teacher.answers, how)
        computed = found.images_per_s / max(1e-9, 1 - found.feeding)
        loss = found.epochs[0].loss
        if not np.isfinite(loss):
            raise ArithmeticError(f"the loss is {loss}")
        return [
            [model.name, found.precision, found.device, str(found.images), f"{loss:.4f}", f"{found.began:.1f}",
             f"{found.ended:.1f}", f"{computed:.0f}", f"{100 * found.feeding:.0f} %"]
        ]  # fmt: skip

    return filled(
        setting,
        "One epoch of a student that begins as a copy of its teacher; agreement with the teacher on held-out images "
        "before and after, images a second of the computation alone, and the share of the time that goes into images.",
        ["model", "products", "device", "images", "loss", "before %", "after %", "images/s", "feeding"],
        (([model.name, mode], lambda mode=mode: one(mode)) for mode in ("f32", "bf16")),
    )  # fmt: skip


def _images(setting: Setting, model: Model, count: int = 320) -> list[str]:
    if found := gpu_models.items(setting, model):
        return [item.path for item in found[:count]]
    folder, random = setting.work / "pictures", np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(min(count, setting.images)):
        noise = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8))
        noise.resize((64, 64)).save(folder / f"{number}.png")
    return sorted(str(path) for path in folder.glob("*.png"))


class Part(msgspec.Struct, frozen=True):
    """A part of the page: its heading, what measures it, and the seconds that it may take."""

    title: str
    run: Callable[[Setting], Table]
    limit_s: float


PARTS = {
    "prepare": Part("What was exported", prepare, 120),
    "accuracy": Part("The reference", accuracy, 130),
    "latency": Part("Latency of torch", latency, 110),
    "providers": Part("ONNX Runtime", providers, 90),
    "tensorrt_rtx": Part("TensorRT for RTX", tensorrt_rtx, 90),
    "tensorrt": Part("TensorRT", tensorrt, 120),
    "training": Part("Training", training, 60),
}
"""In the order of the page. Together they may take longer than the script, which ends them all in time."""
