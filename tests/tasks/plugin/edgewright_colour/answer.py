"""The answer: a colour."""

from __future__ import annotations

from typing import Any, NamedTuple

from edgewright.tasks import interchange


class MeanColour(NamedTuple):
    """Red, green and blue from 0 to 255."""

    red: float
    green: float
    blue: float

    def to_json(self, top: int = 3) -> dict[str, Any]:
        """Fields for --json."""
        return {"colour": [round(value, 3) for value in self]}

    def lines(self, top: int = 3) -> list[Any]:
        """One line for a terminal."""
        return [("colour #" + "".join(f"{round(min(max(value, 0), 255)):02x}" for value in self),)]

    def to_coco(self, image: int) -> list[dict[str, Any]]:
        """COCO has no colours."""
        return []

    def to_ultralytics(self) -> list[dict[str, Any]]:
        """Ultralytics has no colours."""
        return []

    def to_supervision(self) -> Any:
        """supervision has no colours."""
        interchange.refuse_supervision("a mean colour")
