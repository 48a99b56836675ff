"""`edgewright quantize`: ONNX to INT8 ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o


def quantize(
    model: Annotated[Path, typer.Argument(help="An .onnx file written by `edgewright export`.")],
    calibration: Annotated[Path, typer.Option("--calibration", help="Folder of images to calibrate on.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The INT8 .onnx file to write.")],
    scheme: Annotated[
        str, typer.Option(help="Flavour of INT8: openvino, openvino-vnni, ort-x86, ort-x86-vnni, ort-arm, tensorrt.")
    ] = "openvino",
    method: Annotated[
        str | None, typer.Option(help="minmax, round, round-mixed, nncf, nncf-round ...; default: the first that fits.")
    ] = None,
    num_images: Annotated[int, typer.Option(help="How many images to calibrate on, at most.")] = 300,
    strict: o.StrictOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Quantize a float ONNX model to INT8, calibrated on your images.

    [dim]edgewright quantize resnet18.onnx --calibration photos/calib --scheme ort-x86-vnni -o resnet18.int8.onnx[/]
    """
    from edgewright import api
    from edgewright.cli import console, watcher

    with watcher.Watcher() as watch:
        provenance = api.quantize(
            model,
            calibration=calibration,
            out=out,
            scheme=scheme,
            method=method,
            num_images=num_images,
            strict=strict,
            watch=watch,
        )
    if as_json:
        console.print_json(provenance)
    else:
        console.output().print_line(f"{out}  ", ("dim", f"{provenance['scheme']}, {provenance['method']}"))
