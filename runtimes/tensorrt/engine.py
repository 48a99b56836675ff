"""A plan that runs: preallocated pinned buffers, one stream, and where it can be captured one CUDA graph a call."""

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
    """A deserialized plan for one input, one batch at a time; one thread at a time may use it.

    Buffers and graph are made for the first batch size that is run, and anew where it changes. `outputs`: the model's
    outputs in its own order; a plan lists them in any.
    """

    def __init__(self, trt: Any, plan: bytes, outputs: Sequence[str]) -> None:
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
        self.inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        made = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]
        if sorted(made) != sorted(outputs):
            raise RuntimeFailed(
                f"The plan gives {', '.join(made)}.", f"The model gives {', '.join(outputs)}.", "Build the plan again."
            )
        self.outputs = list(outputs)
        self._stream = cuda.stream(self._cuda)
        self._bound: _Bound | None = None

    def run(self, x: np.ndarray) -> list[np.ndarray]:
        """All outputs for `x`, as copies that are the caller's to keep."""
        bound = self._bind(x.shape)
        np.copyto(bound.input.host, x, casting="equiv")
        if bound.graph is not None:
            cuda.launch(self._cuda, bound.graph, self._stream)
        else:
            self._queue(bound.input, bound.outputs)
        cuda.synchronize(self._cuda, self._stream)
        return [buffer.host.copy() for buffer in bound.outputs]

    @property
    def captured(self) -> bool:
        """Whether calls launch a CUDA graph; known after the first."""
        return self._bound is not None and self._bound.graph is not None

    def layers(self) -> str:
        """The engine inspector's account of all layers, as JSON."""
        inspector = self._engine.create_engine_inspector()
        found: str = inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)
        return found

    def close(self) -> None:
        """Free the GPU's memory and the stream; closing twice is fine."""
        self._unbind()
        if self._stream is not None:
            self._cuda.cudaStreamDestroy(self._stream)
            self._stream = None

    def _unbind(self) -> None:
        if self._bound:
            self._bound.free(self._cuda)
            self._bound = None

    def _bind(self, shape: tuple[int, ...]) -> _Bound:
        if self._bound and self._bound.input.host.shape == shape:
            return self._bound
        self._unbind()
        if not self._context.set_input_shape(self.inputs[0], shape):
            raise self._failure(f"take an input of shape {shape}")
        buffers: list[cuda.Buffer] = []
        try:
            for name in (self.inputs[0], *self.outputs):
                buffers.append(self._buffer(name))
                if not self._context.set_tensor_address(name, int(buffers[-1].device)):
                    raise self._failure(f"take the memory of {name}")
            first, outputs = buffers[0], buffers[1:]
            self._queue(first, outputs)  # the first run may allocate, which a capture does not allow
            cuda.synchronize(self._cuda, self._stream)
            graph = cuda.capture(self._cuda, self._stream, lambda: self._queue(first, outputs))
        except EdgewrightError:
            for buffer in buffers:
                buffer.free()
            raise
        self._bound = _Bound(first, outputs, graph)
        return self._bound

    def _buffer(self, name: str) -> cuda.Buffer:
        shape = tuple(self._context.get_tensor_shape(name))
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        return cuda.Buffer(self._cuda, shape, dtype)

    def _queue(self, first: cuda.Buffer, outputs: list[cuda.Buffer]) -> None:
        first.upload(self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise self._failure("run the model")
        for buffer in outputs:
            buffer.download(self._stream)

    def _failure(self, doing: str) -> EdgewrightError:
        return failure("TensorRT", doing, library.last(self._lines))


class _Bound(NamedTuple):
    """Buffers of one input shape, and the graph that was captured with them."""

    input: cuda.Buffer
    outputs: list[cuda.Buffer]
    graph: Any

    def free(self, runtime: Any) -> None:
        if self.graph is not None:
            cuda.destroy(runtime, self.graph)
        for buffer in (self.input, *self.outputs):
            buffer.free()
