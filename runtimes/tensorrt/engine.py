"""Run a plan with preallocated pinned buffers, one stream and, if capture works, one CUDA graph per call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgewright.core.errors import EdgewrightError, RuntimeFailed
from edgewright.runtimes.options import failure

from . import cuda, library
from .library import Line

if TYPE_CHECKING:
    import tensorrt as trt


class Engine:
    """A deserialized plan. Only one thread at a time may use it.

    Buffers and CUDA graph are created for the first batch size, and again if the batch size changes. `outputs`: names
    of the model's outputs in the model's order, because a plan can list them in another order; `inputs`: the same for
    several inputs.
    """

    def __init__(self, trt: Any, plan: bytes, outputs: Sequence[str], inputs: Sequence[str] = ()) -> None:
        self._trt, self._cuda = trt, cuda.cudart()
        self._lines: list[Line] = []
        self._runtime: trt.Runtime = trt.Runtime(library.logger(trt, self._lines))
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise self._failure("load the plan")
        self._engine: trt.ICudaEngine = engine
        context = engine.create_execution_context()
        if context is None:
            raise self._failure("allocate the plan's memory")
        self._context: trt.IExecutionContext = context
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        taken = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self.inputs = list(inputs) if sorted(inputs) == sorted(taken) else taken
        found = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]
        if sorted(found) != sorted(outputs):
            raise RuntimeFailed(
                f"The plan has the outputs {', '.join(found)}.",
                f"The model has the outputs {', '.join(outputs)}.",
                "Build the plan again.",
            )
        self.outputs = list(outputs)
        self._stream = cuda.stream(self._cuda)
        self._bound: _Bound | None = None

    def run(self, *x: np.ndarray) -> list[np.ndarray]:
        """Return all outputs for the batch `x`, as copies."""
        bound = self._bind([array.shape for array in x])
        for buffer, array in zip(bound.inputs, x):
            np.copyto(buffer.host, array, casting="equiv")
        if bound.graph is not None:
            cuda.launch(self._cuda, bound.graph, self._stream)
        else:
            self._queue(bound.inputs, bound.outputs)
        cuda.synchronize(self._cuda, self._stream)
        return [buffer.host.copy() for buffer in bound.outputs]

    @property
    def captured(self) -> bool:
        """Whether calls launch a CUDA graph. Valid after the first call."""
        return self._bound is not None and self._bound.graph is not None

    def layers(self) -> str:
        """Return the engine inspector's description of all layers, as JSON."""
        inspector = self._engine.create_engine_inspector()
        found: str = inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)
        return found

    def close(self) -> None:
        """Free the GPU memory and the stream. A second call has no effect."""
        self._unbind()
        if self._stream is not None:
            self._cuda.cudaStreamDestroy(self._stream)
            self._stream = None

    def _unbind(self) -> None:
        if self._bound:
            self._bound.free(self._cuda)
            self._bound = None

    def _bind(self, shapes: list[tuple[int, ...]]) -> _Bound:
        if self._bound and [buffer.host.shape for buffer in self._bound.inputs] == shapes:
            return self._bound
        self._unbind()
        for name, shape in zip(self.inputs, shapes):
            if not self._context.set_input_shape(name, shape):
                raise self._failure(f"take an input of shape {shape}")
        buffers: list[cuda.Buffer] = []
        try:
            for name in (*self.inputs, *self.outputs):
                buffers.append(self._buffer(name))
                if not self._context.set_tensor_address(name, int(buffers[-1].device)):
                    raise self._failure(f"take the memory of {name}")
            taken, outputs = buffers[: len(self.inputs)], buffers[len(self.inputs) :]
            self._queue(taken, outputs)  # the first run can allocate memory, which a capture forbids
            cuda.synchronize(self._cuda, self._stream)
            graph = cuda.capture(self._cuda, self._stream, lambda: self._queue(taken, outputs))
        except EdgewrightError:
            for buffer in buffers:
                buffer.free()
            raise
        self._bound = _Bound(taken, outputs, graph)
        return self._bound

    def _buffer(self, name: str) -> cuda.Buffer:
        shape = tuple(self._context.get_tensor_shape(name))
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        return cuda.Buffer(self._cuda, shape, dtype)

    def _queue(self, inputs: list[cuda.Buffer], outputs: list[cuda.Buffer]) -> None:
        for buffer in inputs:
            buffer.upload(self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise self._failure("run the model")
        for buffer in outputs:
            buffer.download(self._stream)

    def _failure(self, doing: str) -> EdgewrightError:
        return failure("TensorRT", doing, library.last(self._lines))


class _Bound(NamedTuple):
    """Buffers for one shape of the inputs, and the CUDA graph that uses them."""

    inputs: list[cuda.Buffer]
    outputs: list[cuda.Buffer]
    graph: Any

    def free(self, runtime: Any) -> None:
        if self.graph is not None:
            cuda.destroy(runtime, self.graph)
        for buffer in (*self.inputs, *self.outputs):
            buffer.free()
