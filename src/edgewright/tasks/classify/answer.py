"""The answer of a classifier: the best classes of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgewright.tasks import interchange

if TYPE_CHECKING:
    from edgewright.tasks.contract import Line


class Prediction(msgspec.Struct, frozen=True):
    """One class of one image.

    `index`: the index of the class. `label`: its name. `score`: from 0 to 1 if the spec's scores are probabilities.
    """

    index: int
    label: str
    score: float


class Classification(msgspec.Struct, frozen=True):
    """The best classes of one image.

    `top`: one `Prediction` each, best first. For equal scores, the lower index comes first, as in argmax.
    """

    top: tuple[Prediction, ...]

    @property
    def index(self) -> int:
        """The index of the best class."""
        return self.top[0].index

    @property
    def label(self) -> str:
        """The label of the best class."""
        return self.top[0].label

    @property
    def score(self) -> float:
        """The score of the best class, from 0 to 1 if the spec's scores are probabilities."""
        return self.top[0].score

    def to_json(self, top: int = 3) -> dict[str, Any]:
        """Return the best `top` classes as plain data."""
        return {"top": [{"label": p.label, "index": p.index, "score": p.score} for p in self.top[:top]]}

    def lines(self, top: int = 3) -> list[Line]:
        """Return the best `top` classes as one line."""
        first, *rest = self.top[:top]
        others = "".join(f", {p.label} {p.score:.1%}" for p in rest)
        return [(("bold", first.label), f" {first.score:.1%}", ("dim", others))]

    def to_coco(self, image: int) -> list[dict[str, Any]]:
        """Return a row per class of `top`, with `image` as its image_id. COCO's own results have no classes of
        images."""
        return [{"image_id": image, "category_id": p.index, "score": p.score} for p in self.top]

    def to_ultralytics(self) -> list[dict[str, Any]]:
        """Return the rows of Ultralytics' ``Results.summary()``, for at most five classes."""
        return [interchange.summary_row(p.label, p.index, p.score) for p in self.top[:5]]

    def to_supervision(self) -> Any:
        """Return a ``supervision.Classifications`` of `top`. Raises `Unavailable` if supervision is not installed."""
        return interchange.supervision().Classifications(
            class_id=np.array([p.index for p in self.top]),
            confidence=np.array([p.score for p in self.top], np.float32),
        )
