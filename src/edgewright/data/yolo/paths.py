"""What a YOLO set says of itself, and where the paths that it names are.

Paths come from another machine more often than not (absolute ones, ``../datasets/x``, ``data/obj_train_data/x.jpg``,
backslashes). Nothing outside the data folder is read: a path that leads out of it is an error if it exists there;
where it does not, its longest ending that exists below the data folder is taken, with a remark.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.core.files import absolute
from edgewright.core.image_files import SUFFIXES
from edgewright.data.boxes import Skeleton, text_of, wrong
from edgewright.data.listing import Listing, below
from edgewright.data.remarks import Remark, remark
from edgewright.data.splits import role

CLASS_FILES = ("classes.txt", "obj.names", "_darknet.labels")
"""Files of class names, a line each."""


_BESIDE = (*CLASS_FILES, ".cache")
"""Files that are next to images and are no images; a cache is Ultralytics' own."""
_HEAD = 1 << 20


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """A YOLO set: its data `folder`, the file (or folder) that describes it, its classes, the images of each split.

    `sources` has folders of images and ``.txt`` lists of images, by split ("" where there are no splits). `base` is the
    folder that lists are relative to. `classes` is empty if nothing names them. `points` is the number of keypoints and
    of the values of each (2 or 3) in a row of a pose set, and `skeleton` says more about them. `beside`: a label file
    next to its image counts before one in ``labels/``.
    """

    folder: Path
    where: Path
    base: Path
    classes: tuple[str, ...]
    sources: Mapping[str, tuple[Path, ...]]
    points: tuple[int, int] | None = None
    skeleton: Skeleton | None = None
    beside: bool = False
    remarks: tuple[Remark, ...] = ()


class Images(msgspec.Struct, frozen=True, kw_only=True):
    """The images of a split, sorted; the folders that were searched for them (and whether with those below them)."""

    paths: tuple[str, ...]
    searched: tuple[tuple[Path, bool], ...]
    remarks: tuple[Remark, ...]


def split_of(name: str) -> str | None:
    """The split that a key or a folder `name` stands for: val for ``Valid``, train for ``obj_train_data``."""
    return role(re.sub(r"^obj_(\w+)_data$", r"\1", name))


def located(folder: Path, bases: Sequence[Path], value: str, *, any_ending: bool) -> tuple[Path, bool] | None:
    """Where `value` is below `folder`, relative to the first of `bases` that has it; and whether it was shortened.

    None if it is nowhere. `any_ending`: a relative path too may lose its first parts, and not only the first one:
    "data", the name of the data folder, or one that does not exist before the name of a split (the name that the
    folder had). Raises `IntegrityError` if it is outside `folder`.
    """
    for base in bases:
        path = absolute(base / value)
        inside = _inside(folder, path)
        if os.path.exists(inside or path):  # noqa: PTH110 - False, and no error, for a name that no file can have
            if inside is None:
                raise _leads_out(value)
            return inside, False
    parts = [part for part in PurePosixPath(value).parts if part not in ("/", "..", ".")]
    elsewhere = any_ending or re.match(r"/|\.\./|[A-Za-z]:/", value)
    count = len(parts) if elsewhere else 2 if parts and _is_wrapper(parts, folder, bases) else 0
    for k in range(min(count, len(parts))):
        if any(map(split_of, parts[:k])) and not any(map(split_of, parts[k:])):
            break  # of "test/images", "images" is another folder
        for base in bases:
            path = base.joinpath(*parts[k:])
            if os.path.exists(path):  # noqa: PTH110
                return path, True
    return None


def _is_wrapper(parts: Sequence[str], folder: Path, bases: Sequence[Path]) -> bool:
    """Whether the first of `parts` is what a tool put around the set: Roboflow writes Pets-1/train/images."""
    if parts[0] in ("data", folder.name):
        return True
    # Without the name of a split behind it, what is left ("images") may be another folder than was meant.
    named = any(split_of(PurePosixPath(part).stem) for part in parts[1:])
    return named and not any(os.path.exists(base / parts[0]) for base in bases)  # noqa: PTH110 - as above


def called(folder: Path, name: str) -> Path:
    """The folder `name` in `folder`, or the one that is called so in other capitals where only that is there."""
    if (folder / name).is_dir() or not folder.is_dir():
        return folder / name
    with os.scandir(folder) as entries:
        found = sorted(one.name for one in entries if one.name.lower() == name and one.is_dir())
    return folder / (found[0] if found else name)


def images(layout: Layout, split: str) -> Images:
    """The images of `split`. Raises `InvalidInput` if a list names an image that is not there, with its line."""
    found = dict[str, None]()
    searched, remarks = list[tuple[Path, bool]](), list[Remark]()
    for source in sources(layout, split):
        if source.is_dir():
            listing = below(source)
            searched.append((source, True))
            others = tuple(path for path in listing.others if not path.endswith(_BESIDE))
            dead = tuple(path for path in listing.dead if not path.endswith(_BESIDE) and not path.endswith(".txt"))
            remarks += Listing((), others, dead).left_out()
        else:
            listing, noticed = _listed(layout, source)
            searched += [(Path(parent), False) for parent in dict.fromkeys(map(os.path.dirname, listing.images))]
            remarks += noticed
        found.update(dict.fromkeys(listing.images))
    return Images(paths=tuple(found), searched=tuple(searched), remarks=tuple(remarks))


def sources(layout: Layout, split: str) -> tuple[Path, ...]:
    """The folders and lists of `split`. Raises `InvalidInput` if the set has no such split."""
    if split not in layout.sources:
        have = ", ".join(sorted(layout.sources)) if "" not in layout.sources else "no splits"
        raise InvalidInput(f"{layout.where} has no split '{split}'.", f"It has: {have}.", "Name one of its splits.")
    return layout.sources[split]


def head(path: Path) -> str:
    """The start of a file that may describe a set, as text whatever it holds."""
    with path.open("rb") as file:
        return file.read(_HEAD).decode("utf-8-sig", "replace")


def plain(value: str) -> str:
    """A path as written in a file, with slashes."""
    return value.strip().replace("\\", "/")


def _inside(folder: Path, path: Path) -> Path | None:
    """`path` as one below `folder`, which the user may have named by a link; None if it is elsewhere."""
    if path.is_relative_to(folder):
        return path
    real = Path(os.path.realpath(folder))
    return folder / path.relative_to(real) if path.is_relative_to(real) else None


def _leads_out(value: str) -> IntegrityError:
    return IntegrityError(
        f"'{value}' points outside the folder.",
        "A path in a file of a data set may point only to files below the data folder.",
        "Copy or link the images into the data folder, and correct the path.",
    )


def _listed(layout: Layout, path: Path) -> tuple[Listing, list[Remark]]:
    """The images that the list `path` names, and what was noticed."""
    lines, shortened, repeated = dict[str, int](), list[str](), list[str]()
    for number, image, was_shortened in _entries(layout, path):
        where = f"{path.name}, line {number}"
        if image not in lines:
            lines[image] = number
        elif was_shortened:
            raise wrong(f"{path}, line {number}", f"the image is {image}, as in line {lines[image]}", "each image once")
        else:
            repeated.append(where)
        if was_shortened:
            shortened.append(where)
    text = "{count|line of a list repeats|lines of lists repeat} an image; it counts once."
    return Listing(tuple(sorted(lines)), ()), [
        *remark(
            "note",
            "paths-shortened",
            shortened,
            f"{{count|path|paths}} of {path.name}: only the end of it exists; that file is used.",
        ),
        *remark("warning", "images-listed-twice", repeated, text),
    ]


def _entries(layout: Layout, path: Path) -> Iterator[tuple[int, str, bool]]:
    """(line, path of the image, whether it was shortened) of each entry. A folder is sought once: lists are long."""
    parents = dict[str, tuple[str, bool]]()
    for number, line in enumerate(text_of(path).splitlines(), 1):
        value = plain(line)
        if not value or value.startswith("#"):
            continue
        where, (parent, _, name) = f"{path}, line {number}", value.rpartition("/")
        known, was_shortened = parents.get(parent, ("", False))
        image = os.path.join(known, name)  # noqa: PTH118 - of a million lines a Path each takes seconds
        if not known or not os.path.isfile(image):  # noqa: PTH113 - as above
            image, was_shortened = _entry(layout, path, value, where)
            parents[parent] = (os.path.dirname(image), was_shortened)  # noqa: PTH120
        if os.path.splitext(name)[1].lower() not in SUFFIXES:  # noqa: PTH122
            raise wrong(where, f"'{value}' is not an image", f"a file that ends in {' '.join(SUFFIXES)}")
        yield number, image, was_shortened


def _entry(layout: Layout, path: Path, value: str, where: str) -> tuple[str, bool]:
    # Ultralytics: "./" is the folder of the list; everything else, the folder that the training starts in.
    bases = [path.parent, layout.base] if value.startswith("./") else [layout.base, path.parent]
    try:
        found = located(layout.folder, [*bases, layout.folder], value, any_ending=True)
    except IntegrityError as error:
        raise IntegrityError(f"{where}: {error.what}", error.why, error.fix) from None
    if found is None or not found[0].is_file():
        raise wrong(where, f"the image '{value}' is missing", f"a file below {layout.folder}")
    # CVAT and Datumaro write a "data/" in front that they never make: no remark.
    return str(found[0]), found[1] and found[0] != layout.base / value.removeprefix("data/")
