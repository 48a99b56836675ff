"""Pascal VOC: ``JPEGImages/``, an XML file an image in ``Annotations/``, splits in ``ImageSets/Main/<split>.txt``.

The format is that of the VOC development kits (http://host.robots.ox.ac.uk/pascal/VOC). Its pixels count from 1 and
both corners belong to the box, so x1 and y1 here are one less. "difficult" objects count as crowd: neither for nor
against.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec

from edgewright.core.errors import IntegrityError

from .boxes import SUFFIXES, Annotations, Box, box, contained_image, finite, text_of, wrong

IMAGES, ANNOTATIONS, SETS = "JPEGImages", "Annotations", "ImageSets/Main"
_SIDES = ("xmin", "ymin", "xmax", "ymax")


class _Object(msgspec.Struct, frozen=True):
    name: str
    corners: tuple[float, float, float, float]
    difficult: bool


def present(folder: Path) -> bool:
    """Whether `folder` is a VOC set."""
    return (folder / IMAGES).is_dir() and (folder / ANNOTATIONS).is_dir()


def splits(folder: Path) -> list[str]:
    """The splits of ``ImageSets/Main``, sorted; the lists a class of the development kit (``cat_val.txt``) are none."""
    names = {path.stem for path in (folder / SETS).glob("*.txt")}
    return sorted(name for name in names if not any(name.endswith(f"_{other}") for other in names))


def read(folder: Path, split: str = "") -> Annotations:
    """The images and boxes of `split`, or of all annotations. Raises `InvalidInput` that names the file and the line.

    Classes are numbered over all annotations of the folder, sorted by name, so that every split numbers them alike.
    """
    objects = {path.stem: _objects(path) for path in sorted((folder / ANNOTATIONS).glob("*.xml"))}
    classes = tuple(sorted({item.name for found in objects.values() for item in found}))
    label = {name: k for k, name in enumerate(classes)}
    images, dropped = list[tuple[str, tuple[Box, ...]]](), 0
    for where, name in _listed(folder, split, list(objects)):
        if name not in objects:
            raise wrong(where, f"{ANNOTATIONS}/{name}.xml is missing", "an annotation for each image")
        found = [box(label[o.name], o.corners, crowd=o.difficult) for o in objects[name]]
        kept = tuple(one for one in found if one is not None)
        dropped += len(found) - len(kept)
        images.append((_image(folder, name, where), kept))
    return Annotations(images=tuple(images), classes=classes, dropped=dropped)


def _listed(folder: Path, split: str, everything: Sequence[str]) -> list[tuple[str, str]]:
    """(where it is said, name) of the images of `split`."""
    if not split:
        return [(str(folder / ANNOTATIONS / f"{name}.xml"), name) for name in everything]
    path = folder / SETS / f"{split}.txt"
    found, lines = [], dict[str, int]()
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if not (name := line.strip()):
            continue
        where = f"{path}, line {number}"
        if name in lines:
            raise wrong(where, f"'{name}' stands in line {lines[name]} already", "an image once")
        lines[name] = number
        found.append((where, name))
    return found


def _image(folder: Path, name: str, where: str) -> str:
    below = folder / IMAGES
    suffixes = [suffix for upper in SUFFIXES for suffix in (upper, upper.upper())]
    found = next((suffix for suffix in suffixes if (below / f"{name}{suffix}").exists()), SUFFIXES[0])
    return contained_image([below], f"{name}{found}", where)


def _objects(path: Path) -> list[_Object]:
    text = text_of(path)
    if declared := re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        line = text[: declared.start()].count("\n") + 1
        raise IntegrityError(
            f"{path}, line {line}: refused to read an XML file with a {declared[1].upper()}.",
            "Entities can read other files and fill the memory; no VOC annotation needs them.",
            "Remove the declaration.",
        )
    try:
        root = ET.fromstring(text)  # noqa: S314 - no entities, as said above
    except ET.ParseError as error:
        raise wrong(f"{path}, line {error.position[0]}", f"this is no XML ({error})", "well-formed XML") from None
    except ValueError as error:
        raise wrong(f"{path}, line 1", f"this is no XML ({error})", "UTF-8") from None
    if root.tag != "annotation":
        raise wrong(f"{path}, line 1", f"the document is a <{root.tag}>", "an <annotation>")
    lines = [text[: match.start()].count("\n") + 1 for match in re.finditer(r"<object[\s>/]", text)]
    found = root.findall("object")
    # An <object> in a comment would shift the lines: then none is named.
    places = [f", line {line}" for line in lines] if len(lines) == len(found) else [""] * len(found)
    return [_object(f"{path}{place}", element) for place, element in zip(places, found)]


def _object(where: str, element: ET.Element) -> _Object:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise wrong(where, "the object has no name", "<name>class</name>")
    texts = [element.findtext(f"bndbox/{side}") for side in _SIDES]
    missing = next((side for side, text in zip(_SIDES, texts) if text is None), None)
    if missing:
        raise wrong(where, f"bndbox has no {missing}", f"a bndbox with {' '.join(_SIDES)}")
    try:
        x1, y1, x2, y2 = (float(text or "") for text in texts)
    except ValueError:
        raise wrong(where, f"bndbox is {' '.join(map(str, texts))}", "four finite numbers") from None
    if not finite((x1, y1, x2, y2)):
        raise wrong(where, f"bndbox is {' '.join(map(str, texts))}", "four finite numbers")
    difficult = (element.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise wrong(where, f"difficult is '{difficult}'", "0 or 1")
    return _Object(name, (x1 - 1, y1 - 1, x2, y2), difficult == "1")
