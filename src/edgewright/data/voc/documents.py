"""One XML file of Pascal VOC: the image that it is for, and the objects in it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec

from edgewright.core.errors import IntegrityError
from edgewright.data.boxes import finite, wrong

_DECLARED = re.compile(rb"""\s*<\?xml\s[^>]*?\sencoding\s*=\s*["']([A-Za-z][\w.-]*)["']""", re.ASCII)
_STARTS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
    b"<\0": "utf-16-le", b"\0<": "utf-16-be",
}  # fmt: skip
"""Encodings that the first bytes of a file say."""

_ENCODINGS = re.compile(r"ascii|utf-8|iso8859|iso2022|cp\d|gb|big5|euc|shift_jis|koi8|mac|johab|tis")
"""Python's names of the encodings that an XML file may declare: "idna" and "unicode-escape" are others."""

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_NO = ("", "0", "false", "no", "unspecified")
_YES = ("1", "true", "yes")


class Object(msgspec.Struct, frozen=True, kw_only=True):
    """An object: its class, xmin, ymin, xmax and ymax as they are written, and where that is.

    `outline`: they are those of a polygon.
    """

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool
    outline: bool
    where: str


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What an XML file says: the name of the image (or ""), its (width, height) (or None), the objects."""

    filename: str
    size: tuple[int, int] | None
    objects: tuple[Object, ...]


def parsed(path: Path) -> Content:
    """The content of an XML file. Raises `InvalidInput` with the line, `IntegrityError` for one with entities."""
    text = _text(path)
    root = _root(path, text)
    lines = [text[: match.start()].count("\n") + 1 for match in re.finditer(r"<object[\s>/]", text)]
    found = root.findall("object")
    # An <object> in a comment would shift the lines: then none is named.
    places = [f", line {line}" for line in lines] if len(lines) == len(found) else [""] * len(found)
    width, height = (_side(root.findtext(f"size/{side}")) for side in ("width", "height"))
    return Content(
        filename=(root.findtext("filename") or "").strip(),
        size=(width, height) if width and height else None,
        objects=tuple(_object(f"{path}{place}", element) for place, element in zip(places, found)),
    )


def _text(path: Path) -> str:
    """The text of an XML file, in the encoding that it declares: decoded before anything is sought in it."""
    content = path.read_bytes()
    encoding, name = _encoding(path, content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].decode(encoding, "replace").count("\n") + 1
        raise wrong(f"{path}, line {line}", f"this line is not {name} text", name) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _encoding(path: Path, content: bytes) -> tuple[str, str]:
    """Python's name of the encoding of `content`, and the one for errors."""
    if started := next((one for start, one in _STARTS.items() if content.startswith(start)), None):
        return started, started.upper().removesuffix("-SIG")
    declared = _DECLARED.match(content)
    name = declared[1].decode() if declared else "UTF-8"
    if name.upper().startswith("UTF-16"):
        name = "UTF-8"  # the declaration itself is none: .NET declares so whatever it writes
    try:
        encoding = codecs.lookup(name).name
    except LookupError:
        encoding = ""
    if not _ENCODINGS.match(encoding):
        raise wrong(f"{path}, line 1", f"the encoding '{name}' is not known", "UTF-8, or another encoding of XML")
    # As browsers do: what tools call gb2312 has characters of the larger sets.
    return "gb18030" if encoding == "gb2312" else encoding, name


def _root(path: Path, text: str) -> ET.Element:
    if declared := re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        line = text[: declared.start()].count("\n") + 1
        raise IntegrityError(
            f"{path}, line {line}: edgewright does not read an XML file with a {declared[1].upper()}.",
            "Entities can read other files and fill memory. VOC annotations do not need them.",
            "Remove the declaration.",
        )
    try:
        root = ET.fromstring(text)  # noqa: S314 - no entities, as said above
    except ET.ParseError as error:
        raise wrong(f"{path}, line {error.position[0]}", f"this is not XML ({error})", "well-formed XML") from None
    except ValueError as error:
        raise wrong(f"{path}, line 1", f"this is not XML ({error})", "well-formed XML") from None
    if root.tag != "annotation":
        raise wrong(f"{path}, line 1", f"the document is a <{root.tag}>", "an <annotation>")
    return root


def _object(where: str, element: ET.Element) -> Object:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise wrong(where, "the object has no name", "<name>class</name>")
    bounds, outline = element.find("bndbox"), element.find("polygon")
    if bounds is None and outline is not None:
        corners = _around(where, outline)
    elif bounds is None and element.find("robndbox") is not None:
        raise wrong(where, "it has a rotated box (robndbox) and no bndbox", "a bndbox around it")
    else:
        corners = _corners(where, bounds)
    said = (element.findtext("difficult") or "").strip().lower()
    if said not in _NO and said not in _YES:
        raise wrong(where, f"difficult is '{said}'", "0 or 1")
    return Object(name=name, corners=corners, difficult=said in _YES, outline=bounds is None, where=where)


def _corners(where: str, bounds: ET.Element | None) -> tuple[float, float, float, float]:
    texts = [bounds.findtext(side) if bounds is not None else None for side in _SIDES]
    missing = next((side for side, text in zip(_SIDES, texts) if text is None), None)
    if missing:
        raise wrong(where, f"bndbox has no {missing}", f"a bndbox with {' '.join(_SIDES)}")
    numbers = _numbers(texts)
    if len(numbers) != len(_SIDES):
        raise wrong(where, f"bndbox is {' '.join(map(str, texts))}", "four finite numbers")
    xmin, ymin, xmax, ymax = numbers
    return xmin, ymin, xmax, ymax


def _around(where: str, polygon: ET.Element) -> tuple[float, float, float, float]:
    """The corners around a polygon of <x1>, <y1>, <x2> ..., or of points with <x> and <y>."""
    every = list(polygon.iter())
    xs = _numbers([one.text for one in every if re.fullmatch(r"x\d*", one.tag)])
    ys = _numbers([one.text for one in every if re.fullmatch(r"y\d*", one.tag)])
    if not xs or len(xs) != len(ys):
        raise wrong(where, "it has no bndbox, and its polygon has no corners", f"a bndbox with {' '.join(_SIDES)}")
    return min(xs), min(ys), max(xs), max(ys)


def _numbers(texts: Sequence[str | None]) -> list[float]:
    """The numbers of `texts`; none of them where one is no finite number."""
    try:
        found = [float(text or "") for text in texts]
    except ValueError:
        return []
    return found if finite(found) else []


def _side(text: str | None) -> int:
    """A width or height; 0 if it is no whole number of pixels."""
    numbers = _numbers([text])
    return int(numbers[0]) if numbers and numbers[0] > 0 and numbers[0].is_integer() else 0
