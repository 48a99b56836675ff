"""Variants (a chain of compressions of the model) and candidates (a variant compiled for one runtime), as data."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgewright.quantize import methods
from edgewright.runtimes import registry
from edgewright.runtimes.options import Options
from edgewright.runtimes.traits import Traits


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A chain of compressions. INT8 with `scheme` and `method`; float if `scheme` is None.

    `float_layers`: layers that stay in float, in mixed precision. `float_blocks`: the number of blocks with them.
    `compression`: an earlier change of the float model ("pruned1.8x"); empty for the exported model.
    `answers` "graph": the graph also computes the last step of decoding (`tasks.contract.Rewrite`).
    `is_int8`: the source is an INT8 file and is compiled without changes; `scheme` is None.
    """

    scheme: str | None = None
    method: str | None = None
    float_layers: tuple[str, ...] = ()
    float_blocks: int = 0
    compression: str = ""
    normalize: Literal["host", "graph"] = "host"
    answers: Literal["host", "graph"] = "host"
    is_int8: bool = False

    @property
    def name(self) -> str:
        """E.g. ``float`` or ``int8-openvino-nncf``; with ``+uint8`` if the graph normalizes, ``+answers`` if it
        decodes."""
        base = (
            f"int8-{self.scheme}-{self.method}" + (f"-mixed{self.float_blocks}" if self.float_blocks else "")
            if self.scheme
            else "int8"
            if self.is_int8
            else "float"
        )
        base += f"-{self.compression}" if self.compression else ""
        return base + self.ends

    @property
    def ends(self) -> str:
        """What the graph computes before and after the network, as part of names."""
        return ("+uint8" if self.normalize == "graph" else "") + ("+answers" if self.answers == "graph" else "")


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A variant to compile for one runtime with one set of options."""

    variant: Variant
    options: Options

    @property
    def id(self) -> str:
        """Unique in a report: runtime, precision, scheme, method, and options that differ from the default.

        E.g. ``openvino-f32``, ``openvino-int8-nncf+uint8`` (the graph normalizes), ``onnxruntime-int8-x86-round-t1``
        (one thread), ``openvino-int8-bf16-nncf`` (layers that are not quantized run in bf16).
        """
        runtime, precision = self.options.runtime, self.options.precision
        parts: list[str] = [runtime, precision]
        if self.variant.scheme:
            scheme = self.variant.scheme.removeprefix("ort").removeprefix(runtime).strip("-")
            parts = [runtime, "int8", "" if precision == "f32" else precision, scheme, self.variant.method or ""]
            parts += [f"mixed{self.variant.float_blocks}"] if self.variant.float_blocks else []
        elif self.variant.is_int8:
            parts = [runtime, "int8", "" if precision == "f32" else precision]
        parts.append(self.variant.compression)
        if self.options.threads:
            parts.append(f"t{self.options.threads}")
        return "-".join(part for part in parts if part) + self.variant.ends

    @property
    def family(self) -> Candidate:
        """The representative of all candidates with the same latency: they differ only in the values of weights."""
        if self.variant.scheme is None or self.variant.method is None:
            return self
        how = methods.get(self.variant.method)
        placement = f"{how.placement}-mixed" if how.leaves_more_in_float else how.placement
        return msgspec.structs.replace(self, variant=msgspec.structs.replace(self.variant, method=placement))

    @property
    def traits(self) -> Traits:
        """The properties of its runtime."""
        return registry.traits(self.options.runtime)

    @property
    def is_half(self) -> bool:
        """Whether its graph is converted to FP16, as TensorRT needs it."""
        return self.options.precision == "f16" and self.traits.typed_graph

    @property
    def precision(self) -> str:
        """The precision as reports show it: int8, f32, bf16 or f16."""
        return "int8" if self.variant.scheme or self.variant.is_int8 else self.options.precision


def compressed(candidate: Candidate, name: str) -> Candidate:
    """`candidate` built from the model that is called `name` (`Variant.compression`)."""
    return msgspec.structs.replace(candidate, variant=msgspec.structs.replace(candidate.variant, compression=name))
