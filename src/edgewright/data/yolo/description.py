"""Ultralytics' ``data.yaml``: class names, and a folder or a list of images for each split."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.core.files import absolute
from edgewright.core.lazy import require
from edgewright.data.boxes import Skeleton, finite, text_of, wrong
from edgewright.data.remarks import Remark, remark

from .paths import Layout, head, located, plain, split_of

NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
"""Files that describe a set whatever is in them; another ``*.yaml`` does if it has names and a split."""

_KEY = r"(?:^|[{{,])\s*[\"']?{}[\"']?\s*:"
_SPLIT_KEY = "(?:train|val|valid|validation|test|calib|calibration)"


def describes(path: Path) -> bool:
    """Whether the YAML at `path` describes a YOLO set."""
    if path.name.lower() in NAMES:
        return True
    text = head(path)
    keys = ("(?:names|nc)", _SPLIT_KEY)
    return all(re.search(_KEY.format(key), text, re.MULTILINE | re.IGNORECASE) for key in keys)


def described(path: Path) -> Layout:
    """What the YAML at `path` says. Raises `InvalidInput` with file and line, `Unavailable` without PyYAML (of
    ``edgewright[host]``)."""
    content = _loaded(path)
    classes, remarks = _names(path, content)
    base, moved = _base(path, content)
    if moved:
        text = f"The path of {path.name} ('{content['path']}') does not exist; {base} is used."
        remarks += remark("note", "path-ignored", [path.name], text)
    sources, noticed = _splits(path, base, content, any_ending=moved)
    points = _points(path, content)
    return Layout(
        folder=path.parent, where=path, base=base, classes=classes, sources=sources, points=points,
        skeleton=_skeleton(path, content, points[0]) if points else None, remarks=(*remarks, *noticed),
    )  # fmt: skip


def names(path: Path) -> tuple[str, ...]:
    """The class names in the YAML at `path`, whatever else it describes; empty if it has none."""
    content = _loaded(path)
    return _names(path, content)[0] if content.get("names") else ()


def _loaded(path: Path) -> Mapping[str, Any]:
    """The content by keys in lower case. Scalars are text: a class called 010, no or 12:30 keeps its name."""
    yaml = require("yaml", "host")
    loader = type("Loader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": {}})
    try:
        content = yaml.load(text_of(path), Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise wrong(where, f"this is not YAML ({getattr(error, 'problem', None) or error})", "YAML") from None
    except (ValueError, RecursionError) as error:
        raise wrong(str(path), f"this is not YAML ({error})", "YAML") from None
    if not isinstance(content, Mapping):
        raise wrong(str(path), "it holds no names", "names, and train, val or test")
    read = {key if _is_split(str(key)) else str(key).lower(): value for key, value in content.items()}
    return {
        key: None if key != "names" and value in ("null", "Null", "NULL", "~") else value for key, value in read.items()
    }


def _is_split(key: str) -> bool:
    return re.fullmatch(_SPLIT_KEY, key, re.IGNORECASE) is not None


def _names(path: Path, content: Mapping[str, Any]) -> tuple[tuple[str, ...], list[Remark]]:
    names, where = content.get("names"), _at(path, "names")
    count = _integer(path, "nc", content["nc"]) if content.get("nc") else None
    if not names and count:
        text = f"{path.name} has nc but no names: the numbers of the classes are used as names."
        return tuple(map(str, range(count))), remark("warning", "class-names-unknown", [path.name], text)
    if isinstance(names, Mapping):
        by_index = {str(key).strip(): value for key, value in names.items()}
        if set(by_index) != set(map(str, range(len(names)))):
            raise wrong(where, "the keys of names are not 0, 1, 2 ...", "every class index once, from 0")
        names = [by_index[str(k)] for k in range(len(names))]
    if not isinstance(names, list) or not names:
        raise wrong(where, "it has no names", "names: a list, or the names by index")
    bad = next((k for k, name in enumerate(names) if not isinstance(name, str) or not name.strip()), None)
    if bad is not None:
        raise wrong(where, f"the name of class {bad} is empty or not a text", "a text for each class")
    if count is not None and count != len(names):
        raise wrong(_at(path, "nc"), f"nc is {count}, and there are {len(names)} names", "as many names as nc")
    return tuple(names), []


def _points(path: Path, content: Mapping[str, Any]) -> tuple[int, int] | None:
    """The number of keypoints, and of the values of each; None if the set has none."""
    shape = content.get("kpt_shape")
    if not shape:
        return None
    if not isinstance(shape, list) or len(shape) != 2:
        raise wrong(_at(path, "kpt_shape"), "kpt_shape is not a pair", "the number of points and of values per point")
    points, values = (_integer(path, "kpt_shape", one) for one in shape)
    if values not in (2, 3):
        what = f"kpt_shape has {values} values for each point"
        raise wrong(_at(path, "kpt_shape"), what, "2 (x, y) or 3 (x, y, visibility)")
    return points, values


def _skeleton(path: Path, content: Mapping[str, Any], points: int) -> Skeleton:
    """What the YAML says of the keypoints: Ultralytics' flip_idx and kpt_names, and our own skeleton and sigmas."""
    names = content.get("kpt_names") or []
    if isinstance(names, Mapping):  # the names for each class; the keypoints of all classes are the same
        names = next(iter(names.values()), None) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) not in (0, points):
        raise wrong(_at(path, "kpt_names"), f"kpt_names is not a list of {points} names", "a name for each keypoint")
    flip = _numbers(path, "flip_idx", content.get("flip_idx"))
    if flip and sorted(flip) != list(range(points)):
        what = f"flip_idx is not an order of the {points} keypoints"
        raise wrong(_at(path, "flip_idx"), what, f"each index from 0 to {points - 1} once")
    sigmas = _numbers(path, "sigmas", content.get("sigmas") or content.get("kpt_oks_sigmas"))
    if sigmas and (len(sigmas) != points or min(sigmas) <= 0):
        raise wrong(_at(path, "sigmas"), f"sigmas has {len(sigmas)} values", f"{points} numbers above 0")
    edges = content.get("skeleton") or []
    pairs = [_numbers(path, "skeleton", edge) for edge in edges] if isinstance(edges, list) else [[]]
    if any(len(pair) != 2 or not all(0 <= k < points for k in pair) for pair in pairs):
        what = "skeleton is not a list of pairs"
        raise wrong(_at(path, "skeleton"), what, f"two indices of keypoints each, from 0 to {points - 1}")
    return Skeleton(
        points=points, names=tuple(names), edges=tuple((int(a), int(b)) for a, b in pairs),
        flip=tuple(map(int, flip)), sigmas=tuple(sigmas),
    )  # fmt: skip


def _numbers(path: Path, key: str, value: Any) -> list[float]:
    """The finite numbers of a list; empty if there is none."""
    if not value:
        return []
    try:
        found = [float(one) for one in value] if isinstance(value, list) else [math.nan]
    except (TypeError, ValueError):
        found = [math.nan]
    if not finite(found):
        raise wrong(_at(path, key), f"{key} is not a list of numbers", "numbers")
    return found


def _integer(path: Path, key: str, value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number < 100_000 or number != int(number):
        raise wrong(_at(path, key), f"{key} is {str(value)[:50]!r}", "whole numbers above 0")
    return int(number)


def _base(path: Path, content: Mapping[str, Any]) -> tuple[Path, bool]:
    """The folder that the splits are relative to, ``path`` or the YAML's own; and whether ``path`` does not exist as
    it is written."""
    given, folder = content.get("path"), path.parent
    if not given:
        return folder, False
    if not isinstance(given, str):
        raise wrong(_at(path, "path"), "path is not a text", "a folder")
    named = plain(given)
    # Ultralytics looks for a relative path in a folder of its settings; the set's own name there is this folder.
    if PurePosixPath(named).name == folder.name:
        return folder, False
    try:
        found = located(folder, [folder], named, any_ending=False)
    except IntegrityError:
        what = f"path points outside the folder ('{given}')"
        raise wrong(_at(path, "path"), what, "a folder below the YAML's own") from None
    return found if found and found[0].is_dir() else (folder, True)


def _splits(
    path: Path, base: Path, content: Mapping[str, Any], *, any_ending: bool
) -> tuple[dict[str, tuple[Path, ...]], list[Remark]]:
    """Folders and lists of images by split. A split whose images were not copied is left out, unless it is val."""
    sources, shortened = dict[str, tuple[Path, ...]](), list[str]()
    missing = dict[str, InvalidInput]()
    for key, split, values in _named(path, content):
        try:
            found = [_source(path, base, key, value, any_ending=any_ending) for value in values]
        except _MissingError as error:
            missing[split] = error.args[0]
            continue
        sources[split] = tuple(source for source, _ in found)
        shortened += [value for value, (_, was_shortened) in zip(values, found) if was_shortened]
    if missing and (not sources or "val" in missing):
        raise missing.get("val") or next(iter(missing.values()))
    if not sources:
        raise wrong(str(path), "it names no images", "train, val or test with a folder or a list of images")
    _require_different(path, sources, content, shortened)
    text = f"{{count|path|paths}} of {path.name}: only the end of it exists below the folder; that file is used."
    left_out = f"{{count|split|splits}} of {path.name} does not exist: left out."
    return sources, [
        *remark("note", "paths-shortened", shortened, text),
        *remark("note" if set(missing) == {"test"} else "warning", "splits-left-out", sorted(missing), left_out),
    ]


class _MissingError(Exception):
    """What a split names is not there; the error for it."""


def _named(path: Path, content: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """(key as written, split, values) of the splits that have any."""
    keys = dict[str, str]()
    for key, value in content.items():
        split = split_of(key) if _is_split(key) else None
        if split is None or not value:
            continue
        if split in keys:
            raise wrong(_at(path, key), f"{keys[split]} and {key} are the same split", "one of them")
        keys[split] = key
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str) and one.strip() for one in values):
            raise wrong(_at(path, key), f"{key} is not a path", "a folder of images, a list of folders, or a .txt list")
        yield key, split, values


def _source(path: Path, base: Path, key: str, value: str, *, any_ending: bool) -> tuple[Path, bool]:
    """The folder or list that `value` names, and whether only its ending exists."""
    allowed = "a folder of images, or a .txt list of them, below the YAML's own folder"
    try:
        found = located(path.parent, [base, path.parent], plain(value), any_ending=any_ending)
    except IntegrityError:
        raise wrong(_at(path, key), f"{key} points outside the folder ('{value}')", allowed) from None
    if found is None:
        there = absolute(base / plain(value))
        what = f"{key}: there is no folder {there}"
        if not there.is_relative_to(path.parent):
            what = f"{key} points outside the folder ('{value}')"
        raise _MissingError(wrong(_at(path, key), what, allowed))
    if not found[0].is_dir() and not (found[0].suffix.lower() == ".txt" and found[0].is_file()):
        raise wrong(_at(path, key), f"{key}: {found[0]} is neither a folder nor a .txt list", allowed)
    # Roboflow writes "../train/images" for a folder next to the YAML; Ultralytics takes the "../" off too: no remark.
    return found[0], found[1] and absolute(path.parent / plain(value).removeprefix("../")) != found[0]


def _require_different(
    path: Path, sources: Mapping[str, tuple[Path, ...]], content: Mapping[str, Any], shortened: list[str]
) -> None:
    """Raise where shortened paths lead two splits to the same images: that would be a guess, and a leak."""
    if not shortened:
        return
    written = {split: values for _, split, values in _named(path, content)}
    names = sorted(sources)
    for k, one in enumerate(names):
        for other in names[k + 1 :]:
            if set(sources[one]) & set(sources[other]) and not set(written[one]) & set(written[other]):
                what = f"{one} and {other} point to the same folder, {sources[one][0]}"
                raise wrong(_at(path, one), what, "paths that exist below the YAML's folder")


def _at(path: Path, key: str) -> str:
    lines = enumerate(text_of(path).splitlines(), 1)
    pattern = re.compile(_KEY.format(re.escape(key)), re.IGNORECASE)
    number = next((k for k, line in lines if pattern.search(line)), None)
    return f"{path}, line {number}" if number else str(path)
