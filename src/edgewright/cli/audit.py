"""`edgewright audit`: checks of a file that mean accuracy does not cover."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli import options as o

FileArgument = Annotated[
    Path,
    typer.Argument(rich_help_panel=o.IN, help="An .onnx file of `edgewright export` or `quantize`, or a bundle."),
]
DataOption = Annotated[
    Path, typer.Option("--data", metavar="DIR", rich_help_panel=o.IN, help="Images like those of the application.")
]
ReferenceOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", rich_help_panel=o.IN, help="The float .onnx file, to compare confidence scores with."),
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", rich_help_panel=o.IN, help="Calibration images. Default: the calib or train split of --data."
    ),
]
RuntimeOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", rich_help_panel=o.GOAL, help="onnxruntime (default) or openvino. A bundle uses its own runtime."
    ),
]
NumImagesOption = Annotated[int, typer.Option(min=1, metavar="N", rich_help_panel=o.IN, help="Images to use, at most.")]


def audit(
    file: FileArgument,
    data: DataOption,
    reference: ReferenceOption = None,
    split: o.SplitOption = None,
    calibration: CalibrationOption = None,
    isa: o.IsaOption = None,
    runtime: RuntimeOption = None,
    num_images: NumImagesOption = 64,
    strict: o.StrictOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Check a file for problems that mean accuracy does not show.

    The checks cover the precision that the runtime uses, batches, confidence scores, 16-bit saturation on CPUs without
    VNNI and the calibration images. Each check prints its level, its name and a figure. See docs/reference/audit.md.

    An error sets the exit code: 1 if answers are lost, 3 if a calibration image is also a validation image, 6 if the
    runtime's answers differ from those of the graph.

        edgewright audit resnet18.int8.onnx --data photos/ --reference resnet18.onnx
        edgewright audit resnet18.int8.onnx --data photos/ --isa avx2
    """
    from edgewright import api
    from edgewright.bench.audit import error
    from edgewright.cli import console, watcher

    with watcher.Watcher() as watch:
        found = api.audit(
            file, data=data, split=split, calibration=calibration, reference=reference, isa=o.words(isa),
            runtime=runtime, num_images=num_images, strict=strict, watch=watch,
        )  # fmt: skip
    if as_json:
        console.print_json(found)
    else:
        every = (*found.findings, *found.passed)
        rows = [(one.level, console.line(("bold", one.code), f": {one.text}")) for one in every]
        console.print_rows(console.output(), rows)
    if wrong := error(found.findings):
        raise wrong
