"""`edgewright compile`: ONNX to a bundle for one runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.cli import options as o

if TYPE_CHECKING:
    from edgewright.pipeline.stages.check import Checked


def compile(
    model: Annotated[
        Path, typer.Argument(help="An .onnx file of `edgewright export` or `quantize`; on a Jetson also a bundle.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The bundle (folder) to write, e.g. resnet18.edge.")],
    target: Annotated[
        str | None, typer.Option(help="Device that it is for; default: this machine. See `edgewright targets`.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="onnxruntime, openvino or tensorrt; default: the device's first.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Precision of what is not quantized: f32, bf16 or f16; default: the device's.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads; 0 for all physical cores.")] = 0,
    normalize: Annotated[str, typer.Option(help="Where pixels are normalized: host or graph.")] = "host",
    images: Annotated[
        Path | None, typer.Option(help="Images on which FP16 for TensorRT is proven (32 or more).")
    ] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="Images that a TensorRT plan takes at most at once.")] = 1,
    as_json: o.JsonOption = False,
) -> None:
    """Compile an ONNX model for one runtime and write the bundle that `edgewright run` opens.

    For a Jetson or another NVIDIA device, any machine checks the file: TensorRT's rules for Q/DQ graphs, its parser and
    builder (with tensorrt-rtx installed), layers by precision, memory. The device itself then builds the plan, from the
    bundle.

    [dim]edgewright compile resnet18.int8.onnx --runtime openvino -o resnet18.edge[/]
    [dim]edgewright compile resnet18.tensorrt.onnx --target jetson-orin-nano --images photos/calib -o resnet18.edge[/]
    [dim]edgewright compile resnet18.edge -o resnet18-here.edge          # on the Jetson[/]
    """
    from edgewright import api
    from edgewright.cli import console, watcher
    from edgewright.runtimes import artifact

    with watcher.Watcher() as watch:
        manifest, checked = api.compile(
            model, out=out, target=target, runtime=runtime, precision=precision, threads=threads, normalize=normalize,
            images=images, max_batch=max_batch, watch=watch,
        )  # fmt: skip
    if as_json:
        console.print_json({"manifest": manifest, "check": checked} if checked else manifest)
        return
    screen = console.output()
    screen.print_line(f"{out}  ", ("dim", f"{manifest.artifact.runtime}, {artifact.read(out).precision}"))
    if checked:
        _show(checked, target or "this machine")


def _show(checked: Checked, target: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgewright.cli import console

    line = console.line
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    broken = [line(f"{v.rule} at {v.origin}: {v.text}") for v in checked.violations]
    table.add_row("rules", Text("\n").join(broken) if broken else line(("green", "all kept")))
    ahead = checked.ahead_of_time
    if ahead is None:
        table.add_row("parser", line(("yellow", "not asked"), f": {checked.unasked or ''}"))
    elif ahead.built:
        size = f"{(ahead.plan_bytes or 0) / 1e6:.1f} MB"
        text = f" ahead of time by {ahead.library} for {ahead.compute_capability}: {size}"
        table.add_row("parser", line(("green", "accepted and built"), text))
    else:
        table.add_row("parser", line(("yellow", "accepted, not built"), f" by {ahead.library}: {ahead.reason or ''}"))
    table.add_row("layers", line(", ".join(f"{count} {kind}" for kind, count in sorted(checked.layers.items()))))
    memory = f"{checked.weight_bytes / 1e6:.1f} MB of weights, {checked.activation_bytes / 1e6:.1f} MB of tensors"
    have = f" of {checked.memory_bytes / 1e9:.1f} GB for a model" if checked.memory_bytes else ""
    table.add_row("memory", memory + have)
    table.add_row("", line(("dim", f"For {target}, not measured: the device builds its plan from this bundle.")))
    console.output().print(table)
