"""Check a classifier's outputs against its description, and find out whether its scores are already probabilities.

Probabilities must not get another function. A Softmax on top of them hides the confidence of a model without an error:
93.9% among ten classes becomes 22%.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec

from . import spec as section

_SUM = 1e-2
"""Accepted difference from 1 of the sum of an image's probabilities, because INT8 and FP16 files round each."""


def require(outputs: list[np.ndarray], spec: ModelSpec, origin: str, images: int, real: bool = True) -> None:
    """Raise `InvalidInput` if the outputs of one run of `origin` over `images` are not (N, classes) scores."""
    if len(outputs) != 1 or outputs[0].size != images * spec.classes:
        shapes = ", ".join(f"[{', '.join(map(str, ('N', *array.shape[1:])))}]" for array in outputs)
        raise InvalidInput(
            f"{origin} gives outputs {shapes}, and the description says {spec.classes} classes.",
            "A classifier gives one output with one score per class.",
            "Correct `classes` or `labels`, or name the scores: outputs = [...]",
        )


def settle(
    answers: np.ndarray, spec: ModelSpec, function: str, said: Mapping[str, Any], certain: bool
) -> tuple[ModelSpec, tuple[str, ...]]:
    """Return `spec` with the function for its scores, and notes.

    `answers`: the outputs (images, classes) for the parity images. `function`: Softmax or Sigmoid if the outputs are
    its result, else empty. `said`: the user's settings, which are kept. `certain`: the source gives logits unless the
    outputs contradict. If it is False, ambiguous outputs raise `InvalidInput`, and the user must set the function.
    """
    own, rule = section.of(spec).scores, said.get("scores")
    inside = bool(np.isfinite(answers).all() and answers.min() >= -1e-6 and answers.max() <= 1 + 1e-3)
    adds_up = inside and answers.shape[1] > 1 and bool((np.abs(answers.sum(axis=1) - 1) <= _SUM).all())
    found = "The scores are between 0 and 1 and add up to 1" if adds_up else ""
    found = f"The scores come out of a {function}" if function else found
    if function == "Softmax" and not adds_up:
        raise InvalidInput(
            f"The Softmax at the end of {spec.name} is not over its classes: the scores of an image add up to "
            f"{float(answers[0].sum()):.3g}.",
            "A Softmax over another axis, or over one class, gives no class probabilities.",
            "Correct the model, or name the tensor before it in the model's TOML: outputs = [...].",
        )
    if rule is not None:
        doubled = found and rule != "none"
        return spec, (f"{found}, and [postprocess] puts {rule} on top, as the description asks.",) if doubled else ()
    if found:
        known = own == "none"
        notes = () if known else (f"{found}: they are probabilities and are used as they are.",)
        return spec.with_task(scores="none"), notes
    if answers.shape[1] == 1 and own == "softmax" and (certain or not inside):
        return spec.with_task(scores="sigmoid"), ("The one score is a logit: it gets a sigmoid.",)
    if not certain and _scaled(answers):
        raise InvalidInput(
            f"The scores of {spec.name} add up to {float(answers[0].sum()):.4g} for every image.",
            "They are probabilities times a number, which a ModelSpec cannot describe.",
            "Name the tensor before that multiplication in the model's TOML: outputs = [...].",
        )
    if inside and not certain and own != "none":
        low, high = float(answers.min()), float(answers.max())
        raise InvalidInput(
            f"Nothing says whether the outputs of {spec.name} are probabilities: they are between {low:.3g} and "
            f"{high:.3g} on {len(answers)} images.",
            "Probabilities are used as they are. Logits need a softmax (one class per image) or a sigmoid (several).",
            'Write it into the model\'s TOML: [postprocess] scores = "none", "softmax" or "sigmoid".',
        )
    return spec, ()


def _scaled(answers: np.ndarray) -> bool:
    """Whether the scores of all images have the same sum, and this sum is not 1."""
    sums = answers.sum(axis=1)
    several = answers.shape[1] > 1 and len(sums) > 1 and answers.min() >= 0 and sums[0] > 1.5
    return bool(several and np.ptp(sums) <= 1e-2 * sums[0] and np.ptp(answers, axis=0).max() > 0)
