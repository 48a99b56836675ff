"""torch as the reference: float32 with TF32 off, on CUDA or else on the CPU. The description states the device.

Only the machine that wrote a program of torch.export may open it, because ``torch.export.load`` unpickles and evaluates
parts of the file, which can run code. `save` adds a code made with this machine's key (`core.machine_key`). Without a
valid code, torch receives no byte of the program.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgewright.core import files, machine_key
from edgewright.core.errors import IntegrityError, InvalidInput, Unavailable
from edgewright.core.lazy import require
from edgewright.targets.detect import physical_cores, this_machine

from .contents import Contents
from .options import Options, Precision, Probe, failure, require_precision
from .traits import Traits

MODEL, CODE = "reference.pt2", "reference.code"
TRAITS = Traits(reference=True)
_NAME = "torch"
_PRECISIONS: tuple[Precision, ...] = ("f32",)
_WHY = "torch is the full-precision reference."


class Handle(NamedTuple):
    """An exported program as a module, with its device and number of threads."""

    torch: Any
    module: Any
    device: str
    threads: int


def probe() -> Probe:
    """Return the abilities of torch on this machine."""
    try:
        torch = require(_NAME, "host")
    except (Unavailable, ImportError) as error:
        return Probe(available=False, why=str(error))
    device = _device_name(torch, _device(torch))
    return Probe(available=True, version=str(torch.__version__), precisions=_PRECISIONS, device=device)


def save(program: Any, folder: Path) -> None:
    """Write the exported `program` into `folder`, with the code that proves that this machine wrote it."""
    torch, packed = require(_NAME, "host"), io.BytesIO()
    torch.export.save(program, packed)
    _write(folder, packed.getvalue())


def is_own(folder: Path) -> bool:
    """Whether this machine wrote the program in `folder`; also True if there is no program."""
    try:
        return not (folder / MODEL).exists() or bool(_content(Contents(folder)))
    except (InvalidInput, IntegrityError):
        return False


def build(model: Path, options: Options, folder: Path) -> None:
    """Copy `model`, a program that `save` wrote on this machine (.pt2), unchanged."""
    require_precision(options, _PRECISIONS, _WHY)
    if model.suffix != ".pt2":
        raise InvalidInput(
            f"torch cannot run {model.name}.", "It takes programs of torch.export (.pt2).", "Use another runtime."
        )
    _write(folder, _content(Contents(model.parent)))


def load(contents: Contents, options: Options, trust: bool = False) -> Handle:
    """Open an artifact. `trust` concerns native code and has no effect here.

    Raises `Unavailable` (library, precision), `RuntimeFailed` (program rejected), and `IntegrityError` for a program
    that another machine wrote.
    """
    torch = require(_NAME, "host")
    require_precision(options, _PRECISIONS, _WHY)
    content = _content(contents)
    device = _device(torch)
    if device == "cuda":
        # cuBLAS is deterministic only with a workspace of fixed size, read when CUDA starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        program = torch.export.load(io.BytesIO(content))
        if device != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        return Handle(torch, program.module(), device, options.threads or physical_cores())
    except Exception as error:
        raise failure("torch", f"load {MODEL}", error) from error


def run(handle: Handle, *x: np.ndarray) -> list[np.ndarray]:
    """Return all outputs for the batch `x`, also if the program returns a single tensor. Raises `RuntimeFailed`."""
    torch = handle.torch
    try:
        with _exact(torch, handle.threads), torch.inference_mode():
            # torch warns about read-only memory.
            tensors = [torch.from_numpy(a if a.flags.writeable else a.copy()).to(handle.device) for a in x]
            outputs = handle.module(*tensors)
            outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
            return [output.cpu().numpy() for output in outputs]
    except Exception as error:
        raise failure("torch", "run the model", error) from error


def describe(handle: Handle) -> dict[str, Any]:
    """Describe what runs: precision, threads, device; "note" if the reference runs on the CPU."""
    described = {
        "precision": "f32",
        "threads": handle.threads,
        "device": _device_name(handle.torch, handle.device),
    }
    if handle.device == "cpu":
        described["note"] = "No CUDA device here: the reference ran on the CPU."
    return described


def _write(folder: Path, content: bytes) -> None:
    files.write(folder / MODEL, content)
    files.write(folder / CODE, machine_key.code(_signed(content)))


def _signed(content: bytes) -> bytes:
    """Return the bytes to sign. The prefix prevents the use of a TensorRT plan's code for a program."""
    return b"torch program " + hashlib.sha256(content).digest()


def _content(contents: Contents) -> bytes:
    """Return the bytes of the program. Raises `IntegrityError` if this machine did not write them."""
    content = contents.read(MODEL)
    if CODE not in contents or not machine_key.is_own(contents.read(CODE).decode(errors="replace"), _signed(content)):
        raise IntegrityError(
            f"{contents.folder / MODEL} was not written by this machine.",
            "Loading a torch program can run code in the file, so it was not loaded.",
            "Give the original model or an ONNX file instead. If the file is in an older store of edgewright, run: "
            "`edgewright cache prune --all`.",
        )
    return content


@contextlib.contextmanager
def _exact(torch: Any, threads: int) -> Iterator[None]:
    """Use full float32 and deterministic kernels for one call, then restore the settings of the process."""
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
