"""Checks of a description of one object's points against a model's outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgewright.core.errors import EdgewrightError, InvalidInput

from .layouts import Described, Single


def require_readable(read: Callable[[], object], outputs: Sequence[np.ndarray], origin: str) -> None:
    """Raise `InvalidInput` with the shapes of `outputs` if `read` cannot read them."""
    try:
        read()
    except EdgewrightError as error:
        shapes = ", ".join(f"[{', '.join(map(str, ('N', *np.shape(array)[1:])))}]" for array in outputs)
        raise InvalidInput(
            f"The description does not fit the outputs of {origin} ({shapes}): {error.what}", error.why, error.fix
        ) from error


def require_plausible(table: str, layout: Single, outputs: Sequence[np.ndarray], d: Described, origin: str) -> None:
    """Raise `InvalidInput` if coordinates or scores have another range than described. `table`: of the description."""
    if d.object_score is not None:
        _require_scores(table, "object_score", np.asarray(outputs[-1]), d.object_score, origin)
    if layout != "points":
        return
    rows = np.asarray(outputs[0], np.float32).reshape(-1, len(d.values))
    places = [k for k, letter in enumerate(d.values) if letter == "s"]
    if places:
        _require_scores(table, "point_scores", rows[:, places], d.point_scores, origin)
    flat = rows[:, [d.values.index("x"), d.values.index("y")]]
    low, high = float(np.percentile(flat, 5)), float(np.percentile(flat, 95))
    small = low >= -1 and high <= 2
    if small != (d.units == "relative") and high - low > 1e-3:
        are, would = ("relative to the input", "relative") if small else ("pixels", "pixels")
        raise InvalidInput(
            f'{origin} gives coordinates from {low:.3g} to {high:.3g}; the description says units = "{d.units}".',
            f"Such numbers are {are}.",
            f'Write [{table}] units = "{would}", or correct values.',
        )


def _require_scores(table: str, field: str, raw: np.ndarray, rule: str, origin: str) -> None:
    low, high = float(raw.min()), float(raw.max())
    if rule == "none" and not (low >= -1e-2 and high <= 1 + 1e-2):
        raise InvalidInput(
            f'{origin} gives scores from {low:.3g} to {high:.3g}; the description says {field} = "none".',
            "Such numbers are logits.",
            f'Write [{table}] {field} = "sigmoid", or correct the order of values and outputs.',
        )
