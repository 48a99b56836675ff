"""`edgewright quantize`: float ONNX to INT8 ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o

CalibrationOption = Annotated[
    Path, typer.Option("--calibration", metavar="DIR", rich_help_panel=o.IN, help="Calibration images.")
]
OutOption = Annotated[Path, o.out("The INT8 .onnx file to write.", "FILE")]
SchemeOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        rich_help_panel=o.OUT,
        help="INT8 scheme: openvino, openvino-vnni, ort-x86, ort-x86-vnni, ort-arm or tensorrt.",
    ),
]
MethodOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=o.OUT,
        help="INT8 method, e.g. minmax, round, nncf. Default: the first one that the scheme supports.",
    ),
]
NumImagesOption = Annotated[
    int, typer.Option(metavar="N", rich_help_panel=o.IN, help="Calibration images to use, at most.")
]


def quantize(
    model: Annotated[Path, typer.Argument(rich_help_panel=o.IN, help="An .onnx file of `edgewright export`.")],
    calibration: CalibrationOption,
    out: OutOption,
    scheme: SchemeOption = "openvino",
    method: MethodOption = None,
    num_images: NumImagesOption = 300,
    strict: o.StrictOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Quantize a float ONNX model to INT8, calibrated on your images.

    The output is an ONNX file with QuantizeLinear and DequantizeLinear nodes, placed for the runtime of the scheme.

        edgewright quantize resnet18.onnx --calibration photos/calib --scheme ort-x86-vnni -o resnet18.int8.onnx
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
        rows = {"model": str(out), "scheme": provenance["scheme"], "method": provenance["method"]}
        console.print_rows(console.output(), [(word, console.line(text)) for word, text in rows.items()])
