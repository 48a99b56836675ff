"""Which tasks the outputs of a model suggest, for the error about a model whose task is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from edgewright import tasks
from edgewright.boxes.spec import Decoder

Shape = Sequence[int | None]

DECODERS = ", ".join(get_args(Decoder))
TENSORS = 'For any other model: task = "tensors". It takes any outputs and compares them with the float model.'
"""The end of every advice."""


def advice(shapes: Sequence[Shape]) -> str:
    """What a user may write into the TOML of a model with outputs of these shapes (None: an open size)."""
    found = [f'task = "{name}" ({what})' for name, what in suggested(shapes) if name in tasks.names()]
    said = f"By the shapes of the outputs, it may be {' or '.join(found)}. " if found else ""
    return f'{said}Name the scores of a classifier in the model\'s TOML: outputs = ["logits"]. {TENSORS}'


def suggested(shapes: Sequence[Shape]) -> list[tuple[str, str]]:
    """The tasks by name that outputs of these shapes suggest, each with its reason; the most likely one first."""
    boxes = ("detect", f"boxes; [detect] decoder = one of {DECODERS}")
    maps = [shape for shape in shapes if len(shape) == 4]
    if len(shapes) > 1:
        return (
            [boxes, ("pose", "keypoints")]
            if len(maps) in (0, len(shapes))
            else [("pose", "keypoints and a mask"), boxes]
        )
    (shape,) = shapes or ([],)
    if maps:
        channels = min((side for side in shape[1:] if side), default=0)
        if channels == 1:
            return [("segment", "a mask"), ("depth", "a depth map")]
        return [("restore", "an image"), ("segment", "classes")] if channels == 3 else [("segment", "class maps")]
    if len(shape) == 3:
        points = shape[2] in (2, 3, 4)
        several = ("landmarks", "points of one object")
        return [several, ("pose", "keypoints"), boxes] if points else [boxes]
    return []
