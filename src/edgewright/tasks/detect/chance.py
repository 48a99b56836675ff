"""Whether a detector knows its data at all: with an mAP (50-95) below one point on many labelled boxes it does not."""

from __future__ import annotations

POINTS, BOXES = 1.0, 20
"""mAP in points below which a detector is at chance, on so many boxes."""


def of_boxes(points: float, boxes: int) -> str | None:
    """What is wrong where a detector of this mAP on so many labelled boxes is at chance, and why; else None."""
    if points >= POINTS or boxes < BOXES:
        return None
    return (
        f"The boxes of the reference hardly match the {boxes} labelled ones (mAP {points:.2f} %; chance is about 0). "
        "Likely causes: the classes of the data set are in another order than the model's, its boxes are wrong, "
        "preprocessing differs from training, or the weights are not trained."
    )
