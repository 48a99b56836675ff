"""Does a description fit what a model answers? What cannot be read on a device is refused before it is built."""

from __future__ import annotations

import msgspec
import numpy as np

from edgewright.core.errors import EdgewrightError, InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.vision.detection import all_cells, detect


def require(outputs: list[np.ndarray], spec: ModelSpec, origin: str) -> None:
    """Raise `InvalidInput` where the `outputs` of one run of `origin` cannot be read as `spec` says.

    Of a classifier the scores must be (N, classes); of a detector its decoder must take them, and where it says that
    class scores are probabilities (or logits) they must look so.
    """
    if spec.task == "classify":
        if outputs[0].size != len(outputs[0]) * spec.classes:
            raise InvalidInput(
                f"{origin} answers with {_shape(outputs[0])} where the description says {spec.classes} classes.",
                "A classifier gives one score a class.",
                "Correct `classes` or `labels`, or name the scores: outputs = [...]",
            )
        return
    size = (spec.input.width, spec.input.height)
    try:
        detect(outputs, spec, [size] * len(outputs[0]))
    except EdgewrightError as error:
        shapes = ", ".join(map(_shape, outputs))
        raise InvalidInput(
            f"The description does not fit the outputs of {origin} ({shapes}): {error.what}", error.why, error.fix
        ) from error
    _require_scores(outputs, spec, origin)


def _require_scores(outputs: list[np.ndarray], spec: ModelSpec, origin: str) -> None:
    d = spec.detect
    if d is None or d.decoder not in ("boxes", "dfl") or d.scores == "softmax":
        return
    raw = all_cells(outputs, msgspec.structs.replace(spec, detect=msgspec.structs.replace(d, scores="none")))[1]
    low, high = float(raw.min()), float(raw.max())
    inside = low >= -1e-4 and high <= 1 + 1e-3
    if inside == (d.scores == "none"):
        return
    are, would = ("probabilities", "none") if inside else ("logits", "sigmoid")
    raise InvalidInput(
        f'{origin} gives class outputs from {low:.3g} to {high:.3g}; the description says scores = "{d.scores}".',
        f"Such numbers are {are}.",
        f'Write [detect] scores = "{would}".',
    )


def _shape(array: np.ndarray) -> str:
    return f"[{', '.join(map(str, ('N', *array.shape[1:])))}]"
