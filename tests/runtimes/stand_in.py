"""A stand-in for `tensorrt` and CUDA, for tests of the session on a machine without a GPU.

Memory is the host's, a plan is an ONNX file that ONNX Runtime computes. What the session may call of the real ones is
checked by `test_tensorrt_api.py`.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort


class Cuda:
    """The functions of the CUDA runtime that `edgewright.runtimes.tensorrt.cuda` calls, by name."""

    cudaError_t = SimpleNamespace(cudaSuccess=0, cudaErrorMemoryAllocation=2)
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaHostAllocDefault, cudaStreamNonBlocking = 0, 1

    def __init__(self, capturable: bool = True, memory: int = 1 << 30) -> None:
        self.capturable, self.left = capturable, memory
        self.blocks: dict[int, Any] = {}
        self.queued: list[Any] = []
        self.recording: list[Any] | None = None
        self.launches = self.graphs = 0

    def cudaGetDeviceCount(self):
        return 0, 1

    def cudaGetDeviceProperties(self, number):
        return 0, SimpleNamespace(name=b"Orin", major=8, minor=7, multiProcessorCount=8)

    def cudaDriverGetVersion(self):
        return 0, 12060

    def cudaGetErrorString(self, error):
        return 0, {2: b"out of memory", 900: b"operation not permitted when stream is capturing"}.get(error, b"failed")

    def cudaMalloc(self, size):
        if size > self.left:
            return 2, None
        self.left -= size
        block = (ctypes.c_uint8 * size)()
        self.blocks[ctypes.addressof(block)] = block
        return 0, ctypes.addressof(block)

    def cudaHostAlloc(self, size, flags):
        return self.cudaMalloc(size)

    def cudaFree(self, address):
        self.left += len(self.blocks.pop(address))
        return (0,)

    cudaFreeHost = cudaFree

    def cudaStreamCreateWithFlags(self, flags):
        return 0, 7

    def enqueue(self, work):
        (self.queued if self.recording is None else self.recording).append(work)
        return (0,)

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        return self.enqueue(lambda: ctypes.memmove(target, source, size))

    def cudaStreamSynchronize(self, stream):
        for work in self.queued:
            work()
        self.queued.clear()
        return (0,)

    def cudaStreamBeginCapture(self, stream, mode):
        self.recording = []
        return (0,)

    def cudaStreamEndCapture(self, stream):
        graph, self.recording = self.recording, None
        return (0, graph) if self.capturable else (900, None)

    def cudaStreamDestroy(self, stream):
        return (0,)

    def cudaGraphDestroy(self, graph):
        return (0,)

    def cudaGraphExecDestroy(self, graph):
        self.graphs -= 1
        return (0,)

    def cudaGetLastError(self):
        return (0,)

    def cudaGraphInstantiateWithFlags(self, graph, flags):
        self.graphs += 1
        return 0, graph

    def cudaGraphLaunch(self, graph, stream):
        self.launches += 1
        self.queued.extend(graph)
        return (0,)


def tensorrt(cuda: Cuda, version: str = "10.3.0") -> Any:
    """A module like `tensorrt`, whose plans are ONNX files; `deserialized` lists the plans that it was given."""
    deserialized: list[bytes] = []
    mode = SimpleNamespace(INPUT=1, OUTPUT=2)

    class ILogger:
        def __init__(self):
            pass

    class Context:
        def __init__(self, session):
            self.session, self.addresses, self.shapes = session, {}, {}

        def set_input_shape(self, name, shape):
            (wanted,) = (i.shape for i in self.session.get_inputs())
            if any(isinstance(w, int) and w != s for w, s in zip(wanted, shape)):
                return False
            self.shapes = {name: tuple(shape)}
            zeros = np.zeros(shape, np.float32)
            found = self.session.run(None, {name: zeros})
            self.shapes |= {o.name: a.shape for o, a in zip(self.session.get_outputs(), found)}
            return True

        def get_tensor_shape(self, name):
            return self.shapes[name]

        def set_tensor_address(self, name, memory):
            assert isinstance(memory, int)
            self.addresses[name] = memory
            return True

        def execute_async_v3(self, stream_handle):
            addresses, shapes = dict(self.addresses), dict(self.shapes)

            def work():
                arrays = {n: _at(addresses[n], shapes[n]) for n in addresses}
                (name,) = (i.name for i in self.session.get_inputs())
                for out, value in zip(self.session.get_outputs(), self.session.run(None, {name: arrays[name]})):
                    arrays[out.name][:] = value

            return cuda.enqueue(work) == (0,)

    class Engine:
        def __init__(self, session):
            self.session = session
            # A plan's order is not the model's.
            self.names = [v.name for v in (*session.get_outputs()[::-1], *session.get_inputs())]
            self.num_io_tensors = len(self.names)

        def create_execution_context(self):
            return Context(self.session)

        def get_tensor_name(self, index):
            return self.names[index]

        def get_tensor_mode(self, name):
            return mode.INPUT if name in [i.name for i in self.session.get_inputs()] else mode.OUTPUT

        def get_tensor_dtype(self, name):
            return "float"

        def create_engine_inspector(self):
            layer = {"LayerType": "CaskConvolution", "Inputs": [{"Format/Datatype": "Int8 NC/32HW32"}]}
            copy = {"LayerType": "Reformat", "Inputs": [{"Format/Datatype": "Half"}]}
            import json

            return SimpleNamespace(get_engine_information=lambda form: json.dumps({"Layers": [layer, layer, copy]}))

    class Runtime:
        def __init__(self, logger):
            pass

        def deserialize_cuda_engine(self, plan):
            deserialized.append(plan)
            return Engine(ort.InferenceSession(plan, providers=["CPUExecutionProvider"]))

    return SimpleNamespace(
        __name__="tensorrt", __version__=version, ILogger=ILogger, Runtime=Runtime, TensorIOMode=mode,
        LayerInformationFormat=SimpleNamespace(JSON=1), nptype=lambda kind: np.float32, deserialized=deserialized,
    )  # fmt: skip


def _at(address: int, shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape))
    return np.ctypeslib.as_array((ctypes.c_float * size).from_address(address)).reshape(shape)
