"""Whether a model's class scores are probabilities already: then nothing may be put on top of them.

A Softmax on top of probabilities hides how sure a model is (93.9 % of ten classes becomes 22 %), and nothing fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.graph.index import producers_of

from .sources.loaded import Loaded

if TYPE_CHECKING:
    import onnx

_PASSES = frozenset({"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Cast", "Dropout",
                     "QuantizeLinear", "DequantizeLinear"})  # fmt: skip
_FUNCTIONS = frozenset({"Softmax", "Sigmoid", "HardSigmoid"})
_SUM = 1e-2
"""How far from 1 the probabilities of an image may add up: INT8 and FP16 files round each."""


def settle(
    model: onnx.ModelProto, spec: ModelSpec, answers: np.ndarray, said: str | None, certain: bool
) -> tuple[ModelSpec, tuple[str, ...]]:
    """`spec` of a classifier with the rule for its scores, and what to note.

    `answers`: the outputs (images, classes) for the parity images. `said`: the rule that the user wrote down, which is
    kept. `certain`: the source is known to give logits unless it shows otherwise; where it is not, outputs that could
    be either raise `InvalidInput`, which asks for the rule.
    """
    if spec.task.kind != "classify":
        return spec, ()
    function = ending(model, spec.outputs[0])
    inside = bool(np.isfinite(answers).all() and answers.min() >= -1e-6 and answers.max() <= 1 + 1e-3)
    adds_up = inside and answers.shape[1] > 1 and bool((np.abs(answers.sum(axis=1) - 1) <= _SUM).all())
    found = "The scores lie between 0 and 1 and add up to 1" if adds_up else ""
    found = f"The scores come out of a {function}" if function else found
    if function == "Softmax" and not adds_up:
        raise InvalidInput(
            f"The Softmax at the end of {spec.name} is not over its classes: the scores of an image add up to "
            f"{float(answers[0].sum()):.3g}.",
            "A Softmax over another axis, or over one class, says nothing of the classes.",
            "Correct the model, or name the tensor before it in the model's TOML: outputs = [...].",
        )
    if said is not None:
        doubled = found and said != "none"
        return spec, (f"{found}, and [postprocess] puts {said} on top, as the description says.",) if doubled else ()
    if found:
        known = spec.postprocess.scores == "none"
        notes = () if known else (f"{found}: they are probabilities, and nothing is put on top.",)
        return spec.with_task(scores="none"), notes
    if answers.shape[1] == 1 and spec.postprocess.scores == "softmax" and (certain or not inside):
        return spec.with_task(scores="sigmoid"), ("The one score is a logit: it gets a sigmoid.",)
    if not certain and _scaled(answers):
        raise InvalidInput(
            f"The scores of {spec.name} add up to {float(answers[0].sum()):.4g} for every image.",
            "They are probabilities times a number, which cannot be described.",
            "Name the tensor before that number comes in, in the model's TOML: outputs = [...].",
        )
    if inside and not certain and spec.postprocess.scores != "none":
        low, high = float(answers.min()), float(answers.max())
        raise InvalidInput(
            f"Nothing says whether the outputs of {spec.name} are probabilities: they lie between {low:.3g} and "
            f"{high:.3g} on {len(answers)} images.",
            "Probabilities are shown as they are; logits need a softmax (one class an image) or a sigmoid (several).",
            'Write it into the model\'s TOML: [postprocess] scores = "none", "softmax" or "sigmoid".',
        )
    return spec, ()


def _scaled(answers: np.ndarray) -> bool:
    """Whether the scores of all images add up to the same number, which is not 1."""
    sums = answers.sum(axis=1)
    several = answers.shape[1] > 1 and len(sums) > 1 and answers.min() >= 0 and sums[0] > 1.5
    return bool(several and np.ptp(sums) <= 1e-2 * sums[0] and np.ptp(answers, axis=0).max() > 0)


def require_classes(loaded: Loaded, over: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` where nothing says that the numbers an ONNX file answers with are scores of classes.

    The user's TOML `over` says so with `classes` or labels, the file with a spec of its own, and a graph with a Softmax
    at its end.
    """
    spec = loaded.spec
    described = over.get("task", spec.get("task")) == "detect" or over.get("classes") or over.get("labels")
    if described or "preprocess" in spec or ending(loaded.model, spec["outputs"][0]) == "Softmax":
        return
    count = spec.get("classes")
    numbers = f"{count} numbers" if count else "numbers"
    raise InvalidInput(
        f"Nothing says what the {numbers} mean that {spec['name']} gives for an image.",
        "They may be class scores, or an embedding, which has no classes.",
        f"If they are class scores, write classes = {count or 'N'} (or labels, or labels_file) into the model's TOML.",
    )


def ending(model: onnx.ModelProto, output: str) -> str:
    """The function to probabilities that the tensor `output` comes out of: Softmax or Sigmoid; else empty."""
    makers = producers_of(model.graph)
    node = makers.get(output)
    while node is not None and node.op_type in _PASSES and node.input:
        node = makers.get(node.input[0])
    return node.op_type if node is not None and node.op_type in _FUNCTIONS else ""
