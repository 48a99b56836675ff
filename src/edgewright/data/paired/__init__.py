"""Sets in which a file belongs to each image: a mask of classes, a depth map, or the image to restore.

layouts.py finds the folders, matching.py the file of each image, names.py the classes. Only headers of the files are
read, except for a sample of masks; `edgewright.data.pairs` opens a file when its image is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgewright.core.errors import InvalidInput
from edgewright.data import pairs, photos
from edgewright.data.items import ImageSet, Item
from edgewright.data.wants import Pair

from .layouts import Layout, Part, find
from .matching import images_of, matched
from .names import Classes, classes

__all__ = ["Layout", "find", "read", "unread", "with_pairs"]

KINDS: tuple[Pair, ...] = ("classes", "depth", "image")
"""All kinds, in the order in which they are looked for if the task is not known."""

_NAMES = {"classes": "mask", "depth": "depth map", "image": "target image"}


def read(layout: Layout, split: str, labels: bool) -> ImageSet:
    """Return the images of `split`; with `labels`, with their files.

    Raises `InvalidInput` that names the file if one is missing or has another size than its image.
    """
    part = layout.parts[split]
    listed = images_of(part, layout.kind)
    name, remarks = layout.folder.name, listed.left_out()
    if not labels or part.targets is None or not listed.images:
        items = tuple(Item(path, None) for path in listed.images)
        return ImageSet(name=name, split=split, items=items, classes=(), remarks=tuple(remarks))
    found, noticed = matched(layout, part, listed.images)
    known = Classes()
    if layout.kind == "classes":
        known = classes(_folders(layout, part), list(found.values()))
    items = with_pairs([(path, found[path]) for path in listed.images], layout.kind, known.ids)
    return ImageSet(
        name=name, split=split, items=items, classes=known.names, order="file" if known.names else "index",
        remarks=(*remarks, *noticed, *known.remarks),
    )  # fmt: skip


def with_pairs(found: Sequence[tuple[str, str]], kind: Pair, ids: pairs.Ids | None) -> tuple[Item, ...]:
    """Return the items of (image, file) pairs. Raises `InvalidInput` if the sizes of an image and its file differ.

    An image whose header cannot be read has no file; it is left out later.
    """
    headers = photos.headers([image for image, _ in found])
    sizes = photos.each(pairs.size_of, [path for _, path in found])
    scale = _scale(found, headers, sizes) if kind == "image" else 1
    items = list[Item]()
    for (image, path), header, size in zip(found, headers, sizes):
        if header is None:
            items.append(Item(image, None))
            continue
        turn = _turn(image, path, header, size, scale)
        items.append(Item(image, None, None, header.orientation, header.upright, None, path, turn, ids))
    return tuple(items)


def _turn(image: str, path: str, header: photos.Header, size: tuple[int, int] | None, scale: int) -> int:
    """Return the orientation by which the file must be turned to be upright, as its image."""
    if size is None or _fits(size, header.upright, scale):
        return 1
    if _fits(size, header.size, scale):
        return header.orientation
    width, height = (scale * side for side in header.upright)
    raise InvalidInput(
        f"{path} has {size[0]}x{size[1]} pixels, and its image {image} has {header.upright[0]}x{header.upright[1]}.",
        f"Expected: {width}x{height}" + (f", at the scale {scale} of the other images." if scale > 1 else "."),
        "Use the files of the same images. Scale masks without interpolation.",
    )


def _fits(size: tuple[int, int], image: tuple[int, int], scale: int) -> bool:
    """Whether a file has the size of its image. Sides that `scale` does not divide were rounded down."""
    return all(0 <= side - scale * small < max(scale, 1) for side, small in zip(size, image))


def _scale(
    found: Sequence[tuple[str, str]], headers: Sequence[photos.Header | None], sizes: Sequence[tuple[int, int] | None]
) -> int:
    """Return how many times larger the images to restore are. Raises `InvalidInput` if it is no whole number."""
    for (image, path), header, size in zip(found, headers, sizes):
        if header is None or size is None:
            continue
        scale = size[0] // header.upright[0] or size[0] // header.size[0]
        if scale < 1:
            raise InvalidInput(
                f"{path} has {size[0]}x{size[1]} pixels, and its image {image} has more.",
                "A restored image is as large as the degraded one, or larger by a whole number.",
                "Check that the folders of good and degraded images are not swapped.",
            )
        return scale
    return 1


def _folders(layout: Layout, part: Part) -> list[Path]:
    """Return the folders that can hold a list of the classes, the nearest first."""
    assert part.targets is not None
    every = [part.targets, *part.targets.parents]
    below = every[: every.index(layout.folder) + 1] if layout.folder in every else [part.targets]
    return [*below, layout.folder]


def unread(layout: Layout) -> str:
    """Return what a folder has for a task, as text."""
    return f"{layout.mark} ({_NAMES[layout.kind]}s)"
