"""Find the file that belongs to each image, by the names of both."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edgewright.core.errors import InvalidInput
from edgewright.data import listing
from edgewright.data.boxes import text_of, wrong
from edgewright.data.lookup import ends, without_suffix
from edgewright.data.remarks import Remark, remark
from edgewright.data.wants import Pair

from .layouts import SUFFIXES_OF, Layout, Part

_TRAIN_IDS, _LABEL_IDS = "labeltrainids", "labelids"
"""Ends of the names of Cityscapes' masks: the 19 classes of training, or all 34."""

_OTHERS = ("_color", "_instanceids", "_instancetrainids")
"""Ends of the names of Cityscapes' other files."""

_AROUND = re.compile(
    r"[-_. ](?:leftimg8bit|gt(?:fine|coarse)[-_](?:labeltrainids|labelids)|labeltrainids|labelids|masks?|labels?|"
    r"segmentation|seg|annotation|gt|ground[-_]?truth|depth|l)$|"
    r"^(?:masks?|labels?|gt|depth|sync_depth|rgb|image|img)(?:[-_]|(?=\d))",
    re.IGNORECASE,
)
"""Additions to the names of an image and of its file: ``cat_mask``, ``frankfurt_0_leftImg8bit``, ``rgb_00045``."""

_KITTI = re.compile(r"_(?:groundtruth_depth|image)_")
_SCALED = re.compile(r"(?:x\d+|[-_](?:lr|hr|lq|gt|low|high|noisy|clean))$", re.IGNORECASE)
"""Additions to the names of images to restore: ``0801x2``."""


def images_of(part: Part, kind: Pair) -> listing.Listing:
    """Return the images of one split, without the masks next to them. Raises `InvalidInput` for a wrong list."""
    found = listing.below(part.images)
    if part.targets == part.images:
        kept = tuple(path for path in found.images if not _is_mask(path))
        return listing.Listing(kept, (), found.dead)
    if part.names is None:
        return found
    by_name = {without_suffix(path.rpartition("/")[2]): path for path in found.images}
    chosen = dict[str, int]()
    for number, line in enumerate(text_of(part.names).splitlines(), 1):
        if not (name := without_suffix((ends(line.strip()) or [""])[-1])):
            continue
        where = f"{part.names}, line {number}"
        if name not in by_name:
            raise wrong(where, f"the image '{name}' is missing", f"an image of that name in {part.images}")
        if by_name[name] in chosen:
            raise wrong(where, f"'{name}' is already in line {chosen[by_name[name]]}", "an image once")
        chosen[by_name[name]] = number
    return listing.Listing(tuple(chosen), (), ())


def matched(layout: Layout, part: Part, images: Sequence[str]) -> tuple[dict[str, str], list[Remark]]:
    """Return the file of each of `images`, and remarks on files without an image.

    Raises `InvalidInput` if an image has no file, or two.
    """
    assert part.targets is not None
    kind = layout.kind
    files = _files(part, kind)
    exact = _by(files, part.targets, _relative)
    loose = [_by(files, part.targets, key) for key in (_loosely, _alone)]
    found, missing = dict[str, str](), list[str]()
    for path in images:
        for k, (names, key) in enumerate(zip((exact, *loose), (_relative, _loosely, _alone))):
            if own := names.get(key(path, part.images)):
                found[path] = _only(own, path, loose=k > 0)
                break
        else:
            missing.append(path)
    if missing:
        raise _missing(layout, part, missing, len(images))
    taken = set(found.values())
    if len(taken) < len(found):
        twice = next(path for path in taken if sum(path == own for own in found.values()) > 1)
        raise InvalidInput(
            f"{twice} belongs to two images: {', '.join(k for k, v in found.items() if v == twice)}.",
            "The names do not show to which.",
            "Give each image a file of the same name.",
        )
    left = [Path(path).name for path in files if path not in taken] if part.names is None else []
    text = "{count|file has|files have} no image: left out."
    return found, remark("warning", "labels-without-image", left, text)


def _files(part: Part, kind: Pair) -> list[str]:
    """Return the files of a kind in the folder of a split."""
    assert part.targets is not None
    listed = listing.below(part.targets)
    files = [path for path in (*listed.images, *listed.others) if path.lower().endswith(SUFFIXES_OF[kind])]
    if part.targets == part.images:
        return sorted(filter(_is_mask, files))
    if kind == "classes":
        stems = {path: without_suffix(path).casefold() for path in files}
        files = [path for path in files if not stems[path].endswith(_OTHERS)]
        for ending in (_TRAIN_IDS, _LABEL_IDS):
            if some := [path for path in files if stems[path].endswith(ending)]:
                return sorted(some)
    return sorted(files)


def _is_mask(path: str) -> bool:
    return without_suffix(path).casefold().endswith("_mask")


def _relative(path: str, folder: Path) -> str:
    """Return the path below its folder, without the suffix."""
    return without_suffix(path[len(str(folder).rstrip("/")) + 1 :])


def _loosely(path: str, folder: Path) -> str:
    """Return the path below its folder without suffix, capitals and the additions of tools."""
    head, slash, name = _relative(path, folder).rpartition("/")
    return f"{head}{slash}{_bare(name)}".casefold()


def _alone(path: str, folder: Path) -> str:
    """Return the name without folders and additions."""
    return _bare(_relative(path, folder).rpartition("/")[2]).casefold()


def _bare(name: str) -> str:
    name = _KITTI.sub("_", name)
    while (shorter := _AROUND.sub("", _SCALED.sub("", name))) and shorter != name:
        name = shorter
    return name


def _by(files: Iterable[str], folder: Path, key: Callable[[str, Path], str]) -> dict[str, list[str]]:
    found = defaultdict[str, list[str]](list)
    for path in files:
        found[key(path, folder)].append(path)
    return dict(found)


def _only(own: Sequence[str], image: str, loose: bool) -> str:
    if len(own) == 1:
        return own[0]
    raise InvalidInput(
        f"{image} has {len(own)} files: {', '.join(own[:3])}.",
        "edgewright cannot know which of them to use." + (" Their names differ only in additions." if loose else ""),
        "Keep one of them.",
    )


def _missing(layout: Layout, part: Part, missing: Sequence[str], images: int) -> InvalidInput:
    what = {"classes": "mask", "depth": "depth map", "image": "target image"}[layout.kind]
    assert part.targets is not None
    expected = part.targets / f"{_relative(missing[0], part.images)}{SUFFIXES_OF[layout.kind][0]}"
    return InvalidInput(
        f"{len(missing)} of {images} images have no {what}: {missing[0]} has no {expected}.",
        f"Each image in {part.images} needs one of the same name.",
        f"Add the files, or move images without a {what} to another folder.",
    )
