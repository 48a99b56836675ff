"""`edgewright compile`: ONNX to a bundle for one runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.cli import options as o

if TYPE_CHECKING:
    from edgewright.pipeline.stages.check import Checked


ModelArgument = Annotated[
    Path,
    typer.Argument(
        rich_help_panel=o.IN, help="An .onnx file of `edgewright export` or `quantize`, or on a Jetson a bundle."
    ),
]
OutOption = Annotated[
    Path,
    o.out("The bundle folder to write, e.g. resnet18.edge."),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=o.GOAL,
        help="Device name (see `edgewright targets`). Default: this machine.",
    ),
]
RuntimeOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=o.GOAL,
        help="onnxruntime, openvino or tensorrt. Default: the first runtime of the target.",
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=o.GOAL,
        help="Precision of layers that are not quantized: f32, bf16 or f16. Default: that of the target.",
    ),
]
ThreadsOption = Annotated[
    int, typer.Option(min=0, metavar="N", rich_help_panel=o.GOAL, help="Threads; 0 for all physical cores.")
]
NormalizeOption = Annotated[
    str, typer.Option(metavar="WHERE", rich_help_panel=o.GOAL, help="Where pixels are normalized: host or graph.")
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", rich_help_panel=o.IN, help="32 or more images to check FP16 for TensorRT on."),
]
MaxBatchOption = Annotated[
    int, typer.Option(min=1, metavar="N", rich_help_panel=o.GOAL, help="Largest batch of a TensorRT plan.")
]


def compile(
    model: ModelArgument,
    out: OutOption,
    target: TargetOption = None,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = 0,
    normalize: NormalizeOption = "host",
    images: ImagesOption = None,
    max_batch: MaxBatchOption = 1,
    as_json: o.JsonOption = False,
) -> None:
    """Compile an ONNX model for one runtime into a bundle for `edgewright run`.

    For a Jetson or another NVIDIA device, the command checks the file on this machine. It checks TensorRT's rules for
    Q/DQ graphs, layer precisions and memory. If tensorrt-rtx is installed, it also runs NVIDIA's parser and builder.
    The device then builds its plan from the bundle.

        edgewright compile resnet18.int8.onnx --runtime openvino -o resnet18.edge
        edgewright compile resnet18.tensorrt.onnx --target jetson-orin-nano --images photos/calib -o resnet18.edge
        edgewright compile resnet18.edge -o resnet18-here.edge  # on the Jetson
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
    rows = [("bundle", str(out)), ("runtime", f"{manifest.artifact.runtime}, {artifact.read(out).precision}")]
    rows += _checks(checked, target or "This machine") if checked else []
    console.print_rows(console.output(), [(word, console.line(text)) for word, text in rows])


def _checks(checked: Checked, target: str) -> list[tuple[str, str]]:
    """What this machine checked of a file for TensorRT: (word, text)."""
    rows = [("rules", f"{v.rule} at {v.origin}: {v.text}") for v in checked.violations] or [("rules", "all followed")]
    ahead = checked.ahead_of_time
    if ahead is None:
        rows.append(("parser", f"not run: {checked.unasked or ''}"))
    elif ahead.built:
        size = f"{(ahead.plan_bytes or 0) / 1e6:.1f} MB"
        text = f"accepted and built ahead of time by {ahead.library} for {ahead.compute_capability}: {size}"
        rows.append(("parser", text))
    else:
        rows.append(("parser", f"accepted, not built by {ahead.library}: {ahead.reason or ''}"))
    rows.append(("layers", ", ".join(f"{count} {kind}" for kind, count in sorted(checked.layers.items()))))
    memory = f"{checked.weight_bytes / 1e6:.1f} MB of weights, {checked.activation_bytes / 1e6:.1f} MB of tensors"
    have = f" of {checked.memory_bytes / 1e9:.1f} GB for a model" if checked.memory_bytes else ""
    rows.append(("memory", memory + have))
    rows.append(("note", f"{target} builds its plan from this bundle. Latency was not measured."))
    return rows
