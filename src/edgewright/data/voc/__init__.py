"""Pascal VOC: an XML file an image (http://host.robots.ox.ac.uk/pascal/VOC).

files.py says where the files are, documents.py reads one. VOC's pixels count from 1 and both corners belong to the
box, so x1 and y1 here are one less. "difficult" objects count as crowd: neither for nor against.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.core.image_files import SUFFIXES
from edgewright.data import plausible
from edgewright.data.boxes import Annotated, Annotations, Box, box, text_of, wrong
from edgewright.data.listing import Listing
from edgewright.data.lookup import Found, Lookup, place_remarks
from edgewright.data.remarks import Remark, remark
from edgewright.data.wants import Wants

from . import files
from .documents import Content, Object, parsed
from .files import Layout, Line

_ORDERS = ("labelmap.txt", "classes.txt", "predefined_classes.txt")
"""Files that list the classes: CVAT's and Datumaro's, LabelImg's."""

_ROUNDED = 2
"""So many pixels beyond the image are an error of rounding."""


class _Pairs(msgspec.Struct, frozen=True):
    """The image of each XML file that has one, by the names of the XML files, and what was noticed on the way."""

    images: dict[str, str]
    unpaired: tuple[str, ...]
    remarks: tuple[Remark, ...]


def marks(folder: Path) -> list[str]:
    """What in `folder` says that it is a VOC set; empty if nothing does."""
    found = files.layout(folder)
    return [found.mark] if found else []


def splits(folder: Path, wants: Wants | None = None) -> list[str]:
    """The splits that `folder` has, sorted: the lists in ``ImageSets/Main``, or folders below the annotations'."""
    return files.splits(_layout(folder))


def images(folder: Path, split: str, wants: Wants | None = None) -> tuple[str, ...]:
    """The absolute paths of the images of `split`, in the order of `read`. XML files without such a name are parsed."""
    found = _layout(folder)
    paths, _ = files.xml_files(found)
    pairs = _paired(found, paths, {})
    return tuple(path for _, path in _chosen(found, split, paths, pairs))


def read(folder: Path, split: str, wants: Wants | None = None) -> Annotations:
    """The images and boxes of `split`, or of all annotations. Raises `InvalidInput` that names the file and the line.

    Classes are numbered over all annotations of the folder, so that every split has the same numbers: in the
    order of a file next to them, else sorted by name.
    """
    found = _layout(folder)
    paths, unreadable = files.xml_files(found)
    contents = {name: parsed(path) for name, path in paths.items()}
    _require_corners(contents.values())
    classes, ordered = _classes(found, sorted({one.name for each in contents.values() for one in each.objects}))
    pairs = _paired(found, paths, contents)
    label = {name: k for k, name in enumerate(classes)}
    chosen = _chosen(found, split, paths, pairs)
    dropped = list[str]()
    annotated = tuple(
        Annotated(
            path=path,
            boxes=_boxes(contents[name].objects, label, dropped),
            size=contents[name].size,
            where=str(paths[name]),
        )
        for name, path in chosen
    )
    outlines = [one.where for name, _ in chosen for one in contents[name].objects if one.outline]
    dead = "{count|XML file is a broken link|XML files are broken links} or no regular file: left out."
    around = "{count|object has|objects have} a polygon and no bndbox: the box around it is used."
    remarks = (
        *pairs.remarks,
        *remark("warning", "labels-unreadable", unreadable, dead),
        *plausible.without_area(dropped),
        *remark("note", "polygons-as-boxes", outlines, around),
        *plausible.duplicates(annotated),
    )
    return Annotations(images=annotated, classes=classes, ordered=ordered, remarks=remarks)


def _layout(folder: Path) -> Layout:
    if (found := files.layout(folder)) is None:
        raise InvalidInput(
            f"{folder} is not a VOC data set.", "It has no XML files of VOC, or no images.", "Name another folder."
        )
    return found


# --- images -----------------------------------------------------------------------------------------------------------


def _chosen(found: Layout, split: str, paths: Mapping[str, Path], pairs: _Pairs) -> list[tuple[str, str]]:
    """(name of the XML file, image) for the images of `split`.

    Raises `InvalidInput` if a list names an image that is missing, or where there is no image at all.
    """
    names = list(paths)
    lines = files.listed(found, split, names)
    if lines is None:
        kept = files.of_split(found, split, names)
        chosen = [(name, pairs.images[name]) for name in kept if name in pairs.images]
        if kept and not chosen:
            raise _missing(found, Line(str(paths[kept[0]]), kept[0]))
        return chosen
    if lost := next((line for line in lines if line.name not in pairs.images), None):
        raise _missing(found, lost)
    return [(line.name, pairs.images[line.name]) for line in lines]


def _missing(found: Layout, line: Line) -> InvalidInput:
    what = f"the image '{line.name}{SUFFIXES[0]}' is missing"
    return wrong(line.where, what, f"an image of that name in {found.images[0]}, or the one that <filename> names")


def _paired(found: Layout, paths: Mapping[str, Path], contents: Mapping[str, Content]) -> _Pairs:
    """The images of all XML files. Files that are not in `contents` are parsed where their own name is not enough."""
    lookup = Lookup(found.images, deep=not found.flat)
    by_stem = {name: lookup.with_stem(name) for name in paths}
    pairs = {name: same[0] for name, same in by_stem.items() if len(same) == 1}
    taken, by_name = set(pairs.values()), list[tuple[str, Found]]()
    for name, same in by_stem.items():
        if name in pairs:
            continue
        filename = (contents.get(name) or parsed(paths[name])).filename
        if (one := _by_filename(lookup, filename, same)) and one.path not in taken:
            pairs[name] = one.path
            taken.add(one.path)
            by_name.append((filename, one))
    unpaired = tuple(path.name for name, path in paths.items() if name not in pairs)
    return _Pairs(pairs, unpaired, (*_unused(found, lookup, unpaired, taken), *place_remarks(by_name)))


def _by_filename(lookup: Lookup, filename: str, same: Sequence[str]) -> Found | None:
    """The image that <filename> names; where `same`, images of one stem, are there, one of those."""
    if same:
        last = filename.replace("\\", "/").rpartition("/")[2]
        first = min(same, key=lambda path: (SUFFIXES.index(Path(path).suffix.lower()), path))
        return Found(next((path for path in same if Path(path).name == last), first))
    if not filename:
        return None
    found = lookup.find(filename)
    with_stem = [] if found else lookup.with_stem(filename)
    return Found(with_stem[0]) if len(with_stem) == 1 else found


def _unused(found: Layout, lookup: Lookup, unpaired: Sequence[str], taken: set[str]) -> list[Remark]:
    """Remarks on XML files without an image, images without an XML file, and other files next to the images."""
    listing = lookup.listings()[0] if lookup.listings() else None
    bare = [Path(path).name for path in listing.images if path not in taken] if listing else []
    no_image = "{count|XML file has|XML files have} no image: left out."
    no_file = "{count|image has|images have} no XML file: left out, because their objects are unknown."
    return [
        *(remark("warning", "labels-without-image", unpaired, no_image)),
        *(remark("warning", "images-without-xml", bare, no_file) if not found.lists else []),
        *(_without_xml(listing).left_out() if listing else []),
    ]


def _without_xml(listing: Listing) -> Listing:
    """`listing` without dead links to XML files, which have a remark of their own."""
    return msgspec.structs.replace(listing, dead=tuple(one for one in listing.dead if not one.lower().endswith(".xml")))


# --- classes and boxes ------------------------------------------------------------------------------------------------


def _classes(found: Layout, used: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """The class names, and whether a file gives their order. Raises `InvalidInput` if it lacks one of `used`."""
    folders = dict.fromkeys((found.folder, found.annotations, *found.images))
    path = next((path for name in _ORDERS for folder in folders if (path := folder / name).is_file()), None)
    if path is None:
        return tuple(used), False
    lines = [line.strip() for line in text_of(path).splitlines()]
    names = [line for line in lines if line]
    if path.name == _ORDERS[0]:
        names = [line.rsplit(":", 3)[0] for line in names if not line.startswith("#")]
        names = [name for name in names if name != "background" or name in used]
    if twice := next((name for k, name in enumerate(names) if name in names[:k]), None):
        raise wrong(str(path), f"the class '{twice}' is listed twice", "a class once")
    if lost := next((name for name in used if name not in names), None):
        raise wrong(str(path), f"the class '{lost}' is missing", "every class that the XML files have")
    return tuple(names), True


def _boxes(objects: Sequence[Object], label: Mapping[str, int], dropped: list[str]) -> tuple[Box, ...]:
    """The boxes of one image; the places of those without an area are added to `dropped`."""
    kept = list[Box]()
    for one in objects:
        xmin, ymin, xmax, ymax = one.corners
        if found := box(label[one.name], (xmin - 1, ymin - 1, xmax, ymax), crowd=one.difficult):
            kept.append(found)
        else:
            dropped.append(one.where)
    return tuple(kept)


def _require_corners(contents: Iterable[Content]) -> None:
    """Raise `InvalidInput` where the bndbox of all files hold parts of the image, or widths and heights."""
    every = [(one, each.size) for each in contents for one in each.objects]
    if not every:
        return
    plausible.require_pixels([one.corners for one, _ in every], [size for _, size in every], lambda: every[0][0].where)
    turned = [one for one, _ in every if one.corners[2] <= one.corners[0] or one.corners[3] <= one.corners[1]]
    sized = [(one.corners, size) for one, size in every if size]
    if len(every) < plausible.FEWEST or 2 * len(turned) <= len(every) or not sized:
        return
    if all(
        c[2] > 0 and c[3] > 0 and c[0] + c[2] <= size[0] + _ROUNDED and c[1] + c[3] <= size[1] + _ROUNDED
        for c, size in sized
    ):
        raise InvalidInput(
            f"{turned[0].where}: bndbox is {' '.join(f'{value:g}' for value in turned[0].corners)}: "
            "the corners contain width and height.",
            f"{len(turned)} of {len(every)} boxes have xmax or ymax below xmin or ymin; all fit as width and height.",
            "Write xmax = xmin + width and ymax = ymin + height.",
        )
