"""Quantize one ONNX file (`edgewright quantize`)."""

from __future__ import annotations

from pathlib import Path

from edgewright.core.errors import UsageError
from edgewright.core.store import Entry
from edgewright.pipeline import images as image_sets
from edgewright.pipeline.candidate import Variant
from edgewright.pipeline.stages import quantize as stage
from edgewright.pipeline.stages.export import Source, export
from edgewright.pipeline.stages.model import require_float, spec_of
from edgewright.pipeline.stages.runner import StageRunner
from edgewright.quantize import methods, schemes


def import_file(runner: StageRunner, model: Path, batch: int | None = 1) -> Entry:
    """An ONNX file as the export stage stores it: checked, cleaned, with its spec. `batch` None: any batch size."""
    return export(runner, Source(source=str(model)), None, batch)


def quantize(
    runner: StageRunner, model: Path, calibration: Path, how: tuple[str, str | None], count: int, seed: int
) -> Entry:
    """Quantize one ONNX file with the scheme and method in `how` (None: the first method that fits the scheme)."""
    scheme, method = how
    schemes.get(scheme)
    fitting = [name for name, found in (methods.METHODS | methods.OTHERS).items() if found.fits(scheme)]
    if method is not None and methods.get(method).name not in fitting:
        raise UsageError(
            f"The method '{method}' does not write '{scheme}' files.",
            f"Fitting: {', '.join(fitting)}.",
            "Use one of them.",
        )
    found = image_sets.calibrating(calibration, count, seed, runner)
    variant = Variant(scheme=scheme, method=method or fitting[0])
    source = import_file(runner, model)
    require_float(source)
    found = image_sets.as_inputs(found, spec_of(source))
    return stage.quantize(runner, source, variant, found, seed)
