"""TensorRT on an NVIDIA GPU: `tensorrt` 8.6 to 11 (Jetson, servers) or `tensorrt_rtx`.

An artifact contains the ONNX file. A plan belongs to one device, which builds it (`finish`). Nothing here was run on a
GPU yet. Parsing and building are tested with `tensorrt_rtx` on a CPU, the session with a simulated library, and every
used name with the real bindings of each version.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgewright.core import files, machine_key
from edgewright.core.child import Progress
from edgewright.core.errors import Unavailable
from edgewright.core.spec import encode
from edgewright.runtimes.contents import Contents
from edgewright.runtimes.options import Builder, Options, Precision, Probe, require_precision
from edgewright.runtimes.traits import Traits

from . import builder, census, cuda, library, plan
from .engine import Engine

MODEL = "model.onnx"
TRAITS = Traits(
    on_device=True, threads=False, builder=True, typed_graph=True,
    beside_int8="f16",  # NVIDIA's rule: layers that are not quantized are FP16
    # Vectorized formats: kCHW32 in INT8, kHWC8 in FP16 (NVIDIA, TensorRT's "Data Format Descriptions"); in float32
    # (TF32) four channels fill the 16 bytes that tensor cores want (NVIDIA, "Matrix Multiplication Background").
    blocks={"int8": 32, "f16": 8, "bf16": 8, "f32": 4},
)  # fmt: skip
_PRECISIONS: tuple[Precision, ...] = ("f32", "f16")


class Handle(NamedTuple):
    """A loaded plan, the properties that it is bound to, and its options."""

    engine: Engine
    maker: plan.Maker
    options: Options


def probe() -> Probe:
    """Return the abilities of TensorRT on this machine."""
    try:
        found = library.bindings()
    except Unavailable as error:
        return Probe(available=False, why=f"{error.what} {error.fix}")
    try:
        gpu = cuda.device()
    except Unavailable as error:
        return Probe(available=False, version=library.identity(found), why=f"{error.what} {error.why}")
    return Probe(available=True, version=library.identity(found), precisions=_PRECISIONS, device=str(gpu))


def identity() -> str:
    """Return the properties that a plan of this machine is bound to: library, GPU, driver and key fingerprint."""
    found = probe()
    return f"{found.version}, {found.device}, {machine_key.fingerprint()}"


def build(model: Path, options: Options, folder: Path) -> None:
    """Copy the ONNX file into `folder`. This works on any machine; `finish` builds the plan on the device."""
    require_precision(options, _PRECISIONS, "TensorRT also computes in INT8 if the file is quantized.")
    files.write(folder / MODEL, model.read_bytes())


def finish(folder: Path, options: Options, progress: Progress | None = None) -> dict[str, Any]:
    """Build the plan for this device into `folder`, next to its ONNX file. Return the builder's report.

    This takes minutes. The timing cache, kept per device and build, makes the next build shorter. Raises `Unavailable`
    without TensorRT or GPU, `RuntimeFailed` if the parser or builder rejects the model, `OutOfResources`.
    """
    trt, gpu = library.bindings(), cuda.device()
    here = _maker(trt, gpu)
    kept = _timing_cache(here)
    cache = kept.read_bytes() if kept.is_file() else plan.timing_cache(Contents(folder), here)
    job = builder.Job(
        model=Contents(folder).read(MODEL),
        precision=options.precision,
        builder=options.builder or Builder(),
        timing_cache=cache,
    )
    built = builder.build(trt, job, progress)
    plan.write(folder, built.plan, built.timing_cache, built.outputs, here, built.inputs[1:] and built.inputs)
    kept.parent.mkdir(parents=True, exist_ok=True)
    files.write(kept, built.timing_cache)
    return {"layers": built.layers, "gpu_fallback": built.fallback, "memory": built.memory, "warnings": built.warnings}


def load(contents: Contents, options: Options, trust: bool = False) -> Handle:
    """Open a plan. Without `trust`, this device must have built it (see `plan.read`).

    Raises `Unavailable` (library, GPU, no plan yet, another build's plan), `IntegrityError`, `RuntimeFailed`.
    """
    if plan.PLAN not in contents:
        raise Unavailable(
            f"{contents.folder} contains no TensorRT plan yet.",
            "TensorRT compiles a model on the device that runs it.",
            "Build the plan on the device: edgewright compile BUNDLE -o NEW",
        )
    trt, gpu = library.bindings(), cuda.device()
    here = _maker(trt, gpu)
    content, about = plan.read(contents, here, trust)
    return Handle(Engine(trt, content, about.outputs, about.inputs), here, options)


def run(handle: Handle, *x: np.ndarray) -> list[np.ndarray]:
    """Return all outputs for the batch `x`, an array for each input."""
    return handle.engine.run(*x)


def close(handle: Handle) -> None:
    """Free the GPU's memory."""
    handle.engine.close()


def describe(handle: Handle) -> dict[str, Any]:
    """Describe what runs. "census" counts the plan's layers by precision, and copies between formats ("reformat")."""
    return {
        "precision": handle.options.precision,
        "device": f"{handle.maker.device}, sm_{handle.maker.compute_capability.replace('.', '')}",
        "library": handle.maker.library,
        "census": census.count(handle.engine.layers()),
        "cuda_graph": handle.engine.captured,
    }


def _maker(trt: Any, gpu: cuda.Device) -> plan.Maker:
    return plan.Maker(
        library=library.identity(trt), device=gpu.name, compute_capability=gpu.compute_capability,
        multiprocessors=gpu.multiprocessors, driver=gpu.driver, architecture=platform.machine(),
    )  # fmt: skip


def _timing_cache(maker: plan.Maker) -> Path:
    # Not `core.store`, because its packages are not installed on devices.
    home = os.environ.get("EDGEWRIGHT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "edgewright")
    name = hashlib.sha256(encode(maker)).hexdigest()[:16]
    return files.absolute(home) / "timing" / f"{name}.cache"
