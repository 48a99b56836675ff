"""Answers whose order means nothing are compared in the order of the reference."""

from __future__ import annotations

import numpy as np
import pytest

from edgewright.core.errors import RuntimeFailed
from edgewright.core.spec import Input, ModelSpec
from edgewright.export import parity
from edgewright.tasks.detect.spec import Detect

SPEC = ModelSpec(
    name="set",
    inputs=(Input(height=32, width=32),),
    outputs=("head",),
    task=Detect(decoder="set", classes=3),
)


def compared(reference: np.ndarray, candidate: np.ndarray, spec: ModelSpec) -> dict[str, parity.Measure]:
    names = [str(k) for k in range(len(reference))]
    return parity.measure(reference, candidate, names, spec)


def test_queries_in_another_order_are_the_same_answer_and_another_box_is_not() -> None:
    random = np.random.default_rng(0)
    reference = random.random((2, 20, 7)).astype(np.float32)
    swapped = np.stack([reference[0, ::-1], random.permutation(reference[1])])
    flat = reference.reshape(2, -1)
    parity.require(compared(flat, swapped.reshape(2, -1), SPEC), "the set")
    wrong = swapped.copy()
    wrong[1, 4, 0] += 0.05
    with pytest.raises(RuntimeFailed, match="max_abs"):
        parity.require(compared(flat, wrong.reshape(2, -1), SPEC), "the set")
    cells = ModelSpec(name="c", inputs=(SPEC.input,), task=Detect(decoder="boxes", classes=3))
    with pytest.raises(RuntimeFailed, match="max_abs"):  # cells have their places
        parity.require(compared(flat, swapped.reshape(2, -1), cells), "the cells")
