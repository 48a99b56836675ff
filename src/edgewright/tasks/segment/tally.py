"""The pixels of each image by class: what is right, what was found, and what there is. All scores are sums of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.data import pairs
from edgewright.data.items import Item

from . import boundary, runs

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Tally(NamedTuple):
    """Pixels of each image and class, each (images, classes).

    `hits`: of the class in the answer and in the truth. `found`: in the answer. `there`: in the truth. `edge_hits` and
    `edges`: intersection and union of the bands along the outlines (see `boundary`). Ignored pixels are in none.
    """

    hits: Ints
    found: Ints
    there: Ints
    edge_hits: Ints
    edges: Ints

    @property
    def union(self) -> Ints:
        """Pixels of the class in the answer or the truth."""
        return self.found + self.there - self.hits


def tallies(answers: Sequence[np.ndarray], items: Sequence[Item], spec: ModelSpec) -> list[Tally]:
    """Return the tally of each of `answers`, which are rows (see `runs`) for the same `items`.

    Each mask is read once. Raises `InvalidInput` for a mask of another size, or with a class that the model lacks.
    """
    found = [Tally(*np.zeros((5, len(items), spec.classes), np.int64)) for _ in answers]
    every = [runs.each(rows, len(items)) for rows in answers]
    for number, (item, *maps) in enumerate(zip(items, *every)):
        truth = truth_of(item, spec)
        band = boundary.Bands(truth, spec.classes)
        for tally, classes in zip(found, maps):
            _require_size(classes, truth, item)
            _count(tally, number, classes, truth, spec.classes)
            tally.edge_hits[number], tally.edges[number] = band.against(classes)
    return found


def truth_of(item: Item, spec: ModelSpec) -> np.ndarray:
    """Return the model's class of each pixel, (height, width); `pairs.IGNORE` where none is known."""
    truth = pairs.class_map(item)
    most = int(truth.max(initial=0, where=truth != pairs.IGNORE))
    if most >= spec.classes:
        raise InvalidInput(
            f"{item.pair} has class {most}.",
            f"The model has {spec.classes} classes: 0 to {spec.classes - 1}.",
            "Correct the mask, or add the class of each id to the model's TOML: [segment] ids.",
        )
    return truth


def both(answers: np.ndarray, reference: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield both maps of each image."""
    yield from zip(runs.each(answers), runs.each(reference), strict=True)


def _count(tally: Tally, number: int, classes: np.ndarray, truth: np.ndarray, count: int) -> None:
    counted = truth != pairs.IGNORE
    ours, theirs = classes[counted], truth[counted]
    tally.found[number] = np.bincount(ours, minlength=count)
    tally.there[number] = np.bincount(theirs, minlength=count)
    tally.hits[number] = np.bincount(theirs[ours == theirs], minlength=count)


def _require_size(classes: np.ndarray, truth: np.ndarray, item: Item) -> None:
    if classes.shape != truth.shape:
        raise InvalidInput(
            f"{item.pair} has {truth.shape[1]}x{truth.shape[0]} pixels, and its image {item.path} has "
            f"{classes.shape[1]}x{classes.shape[0]}.",
            "A mask has the class of each pixel of its image.",
            "Scale the mask to its image, without interpolation.",
        )
