"""A target as text: the device, the consequences for a model, and how to measure on it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from edgewright.core.text import one_line

from .target import SYSTEM_BYTES, Gpu, HardwarePrecision, PowerMode, Software, Target, fastest_mode, memory_for_model


def describe(target: Target, width: int = 100) -> str:
    """Return the text of ``edgewright targets show``: one fact per line, wrapped at `width` columns."""
    lines = [textwrap.fill(one_line(f"{target.name}: {target.title}"), width, subsequent_indent=" " * 15)]
    lines += [_line(label, text, width) for label, text in _facts(target)]
    return "\n".join(lines)


def _facts(target: Target) -> Iterator[tuple[str, str]]:
    yield "architecture", target.arch
    if target.isa or not target.gpu:
        yield "instructions", ", ".join(target.isa) or "not known"
    if target.model:
        yield "model", target.model + (f" ({', '.join(target.modules)})" if target.modules else "")
    if target.cores:
        yield "cores", str(target.cores)
    if target.memory_bytes:
        yield "memory", f"{target.memory_bytes / 2**30:.1f} GiB"
    if target.gpu:
        yield from _gpu_facts(target, target.gpu)
    for mode in target.power_modes:
        yield "power mode", _mode(mode)
    for variant in target.software:
        yield "software", _software(variant)
    for runtime in target.runtimes:
        schemes = f"; INT8 scheme {', '.join(runtime.schemes)}" if runtime.schemes else "; no INT8"
        yield "runtime", f"{runtime.name}: {', '.join(runtime.precisions)}{schemes}"
    if target.gpu:
        yield from _gpu_advice(target, target.gpu)
    for note in target.notes:
        yield "note", note


def _gpu_facts(target: Target, gpu: Gpu) -> Iterator[tuple[str, str]]:
    clock = f", up to {gpu.max_mhz} MHz" if gpu.max_mhz else ""
    yield "GPU", f"{gpu.name}, compute capability {gpu.compute_capability}{clock}"
    yield "GPU has", ", ".join(gpu.precisions) + (", 2:4 sparsity" if gpu.sparsity else "")
    left = memory_for_model(target)
    if left and gpu.shared_memory:
        yield (
            "for a model",
            f"about {left / 2**30:.1f} GiB: CPU and GPU share the memory, {SYSTEM_BYTES >> 30} GiB are reserved for "
            "the system and CUDA",
        )
    elif left:
        yield "for a model", f"{left / 1e9:.0f} GB of GPU memory"
    if target.dla_cores:
        yield "DLA", f"{target.dla_cores} core{'s' if target.dla_cores > 1 else ''}"


def _gpu_advice(target: Target, gpu: Gpu) -> Iterator[tuple[str, str]]:
    if "int8" in gpu.precisions:
        yield (
            "use",
            "INT8 by Q/DQ pairs in the graph; FP16 for the other layers; float32 for values that overflow in FP16.",
        )
    elif "f16" in gpu.precisions:
        yield "use", "FP16, and float32 for values that overflow in FP16."
    if target.dla_cores:
        yield (
            "use",
            "The DLA to free the GPU and save energy, not for speed. It needs INT8 or FP16 and static shapes. Layers "
            "that it does not support run on the GPU.",
        )
    titles: dict[HardwarePrecision, str] = {"int8": "INT8", "bf16": "BF16", "fp8": "FP8", "fp4": "FP4"}
    missing = [title for precision, title in titles.items() if precision not in gpu.precisions]
    if missing:
        yield "never", f"{', '.join(missing)}: this GPU has no units for {'them' if len(missing) > 1 else 'it'}."
    if gpu.shared_memory and not target.dla_cores:
        yield "never", "DLA: this device has none."
    yield (
        "never",
        "A plan from another machine: it works only with its TensorRT build and GPU. Build the plan on the device.",
    )
    if target.power_modes:
        mode = target.power_mode or fastest_mode(tuple(mode.name for mode in target.power_modes))
        yield (
            "to measure",
            f"sudo nvpmodel -m ID, with the ID of {mode} in /etc/nvpmodel.conf. Then sudo jetson_clocks, which fixes "
            "the clocks at the maximum of this mode.",
        )


def _mode(mode: PowerMode) -> str:
    caps = [f"{mode.cores} CPU cores"] if mode.cores else []
    caps += [f"{name} {mhz} MHz" for name, mhz in (("CPU", mode.cpu_mhz), ("GPU", mode.gpu_mhz)) if mhz]
    budget = f"{mode.watts} W" if mode.watts else "no power limit"
    return f"{mode.name}: {', '.join([budget, *caps])}"


def _software(variant: Software) -> str:
    head = f"JetPack {variant.jetpack}" if variant.jetpack else ""
    if variant.l4t:
        head = f"{head} (L4T {variant.l4t})" if head else f"unknown JetPack, L4T r{variant.l4t}"
    parts = {"CUDA": variant.cuda, "TensorRT": variant.tensorrt, "Ubuntu": variant.ubuntu, "Python": variant.python}
    rest = ", ".join(f"{name} {version}" for name, version in parts.items() if version)
    return ": ".join(part for part in (head, rest) if part)


def _line(label: str, text: str, width: int) -> str:
    return textwrap.fill(
        one_line(text), width, initial_indent=f"{label:<15}", subsequent_indent=" " * 15, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
