"""Map the classes of a data set to those of a model: by name if the model has names, else by a documented rule."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import msgspec

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec

from .fit import as_stored
from .items import ImageSet, Item
from .remarks import Remark, remark
from .table import TABLE, is_index

_WORDNET = re.compile(r"n\d{8}")


def match_labels(images: ImageSet, spec: ModelSpec) -> ImageSet:
    """Return `images` with labels as indices of the model's classes, and boxes in the pixels that the model sees.

    If the set uses the model's own class names, these decide (case, and ``_`` for a space, do not matter). Otherwise:

    - If a file lists the classes (YOLO, COCO, ``classes.txt``), their order is the order of the indices.
    - If folders or annotations have the names, the sorted names are the model's classes, as in torchvision's
      ImageFolder. This needs a model without names and with the same number of classes, or WordNet ids of ImageNet.
    - If folders have numbers as names, the numbers are class indices. Exception: the model has no names, and
      torchvision would sort the numbers differently (as text: 0, 1, 10, 2).

    Raises `InvalidInput` if images have no labels, if labels do not match, or if two of these rules apply and differ.
    In a detection set, the labels are those of the boxes, and a class without boxes need not match.
    """
    if any(item.label is None and item.boxes is None for item in images.items):
        raise InvalidInput(
            f"The images of '{images.name}' have no labels.",
            "Accuracy is measured against labels.",
            f"Sort them into one folder per class, or add a {TABLE} with the columns file,label (for boxes: "
            "COCO, YOLO or VOC files).",
        )
    index: Mapping[int, int] = dict(enumerate(range(spec.classes)))
    remarks = list[Remark]()
    if images.classes:
        index, remarks = _class_indices(images, spec, _used(images))
    items = tuple(_relabelled(item, index, images, spec) for item in images.items)
    if not spec.preprocess.turns:
        items = tuple(map(as_stored, items))
    return msgspec.structs.replace(images, items=items, classes=spec.labels).noticed(remarks)


def _used(images: ImageSet) -> list[int]:
    """Return the classes that must match the model's: all, or in a detection set those that a box has."""
    if all(item.boxes is None for item in images.items):
        return list(range(len(images.classes)))
    return sorted({box.label for item in images.items for box in item.boxes or ()})


def _relabelled(item: Item, index: Mapping[int, int], images: ImageSet, spec: ModelSpec) -> Item:
    labels = [item.label] if item.boxes is None else [box.label for box in item.boxes]
    for label in labels:
        if label not in index:
            raise _mismatch(images, spec, f"{item.path} has label {label}, the last class is {spec.classes - 1}")
    if item.boxes is None:
        assert item.label is not None
        return msgspec.structs.replace(item, label=index[item.label])
    boxes = tuple(msgspec.structs.replace(box, label=index[box.label]) for box in item.boxes)
    return msgspec.structs.replace(item, boxes=boxes)


def _class_indices(images: ImageSet, spec: ModelSpec, used: Sequence[int]) -> tuple[dict[int, int], list[Remark]]:
    """Return the index of the model's class for each of the `used` classes of the set, and a remark on the rule."""
    by_name = unique_names(spec)
    every = [plain_name(name) for name in images.classes]
    names = [every[k] for k in used]
    remarks = list[Remark]()
    if all(name in by_name for name in names):
        found = [by_name[name] for name in names]
    elif images.order == "index":
        found = [int(name) for name in names]
    elif images.order == "file":
        found = _by_place(images, spec, used, every)
    elif all(map(is_index, names)):
        found, remarks = _by_number(images, spec, names)
    elif len(every) == spec.classes and (not spec.labels or all(map(_WORDNET.fullmatch, every))):
        found, remarks = list(used), _sorted(images, spec)
    else:
        raise _unmatched(images, spec, used, by_name)
    if max(found, default=0) >= spec.classes or len(set(found)) < len(found):
        raise _mismatch(images, spec, f"two classes are the same, or one exceeds {spec.classes - 1}")
    return dict(zip(used, found)), remarks


def _by_place(images: ImageSet, spec: ModelSpec, used: Sequence[int], every: Sequence[str]) -> list[int]:
    """Match classes in the order of the file that lists them."""
    if not spec.labels and len(every) == spec.classes:
        return list(used)
    in_order = all(is_index(name) and int(name) == k for k, name in enumerate(every))
    if spec.labels and in_order and len(every) <= spec.classes:
        return list(used)  # the indices are used as names
    if spec.labels and all(map(is_index, every)):
        what = f"its classes are numbers ({', '.join(every[:4])} ...), and the model has other class names"
        raise _mismatch(images, spec, what)
    raise _unmatched(images, spec, used, unique_names(spec))


def _by_number(images: ImageSet, spec: ModelSpec, names: Sequence[str]) -> tuple[list[int], list[Remark]]:
    """Match folders that are named by numbers."""
    numbers = [int(name) for name in names]
    if len(set(numbers)) < len(numbers):
        raise _mismatch(images, spec, "two classes are the same number")
    as_indices = numbers if max(numbers) < spec.classes else None
    if spec.labels:
        if as_indices is None:
            raise _mismatch(images, spec, f"class {max(numbers)} exceeds {spec.classes - 1}")
        text = "{count|class name is a number|class names are numbers}, used as class indices that start at 0."
        return as_indices, remark("note", "class-order", list(images.classes), text)
    rules = [found for found in (as_indices, *_ranks(images, spec, names)) if found is not None]
    if not rules:
        raise _mismatch(images, spec, f"class {max(numbers)} exceeds {spec.classes - 1}")
    if any(found != rules[0] for found in rules):
        first = 1 if max(numbers) == spec.classes and 0 not in numbers else 0
        count = f"seq {first} {first + spec.classes - 1}"
        raise InvalidInput(
            f"The classes of '{images.name}' are numbers ({', '.join(images.classes[:4])} ...), and the model "
            f"'{spec.name}' has no class names.",
            "Sorted as text (0, 1, 10, 2: torchvision's ImageFolder), they mean other classes than sorted as numbers.",
            "Write all of the model's classes in their order, one a line, into classes.txt in the data folder "
            f"({count} | LC_ALL=C sort, or {count}), or give the model's labels in its spec.",
        )
    return rules[0], []


def _ranks(images: ImageSet, spec: ModelSpec, names: Sequence[str]) -> list[list[int]]:
    """Return the positions of `names` sorted as text and as numbers, among all classes of the set. If the set lacks
    some of the model's classes, they are added as numbers: 0, 1, 2 ..."""
    every = list(images.classes)
    if len(every) < spec.classes:
        every = [str(number) for number in range(spec.classes)]
    if len(every) > spec.classes or not set(names) <= set(every):
        return []
    orders = sorted(every), sorted(every, key=int)
    return [[order.index(name) for name in names] for order in orders]


def _sorted(images: ImageSet, spec: ModelSpec) -> list[Remark]:
    if spec.labels:
        return []
    text = (
        "The model has no class names. {count|class|classes} of the data set are numbered in sorted order, as "
        "torchvision's ImageFolder does. To get names instead of numbers from the bundle, add `labels` to the TOML "
        "file."
    )
    return remark("note", "class-order", list(images.classes), text)


def _unmatched(images: ImageSet, spec: ModelSpec, used: Sequence[int], by_name: Mapping[str, int]) -> InvalidInput:
    if not spec.labels:
        what = f"the set has {len(images.classes)} classes, the model has {spec.classes}, without names"
        return _mismatch(images, spec, what)
    unknown = next(images.classes[k] for k in used if plain_name(images.classes[k]) not in by_name)
    close = get_close_matches(plain_name(unknown), by_name, 1)
    hint = f" (did you mean '{spec.labels[by_name[close[0]]]}'?)" if close else ""
    return _mismatch(images, spec, f"'{unknown}' is not a class of the model{hint}")


def plain_name(name: str) -> str:
    """Return a class name without differences of case, of spaces, and of ``_`` for a space."""
    return " ".join(name.casefold().replace("_", " ").split())


def unique_names(spec: ModelSpec) -> dict[str, int]:
    """Return the model's classes by name, without names that occur twice (ImageNet has two "crane"), which are
    ambiguous."""
    counts = Counter(plain_name(label) for label in spec.labels)
    return {plain: k for k, label in enumerate(spec.labels) if counts[plain := plain_name(label)] == 1}


def _mismatch(images: ImageSet, spec: ModelSpec, what: str) -> InvalidInput:
    known = ", ".join(spec.labels[:10]) + (" ..." if len(spec.labels) > 10 else "")
    return InvalidInput(
        f"The labels of '{images.name}' do not match the model '{spec.name}': {what}.",
        f"The model has {spec.classes} classes{': ' + known if known else ''}.",
        "Name the classes as the model does, or by their index from 0.",
    )
