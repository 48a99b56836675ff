"""Check whether a detector is at chance: its mAP (50-95) is below one point on many labeled boxes."""

from __future__ import annotations

POINTS, BOXES = 1.0, 20
"""Maximum mAP in points at chance, and the minimum number of labeled boxes for the verdict."""


def of_boxes(points: float, boxes: int) -> str | None:
    """Return why a detector with this mAP (points) on `boxes` labeled boxes is at chance; None if it is not."""
    if points >= POINTS or boxes < BOXES:
        return None
    return (
        f"The boxes of the reference hardly match the {boxes} labeled ones (mAP {points:.2f}%; chance is about 0). "
        "Likely causes: the classes of the data set are in another order than the model's, its boxes are wrong, "
        "preprocessing differs from training, or the weights are not trained."
    )
