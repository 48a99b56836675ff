"""What a data set must hold: ``colours.csv`` beside the images, a row an image: name, red, green, blue."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec
from edgewright.data.sets import ImageSet, Item
from edgewright.data.wants import PLAIN

TABLE = "colours.csv"
WANTS = PLAIN
NEEDS = "a colour an image"
CLASSES = False
TURNED = ""


def known(item: Item) -> bool:
    """Whether the colour of an image is known."""
    return item.truth is not None


def found(images: ImageSet) -> ImageSet:
    """`images` with the colours that the tables beside them name."""
    folders = {Path(item.path).parent for item in images.items}
    tables = {folder: _read(folder / TABLE) for folder in folders}
    items = [
        msgspec.structs.replace(item, truth=tables[Path(item.path).parent].get(Path(item.path).name))
        for item in images.items
    ]
    return msgspec.structs.replace(images, items=tuple(items))


def match(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """`images`, of which each has a colour."""
    for item in images.items:
        if item.truth is None:
            name = Path(item.path).name
            raise InvalidInput(f"{TABLE} has no row for {name}.", "Every image needs one.", "Add it.")
    return images


def _read(table: Path) -> dict[str, tuple[float, ...]]:
    if not table.is_file():
        return {}
    with table.open() as file:
        return {name: tuple(map(float, colour)) for name, *colour in csv.reader(file)}
