"""CUDA through cuda-python, without PyTorch: device properties, streams, pinned buffers, captured graphs."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import numpy as np

from edgewright.core.errors import EdgewrightError, OutOfResources, RuntimeFailed, Unavailable
from edgewright.targets.checkup import MODULES


class Device(NamedTuple):
    """A GPU: its name, compute capability ("8.7"), streaming multiprocessors, and the driver's CUDA version."""

    name: str
    compute_capability: str
    multiprocessors: int
    driver: int

    def __str__(self) -> str:
        return f"{self.name}, sm_{self.compute_capability.replace('.', '')}, driver for CUDA {self.driver // 1000}"


def cudart() -> Any:
    """Return the module of the CUDA runtime functions. Raises `Unavailable` if cuda-python is not installed."""
    for place in MODULES["cuda"]:
        try:
            return importlib.import_module(place)
        except (ImportError, OSError):
            continue
    raise Unavailable(
        "The Python package 'cuda-python' is not installed.",
        "TensorRT sessions need it to copy images to the GPU.",
        "Install the version for your CUDA: pip install 'cuda-python==12.6.*' (JetPack 6), '==13.*' (JetPack 7).",
    )


def device(number: int = 0) -> Device:
    """Return the GPU. Raises `Unavailable` if there is no GPU or no driver."""
    cuda = cudart()
    try:
        error, count = cuda.cudaGetDeviceCount()
        text = _error_text(cuda, error)
    except RuntimeError as missing:  # cuda-python 12 raises where there is no driver to load
        error, count, text = None, 0, str(missing)
    if error != cuda.cudaError_t.cudaSuccess or not count:
        raise Unavailable(
            "There is no NVIDIA GPU that CUDA can use.",
            f"CUDA says: {text.rstrip('.')}.",
            "Run this on the device. On other machines, check a file with `edgewright compile --target NAME`.",
        )
    about = check(cuda, cuda.cudaGetDeviceProperties(number), "read the GPU's properties")
    driver = check(cuda, cuda.cudaDriverGetVersion(), "read the driver's version")
    name = about.name.decode() if isinstance(about.name, bytes) else str(about.name)
    return Device(name, f"{about.major}.{about.minor}", about.multiProcessorCount, driver)


def check(cuda: Any, answer: tuple[Any, ...], doing: str) -> Any:
    """Return the values of a CUDA call without its error code. Raises `OutOfResources` or `RuntimeFailed` on error."""
    error, *values = answer
    if error != cuda.cudaError_t.cudaSuccess:
        kind = OutOfResources if error == cuda.cudaError_t.cudaErrorMemoryAllocation else RuntimeFailed
        text = _error_text(cuda, error)
        raise kind(f"CUDA failed to {doing}.", f"CUDA says: {text}.", "Close other programs that use the GPU.")
    return values[0] if len(values) == 1 else tuple(values) or None


class Buffer:
    """Memory for a tensor: `host` is an array in pinned memory, `device` an address on the GPU."""

    def __init__(self, cuda: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._cuda = cuda
        self.bytes = max(1, int(np.prod(shape)) * dtype.itemsize)
        self._pinned = check(cuda, cuda.cudaHostAlloc(self.bytes, cuda.cudaHostAllocDefault), "pin memory")
        try:
            self.device = check(cuda, cuda.cudaMalloc(self.bytes), "allocate memory on the GPU")
        except EdgewrightError:
            cuda.cudaFreeHost(self._pinned)
            raise
        self.host: np.ndarray = _view(self._pinned, self.bytes).view(dtype)[: int(np.prod(shape))].reshape(shape)

    def upload(self, stream: Any) -> None:
        """Queue the copy from host to GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        copied = self._cuda.cudaMemcpyAsync(self.device, self._pinned, self.bytes, kind, stream)
        check(self._cuda, copied, "copy the image to the GPU")

    def download(self, stream: Any) -> None:
        """Queue the copy from GPU to host."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        copied = self._cuda.cudaMemcpyAsync(self._pinned, self.device, self.bytes, kind, stream)
        check(self._cuda, copied, "copy the answer from the GPU")

    def free(self) -> None:
        """Free the memory on the host and on the GPU."""
        self._cuda.cudaFree(self.device)
        self._cuda.cudaFreeHost(self._pinned)


def stream(cuda: Any) -> Any:
    """Create a stream that does not wait for the default stream, which cannot be captured."""
    return check(cuda, cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking), "create a stream")


def synchronize(cuda: Any, stream: Any) -> None:
    """Wait until all queued work is done."""
    check(cuda, cuda.cudaStreamSynchronize(stream), "run the model")


def capture(cuda: Any, stream: Any, queue: Any) -> Any:
    """Capture the work that ``queue()`` puts on `stream` as a CUDA graph. Return None if capture is not possible."""
    mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    check(cuda, cuda.cudaStreamBeginCapture(stream, mode), "begin a capture")
    try:
        queue()
        failed = False
    except RuntimeFailed:
        failed = True
    error, graph = cuda.cudaStreamEndCapture(stream)
    if failed or error != cuda.cudaError_t.cudaSuccess:
        cuda.cudaGetLastError()  # clear the error of the failed capture
        return None
    try:
        return check(cuda, cuda.cudaGraphInstantiateWithFlags(graph, 0), "instantiate the graph")
    finally:
        cuda.cudaGraphDestroy(graph)  # the instance keeps what it needs


def destroy(cuda: Any, graph: Any) -> None:
    """Free a graph of `capture`."""
    cuda.cudaGraphExecDestroy(graph)


def launch(cuda: Any, graph: Any, stream: Any) -> None:
    """Queue a captured graph."""
    check(cuda, cuda.cudaGraphLaunch(graph, stream), "run the model")


def _view(address: int, size: int) -> np.ndarray:
    import ctypes

    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))


def _error_text(cuda: Any, error: Any) -> str:
    _, text = cuda.cudaGetErrorString(error)
    return text.decode() if isinstance(text, bytes) else str(text)
