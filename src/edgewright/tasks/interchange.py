"""Answers in the formats of other tools: Ultralytics' ``Results.summary()``, supervision, and COCO's results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np

from edgewright.core.errors import InvalidInput, Unavailable

CLASS_NAME = "class_name"
"""supervision's key for the labels in ``Detections.data``."""
DECIMALS = 5
"""Ultralytics' number of decimals."""


def summary_row(name: str, index: int, score: float, corners: Iterable[float] = (), **more: Any) -> dict[str, Any]:
    """Return a row of Ultralytics' ``Results.summary()``.

    `corners`: x1, y1, x2, y2 and so on in pixels; without them the row has no box. `more`: further fields of the row.
    """
    row: dict[str, Any] = {"name": name, "class": index, "confidence": rounded(score)}
    values = [rounded(value) for value in corners]
    if values:
        row["box"] = {f"{'xy'[k % 2]}{k // 2 + 1}": value for k, value in enumerate(values)}
    return row | more


def rounded(value: float) -> float:
    """Return a number as Ultralytics writes it."""
    return round(float(value), DECIMALS)


def rounded_list(values: np.ndarray) -> list[float]:
    """Return numbers as Ultralytics writes the coordinates of polygons and keypoints."""
    found: list[float] = np.asarray(values).astype(float).round(DECIMALS).tolist()
    return found


def class_names(indices: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Return the label of each class index, for ``Detections.data`` of supervision. Without `names`, it is the
    index."""
    return np.array([names[index] if names else str(index) for index in indices.tolist()], dtype=str)


def supervision() -> Any:
    """Return the package supervision. Raises `Unavailable` if it is not installed."""
    try:
        import supervision as package
    except ModuleNotFoundError as error:
        if error.name != "supervision":
            raise  # a dependency of the library is broken: its own error says more
        raise Unavailable(
            "The Python package 'supervision' is not installed.",
            "`to_supervision()` returns objects of this package.",
            "Install it: pip install supervision",
        ) from None
    return package


def refuse_supervision(what: str) -> NoReturn:
    """Raise `InvalidInput`, because supervision has no type for `what`."""
    raise InvalidInput(
        f"supervision has no type for {what}.",
        "It has types for boxes, masks, keypoints and classes.",
        "Use to_json(), or the fields of the answer.",
    )
