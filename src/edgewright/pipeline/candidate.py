"""What is built and measured, as data: a variant of the model, compiled for a runtime."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgewright.quantize import methods
from edgewright.runtimes import registry
from edgewright.runtimes.options import Options
from edgewright.runtimes.traits import Traits


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A chain of compressions: float where `scheme` is None, else INT8 with that scheme and method.

    `float_layers`: layers that stay in float, with all of their blocks, of which there are `float_blocks`.
    `compression`: what was done to the float model before ("pruned1.8x"), empty for the model as it was given.
    `is_int8`: the model was given in INT8, and is compiled as it is; `scheme` is None.
    """

    scheme: str | None = None
    method: str | None = None
    float_layers: tuple[str, ...] = ()
    float_blocks: int = 0
    compression: str = ""
    normalize: Literal["host", "graph"] = "host"
    is_int8: bool = False

    @property
    def name(self) -> str:
        """E.g. ``float``, ``int8-openvino-nncf``, the latter with ``+uint8`` where the graph normalizes."""
        base = (
            f"int8-{self.scheme}-{self.method}" + (f"-mixed{self.float_blocks}" if self.float_blocks else "")
            if self.scheme
            else "int8"
            if self.is_int8
            else "float"
        )
        base += f"-{self.compression}" if self.compression else ""
        return base + ("+uint8" if self.normalize == "graph" else "")


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A variant to be compiled for one runtime with one set of options."""

    variant: Variant
    options: Options

    @property
    def id(self) -> str:
        """Unique in a report: runtime, precision, scheme and method, and what of the options is not the default.

        E.g. ``openvino-f32``, ``openvino-int8-nncf+uint8`` (the graph normalizes), ``onnxruntime-int8-x86-round-t1``
        (one thread), ``openvino-int8-bf16-nncf`` (what is not quantized runs in bf16).
        """
        runtime, precision = self.options.runtime, self.options.precision
        parts: list[str] = [runtime, precision]
        if self.variant.scheme:
            flavour = self.variant.scheme.removeprefix("ort").removeprefix(runtime).strip("-")
            parts = [runtime, "int8", "" if precision == "f32" else precision, flavour, self.variant.method or ""]
            parts += [f"mixed{self.variant.float_blocks}"] if self.variant.float_blocks else []
        elif self.variant.is_int8:
            parts = [runtime, "int8", "" if precision == "f32" else precision]
        parts.append(self.variant.compression)
        if self.options.threads:
            parts.append(f"t{self.options.threads}")
        return "-".join(part for part in parts if part) + ("+uint8" if self.variant.normalize == "graph" else "")

    @property
    def family(self) -> Candidate:
        """What stands for all candidates that take the same time: they differ in the values of weights alone."""
        if self.variant.scheme is None or self.variant.method is None:
            return self
        how = methods.get(self.variant.method)
        placement = f"{how.placement}-mixed" if how.leaves_more_in_float else how.placement
        return msgspec.structs.replace(self, variant=msgspec.structs.replace(self.variant, method=placement))

    @property
    def traits(self) -> Traits:
        """What its runtime is like."""
        return registry.traits(self.options.runtime)

    @property
    def is_half(self) -> bool:
        """Whether FP16 is to be written into its graph, as for TensorRT."""
        return self.options.precision == "f16" and self.traits.typed_graph

    @property
    def precision(self) -> str:
        """What a reader calls it: int8, f32, bf16 or f16."""
        return "int8" if self.variant.scheme or self.variant.is_int8 else self.options.precision


def compressed(candidate: Candidate, name: str) -> Candidate:
    """`candidate` built of the model that is called `name` (`Variant.compression`)."""
    return msgspec.structs.replace(candidate, variant=msgspec.structs.replace(candidate.variant, compression=name))
