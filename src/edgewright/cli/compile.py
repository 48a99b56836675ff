"""`edgewright compile`: ONNX to a bundle for one runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o


def compile(
    model: Annotated[Path, typer.Argument(help="An .onnx file written by `edgewright export` or `quantize`.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The bundle (folder) to write, e.g. resnet18.edge.")],
    runtime: Annotated[str, typer.Option(help="onnxruntime or openvino.")] = "openvino",
    precision: Annotated[str, typer.Option(help="Precision of what is not quantized: f32, bf16 or f16.")] = "f32",
    threads: Annotated[int, typer.Option(min=0, help="Threads; 0 for all physical cores.")] = 0,
    normalize: Annotated[str, typer.Option(help="Where pixels are normalized: host or graph.")] = "host",
    as_json: o.JsonOption = False,
) -> None:
    """Compile an ONNX model for one runtime and write the bundle that `edgewright run` opens.

    [dim]edgewright compile resnet18.int8.onnx --runtime openvino -o resnet18.edge[/]
    """
    from edgewright import api
    from edgewright.cli import console

    with console.Watcher() as watch:
        manifest = api.compile(
            model, out=out, runtime=runtime, precision=precision, threads=threads, normalize=normalize, watch=watch
        )
    if as_json:
        console.print_json(manifest)
    else:
        console.output().print(f"{out}  [dim]{runtime}, {precision}[/]", soft_wrap=True)
