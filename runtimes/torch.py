"""torch: the reference. Float32 with TF32 off, on CUDA where there is a device, else on the CPU, which is said."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgewright.core.errors import InvalidInput, Unavailable
from edgewright.core.lazy import require
from edgewright.targets.detect import physical_cores, this_machine

from .options import Options, Precision, Probe, failure, require_precision

MODEL = "reference.pt2"
_NAME = "torch"
_PRECISIONS: tuple[Precision, ...] = ("f32",)
_WHY = "torch is the full-precision reference."


class Handle(NamedTuple):
    """An exported program as a module, and where it runs."""

    torch: Any
    module: Any
    device: str
    threads: int


def probe() -> Probe:
    """What torch can do on this machine."""
    try:
        torch = require(_NAME, "host")
    except (Unavailable, ImportError) as error:
        return Probe(available=False, why=str(error))
    device = _device_name(torch, _device(torch))
    return Probe(available=True, version=str(torch.__version__), precisions=_PRECISIONS, device=device)


def build(model: Path, options: Options, folder: Path) -> None:
    """Take `model`, a program that ``torch.export.save`` wrote (.pt2), as it is."""
    require_precision(options, _PRECISIONS, _WHY)
    if model.suffix != ".pt2":
        raise InvalidInput(
            f"torch cannot run {model.name}.", "It takes programs of torch.export (.pt2).", "Use another runtime."
        )
    shutil.copyfile(model, folder / MODEL)


def load(folder: Path, options: Options, trust: bool = False) -> Handle:
    """Open the artifact in `folder`. Raises `Unavailable` (library, precision) or `RuntimeFailed` (program refused)."""
    torch = require(_NAME, "host")
    require_precision(options, _PRECISIONS, _WHY)
    device = _device(torch)
    if device == "cuda":
        # cuBLAS is deterministic only with a workspace of fixed size, read when CUDA starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        program = torch.export.load(folder / MODEL)
        if device != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        return Handle(torch, program.module(), device, options.threads or physical_cores())
    except Exception as error:
        raise failure("torch", f"load {MODEL}", error) from error


def run(handle: Handle, x: np.ndarray) -> list[np.ndarray]:
    """All outputs for `x`; a program that returns one tensor gives one."""
    torch = handle.torch
    try:
        with _exact(torch, handle.threads), torch.inference_mode():
            # torch warns about memory that it may not write to.
            tensor = torch.from_numpy(x if x.flags.writeable else x.copy()).to(handle.device)
            outputs = handle.module(tensor)
            outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
            return [output.cpu().numpy() for output in outputs]
    except Exception as error:
        raise failure("torch", "run the model", error) from error


def describe(handle: Handle) -> dict[str, Any]:
    """What really runs; `note` says where a CPU stands in for the GPU."""
    described = {
        "precision": "f32",
        "threads": handle.threads,
        "device": _device_name(handle.torch, handle.device),
    }
    if handle.device == "cpu":
        described["note"] = "No CUDA device here: the reference ran on the CPU."
    return described


@contextlib.contextmanager
def _exact(torch: Any, threads: int) -> Iterator[None]:
    """Full float32 and deterministic kernels for the time of a call; the process's own settings come back after."""
    matmul, cores = torch.get_float32_matmul_precision(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(True, warn_only=True)
    if cores != threads:
        torch.set_num_threads(threads)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        if cores != threads:
            torch.set_num_threads(cores)


def _device(torch: Any) -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _device_name(torch: Any, device: str) -> str:
    return f"CUDA {torch.cuda.get_device_name()}" if device == "cuda" else f"CPU {this_machine().model}"
