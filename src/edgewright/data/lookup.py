"""Find the files that annotations name in listings of the image folders. No name from annotations reaches the disk."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import msgspec

from . import listing
from .remarks import Remark, remark

_DEEPEST = 64
"""Limit of folders in a name. More folders take quadratic time, which only an attack would use."""

_ABSOLUTE = re.compile(r"/|[A-Za-z]:/|[A-Za-z][A-Za-z0-9+.-]+://")

_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
"""The prefix that Label Studio adds to the name of an uploaded file."""


class Found(msgspec.Struct, frozen=True):
    """The path of a file, and how it was found: by the name as written, by the end of the name, or with other case."""

    path: str
    by: Literal["name", "end", "capitals"] = "name"


class Lookup:
    """The files of several folders. The first folder that contains a name counts. Each is listed when it is needed."""

    def __init__(self, folders: Sequence[Path], *, deep: bool = True) -> None:
        self.folders = tuple(dict.fromkeys(folders))
        self._deep = deep
        self._listed: dict[Path, _Names] = {}

    def find(self, name: str) -> Found | None:
        """Return the file for `name`: the name itself, or else the longest end of it that exists in one of the folders.

        A backslash separates folders like ``/``. So neither an absolute path nor ``..`` points outside the folders.
        """
        for spelling in _spellings(name.replace("\\", "/")):
            whole = not is_outside(name) and spelling == name.replace("\\", "/")
            for k, end in enumerate(ends(spelling)):
                if found := self._exact_or_folded(end):
                    return found if whole and k == 0 else Found(found.path, "end")
        return None

    def with_stem(self, stem: str) -> list[str]:
        """Return the images called `stem` (which can contain folders) with an image extension, or exactly `stem`."""
        for names in self._names():
            if found := names.stems.get(stem):
                return found
        for names in self._names():
            if found := names.folded_stems.get(_folded(stem)):
                return found
        found_as_it_is = self._exact_or_folded(stem)
        return [found_as_it_is.path] if found_as_it_is else []

    def listings(self) -> list[listing.Listing]:
        """Yield the listings of the folders that were needed."""
        return [names.listing for names in self._listed.values()]

    def _names(self) -> Iterator[_Names]:
        for folder in self.folders:
            if folder not in self._listed:
                self._listed[folder] = _Names(folder, self._deep)
            yield self._listed[folder]

    def _exact_or_folded(self, name: str) -> Found | None:
        for names in self._names():
            if path := names.exact.get(name):
                return Found(path)
        for names in self._names():
            if len(paths := names.folded.get(_folded(name), [])) == 1:
                return Found(paths[0], "capitals")
        return None


class _Names:
    """The names of one folder's files, relative to it."""

    def __init__(self, folder: Path, deep: bool) -> None:
        self.listing = listing.below(folder, deep=deep)
        start = len(str(folder).rstrip("/")) + 1
        self.exact = {path[start:]: path for path in (*self.listing.others, *self.listing.images)}
        self._start = start

    @cached_property
    def folded(self) -> dict[str, list[str]]:
        return _by(((_folded(name), path) for name, path in self.exact.items()))

    @cached_property
    def stems(self) -> dict[str, list[str]]:
        return _by((without_suffix(path[self._start :]), path) for path in self.listing.images)

    @cached_property
    def folded_stems(self) -> dict[str, list[str]]:
        return _by((_folded(without_suffix(path[self._start :])), path) for path in self.listing.images)


def ends(name: str) -> list[str]:
    """Return the ends of the path `name`, longest first, without parts that lead upward: a/../b/c gives b/c and c."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")][-_DEEPEST:]
    if ".." in parts:
        parts = parts[len(parts) - parts[::-1].index("..") :]
    return ["/".join(parts[k:]) for k in range(len(parts))]


def is_outside(name: str) -> bool:
    """Whether the path `name` is absolute (on any system), a URL, or leads upward with '..'."""
    plain = name.replace("\\", "/")
    return bool(_ABSOLUTE.match(plain)) or ".." in plain.split("/")


def without_suffix(name: str) -> str:
    """Return `name` without the last dot of its last part and the text after it."""
    head, dot, tail = name.rpartition(".")
    return head if dot and "/" not in tail and head and not head.endswith("/") else name


def place_remarks(found: Sequence[tuple[str, Found]]) -> list[Remark]:
    """Return remarks on pairs of (name, file) if the name was not found as written."""
    by = defaultdict[str, list[str]](list)
    for name, one in found:
        by[one.by].append(name)
    end = (
        "{count|image name has|image names have} folders that do not exist: the longest end of the path that is a file "
        "is used."
    )
    other = "{count|image name differs|image names differ} from the file's in case or encoding: the file is used."
    return [
        *remark("note", "names-by-their-end", by["end"], end),
        *remark("note", "names-in-capitals", by["capitals"], other),
    ]


def _spellings(name: str) -> Iterator[str]:
    """Yield `name` and its variants from other tools: Label Studio's URLs and prefixes."""
    yield name
    plain = unquote(name.rpartition("?d=")[2])
    if plain != name:
        yield plain
    head, slash, last = plain.rpartition("/")
    if match := _UPLOADED.match(last):
        yield f"{head}{slash}{last[match.end() :]}"


def _folded(name: str) -> str:
    """Return `name` without differences of case and of accent encoding (macOS writes decomposed characters)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _by(pairs: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    found = defaultdict[str, list[str]](list)
    for key, path in pairs:
        found[key].append(path)
    return dict(found)
