"""Which folders of a data set hold images and which hold the files that belong to them, for each split."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.core.image_files import SUFFIXES
from edgewright.data import listing
from edgewright.data.pairs import ARRAYS
from edgewright.data.splits import CALIBRATE_ON, role
from edgewright.data.wants import Pair


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


IMAGES = _words("images image imgs img jpegimages leftimg8bit rgb color colors input inputs photos frames x")
"""Folders of images, without regard to capitals and separators."""

TARGETS: Mapping[Pair, frozenset[str]] = {
    "classes": _words(
        "masks mask labels label annotations annotation segmentations segmentation segmentationclass segmaps gtfine gt "
        "groundtruth labelids classmaps stuffthingmaps pixelmaps seg y"
    ),
    "depth": _words("depth depths depthmaps depthmap gt groundtruth rawdepth syncdepth depthgt annotated projdepth"),
    "image": _words("hr high target targets gt clean sharp groundtruth highres"),
}
"""Folders of the files that belong to images."""

DEGRADED = _words("lr lq low input inputs noisy degraded blur lowres lrbicubic")
"""Folders of images that a network restores."""

CERTAIN = frozenset([("lr", "hr"), ("lrbicubic", "hr")])
"""Pairs of degraded and good images that are no names of classes."""

SUFFIXES_OF: Mapping[Pair, tuple[str, ...]] = {
    "classes": (".png", ".bmp", ".gif", ".tif", ".tiff"),
    "depth": (".png", *ARRAYS, ".tif", ".tiff"),
    "image": SUFFIXES,
}
"""Suffixes of these files. JPEG changes class ids."""

KIT = ("JPEGImages", "SegmentationClass")
LISTS = ("ImageSets", "Segmentation")
"""Pascal VOC's folders, and where the images of its splits are listed."""

ROBOFLOW = "_classes.csv"
"""Roboflow's table of class ids, next to images ``a.jpg`` and masks ``a_mask.png``."""

_SCALE = re.compile(r"x(\d+)")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One split: the folder of images, and the folder of the files that belong to them (None: there are none).

    `names`: the list of images, if only some count.
    """

    images: Path
    targets: Path | None
    names: Path | None = None


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """A set of pairs: its folder, the kind of its files, and its parts by split ("" without splits)."""

    folder: Path
    kind: Pair
    parts: Mapping[str, Part]
    mark: str


def find(folder: Path, kind: Pair, sure: bool = False) -> Layout | None:
    """Return the layout of `folder` for files of this kind; None if it has none.

    `sure`: only if the folders cannot be classes of images.
    """
    if not folder.is_dir():
        return None
    if kind == "classes" and (found := _kit(folder)):
        return found
    if kind == "image" and (found := _named(folder)):
        return found
    names = listing.folders(folder)
    if found := _siblings(folder, names, kind, sure):
        return found
    parts, mark = dict[str, Part](), ""
    for name in (name for name in names if role(name)):
        below = _siblings(folder / name, listing.folders(folder / name), kind, sure) or _flat(folder / name, kind)
        if below and set(below.parts) == {""}:
            parts[name], mark = below.parts[""], mark or f"{name}/{below.mark}"
    if parts:
        return Layout(folder=folder, kind=kind, parts={**_bare(folder, names, parts), **parts}, mark=mark)
    return _flat(folder, kind)


def _bare(folder: Path, names: Sequence[str], parts: Mapping[str, Part]) -> dict[str, Part]:
    """Return the split folders of calibration images, which need no files, next to the `parts` with files."""
    found = dict[str, Part]()
    for name in names:
        if role(name) in CALIBRATE_ON and name not in parts:
            own = [one for one in listing.folders(folder / name) if plain(one) in IMAGES]
            found[name] = Part(images=folder / name / own[0] if len(own) == 1 else folder / name, targets=None)
    return found


def plain(name: str) -> str:
    """Return the name of a folder without capitals and separators."""
    return re.sub(r"[-_ .]", "", name.casefold())


def _siblings(folder: Path, names: list[str], kind: Pair, sure: bool) -> Layout | None:
    """Return the layout of a folder of images next to a folder of files, each with or without split folders."""
    allowed = DEGRADED if kind == "image" else IMAGES
    sources = [name for name in names if plain(name) in allowed]
    targets = [
        name for name in names if plain(name) in TARGETS[kind] and name not in sources and _holds(folder / name, kind)
    ]
    if kind == "image" and sure:
        both = [(a, b) for a in sources for b in targets if (plain(a), plain(b)) in CERTAIN]
        sources, targets = ([pair[k] for pair in both] for k in (0, 1))
    if kind == "image" and not sources and len(targets) == 1 and plain(targets[0]) == "hr":
        sources, targets = targets, []  # the degradation is computed
        return Layout(folder=folder, kind=kind, parts=_parts(folder / sources[0], None), mark=f"{sources[0]}/")
    if not sources or not targets:
        return None
    if len(sources) > 1 or len(targets) > 1:
        several = sources if len(sources) > 1 else targets
        raise InvalidInput(
            f"{folder} has several folders for the same: {', '.join(several)}.",
            "edgewright cannot know which of them to use.",
            "Keep one of them, or give a folder with links to the right two.",
        )
    images = _scaled(folder / sources[0]) if kind == "image" else folder / sources[0]
    return Layout(
        folder=folder, kind=kind, parts=_parts(images, folder / targets[0]), mark=f"{sources[0]}/ and {targets[0]}/"
    )


def _parts(images: Path, targets: Path | None) -> dict[str, Part]:
    """Return the parts by the split folders in `images`; the part of the split "" without such folders."""
    names = listing.folders(images)
    if not names or not all(map(role, names)):
        return {"": Part(images=images, targets=targets)}
    if targets is None:
        return {name: Part(images=images / name, targets=None) for name in names}
    others = {role(name): name for name in listing.folders(targets)}
    found = {
        name: Part(images=images / name, targets=targets / others[role(name)]) for name in names if role(name) in others
    }
    bare = [name for name in names if name not in found and role(name) in CALIBRATE_ON]
    return {**{name: Part(images=images / name, targets=None) for name in bare}, **found}


def _kit(folder: Path) -> Layout | None:
    """Return the layout of Pascal VOC's development kit."""
    images, targets = (folder / name for name in KIT)
    if not images.is_dir() or not targets.is_dir():
        return None
    lists = folder.joinpath(*LISTS)
    found = sorted(lists.glob("*.txt")) if lists.is_dir() else []
    parts = {path.stem: Part(images=images, targets=targets, names=path) for path in found if path.is_file()}
    whole = {"": Part(images=images, targets=targets)}
    return Layout(folder=folder, kind="classes", parts=parts or whole, mark=" and ".join(f"{k}/" for k in KIT))


def _named(folder: Path) -> Layout | None:
    """Return the layout of folders that are named by their split: ``DIV2K_valid_HR``, ``DIV2K_valid_LR_bicubic``."""
    good, poor = dict[str, Path](), dict[str, Path]()
    for name in listing.folders(folder):
        words = re.split(r"[-_ ]+", name.casefold())
        split = next((word for word in words if role(word)), "")
        if not split or len(words) < 2:
            continue
        if "hr" in words:
            good[split] = folder / name
        elif "lr" in words:
            if split in poor:
                raise InvalidInput(
                    f"{folder} has several folders for the same: {poor[split].name}, {name}.",
                    "edgewright cannot know which of them to use.",
                    "Keep one of them, or give a folder with links to the right two.",
                )
            poor[split] = folder / name
    if not good:
        return None
    parts = {
        split: Part(images=_scaled(poor[split]), targets=path) if split in poor else Part(images=path, targets=None)
        for split, path in good.items()
    }
    return Layout(folder=folder, kind="image", parts=parts, mark=f"{next(iter(good.values())).name}/")


def _scaled(folder: Path) -> Path:
    """Return the folder of one scale (``X2``) in the folder of degraded images; the folder itself without such."""
    names = listing.folders(folder)
    scales = [name for name in names if _SCALE.fullmatch(name.casefold())]
    if not scales or scales != names:
        return folder
    if len(scales) > 1:
        raise InvalidInput(
            f"{folder} has the scales {', '.join(scales)}.",
            "A network restores one scale.",
            f"Give a folder with links to the good images and to {folder.name}/{scales[0]} (as LR).",
        )
    return folder / scales[0]


def _flat(folder: Path, kind: Pair) -> Layout | None:
    """Return the layout of a folder with images and Roboflow's masks next to each other."""
    if kind != "classes" or not (folder / ROBOFLOW).is_file():
        return None
    with (folder / ROBOFLOW).open("rb") as file:
        if b"pixel" not in file.read(64).lower():
            return None
    return Layout(
        folder=folder, kind=kind, parts={"": Part(images=folder, targets=folder)}, mark=f"{ROBOFLOW} and masks"
    )


def _holds(folder: Path, kind: Pair) -> bool:
    """Whether a folder holds files of this kind, at any depth."""
    return next(_files(folder, SUFFIXES_OF[kind], 4), None) is not None


def _files(folder: Path, suffixes: tuple[str, ...], deep: int) -> Iterator[str]:
    with os.scandir(folder) as entries:
        every = [entry for entry in entries if not entry.name.startswith(".")]
    yield from (entry.path for entry in every if entry.name.lower().endswith(suffixes) and entry.is_file())
    if deep:
        for entry in every:
            if entry.is_dir():
                yield from _files(Path(entry.path), suffixes, deep - 1)
