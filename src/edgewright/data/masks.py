"""Match the class ids of masks to a model's classes, and check a sample of the masks before a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import ModelSpec

from . import photos
from .choosing import spread
from .classes import plain_name, unique_names
from .fit import as_stored
from .items import ImageSet, Item
from .paired.names import UNKNOWN, with_border
from .pairs import BORDER, IGNORE, Ids, class_map
from .remarks import Remark, remark

SAMPLE = 16
"""So many masks are opened before a run."""


def match(images: ImageSet, spec: ModelSpec, reduce_zero: bool = False) -> ImageSet:
    """Return `images` whose masks have the model's class indices (`Item.ids`).

    If the set has class names, names decide, and else the order of the file that lists them. Without names, ids are
    indices. `reduce_zero`: ids begin at 1, and 0 is no class (ADE20K).

    Raises `InvalidInput` if an image has no mask, if names do not match, if a table of ids contradicts `reduce_zero`,
    or if a mask of the sample has an unknown id.
    """
    if bare := next((item for item in images.items if item.pair is None), None):
        raise InvalidInput(f"{bare.path} has no mask.", "Its classes are unknown.", "Add the mask.")
    listed = with_border({k: k for k in range(len(images.classes))})
    if reduce_zero and any(item.ids not in (None, listed) for item in images.items[:1]):
        raise InvalidInput(
            f"reduce_zero does not apply to '{images.name}'.",
            "A file of the data set says which class each id is.",
            "Leave reduce_zero out, or remove that file.",
        )
    index = _indices(images, spec)
    shared = dict[Ids, Ids]()
    items = list[Item]()
    plain = _plain(spec.classes, reduce_zero)
    listed_from_one = _plain(len(images.classes), reduce_zero)
    for item in images.items:
        ids = plain
        if item.ids is not None:
            given = listed_from_one if reduce_zero else item.ids
            if given not in shared:
                shared[given] = _composed(given, index)
            ids = shared[given]
        painted = item.boxes and tuple(msgspec.structs.replace(box, label=index[box.label]) for box in item.boxes)
        items.append(msgspec.structs.replace(item, ids=ids, boxes=painted))
    require_known(items, spec, reduce_zero)
    if not spec.preprocess.turns:
        items = list(map(as_stored, items))
    found = msgspec.structs.replace(images, items=tuple(items), classes=spec.labels)
    return found.noticed(_unseen(found, spec))


def _plain(classes: int, reduce_zero: bool) -> Ids:
    """Return the ids of masks whose values are indices."""
    values = dict.fromkeys([BORDER], IGNORE)
    values |= {0: IGNORE} if reduce_zero else {}
    values |= {k + int(reduce_zero): k for k in range(classes)}
    return tuple(values.items())


def _composed(ids: Ids, index: Mapping[int, int]) -> Ids:
    """Return the ids with the model's classes. A class that the model lacks becomes an unknown id."""
    return tuple((value, index.get(k, IGNORE) if k != IGNORE else k) for value, k in ids if k == IGNORE or k in index)


def _indices(images: ImageSet, spec: ModelSpec) -> dict[int, int]:
    """Return the model's index for each class of the set; `IGNORE` for names of pixels that do not count."""
    names = images.classes
    if not names:
        return {k: k for k in range(spec.classes)}
    by_name = unique_names(spec)
    every = [plain_name(name) for name in names]
    ignored = {k: IGNORE for k, name in enumerate(every) if name in UNKNOWN and name not in by_name}
    found = {k: by_name[name] for k, name in enumerate(every) if name in by_name}
    if found and len(found) + len(ignored) == len(every):
        return found | ignored
    counted = len(every) - len(ignored)
    numbers = all(name == str(k) for k, name in enumerate(spec.labels))
    if (not spec.labels or numbers or not found) and counted == spec.classes and (not spec.labels or numbers):
        return dict(zip((k for k in range(len(every)) if k not in ignored), range(counted))) | ignored
    if found:  # the sample shows whether the others occur
        return found | ignored
    known = ", ".join(spec.labels[:10]) + (" ..." if len(spec.labels) > 10 else "")
    raise InvalidInput(
        f"The masks of '{images.name}' have {counted} classes ({', '.join(names[:5])} ...), and the model "
        f"'{spec.name}' has {spec.classes}{f' ({known})' if known else ''}.",
        "The names do not match.",
        "Name the classes as the model does, in the same order. Or set the class of each id in the model's TOML: "
        "[segment] ids.",
    )


def require_known(items: Sequence[Item], spec: ModelSpec, reduce_zero: bool = False) -> None:
    """Raise `InvalidInput` if a mask of the sample has a value without a class."""

    def problem(path: str) -> InvalidInput | None:
        try:
            class_map(by_path[path])
        except InvalidInput as error:
            return error
        return None

    some = spread(items, SAMPLE)
    by_path = {item.path: item for item in some}
    error = next(filter(None, photos.each(problem, [item.path for item in some])), None)
    if error is None:
        return
    if "class id" not in error.what:
        raise error
    shift = ""
    if not reduce_zero and f"class id {spec.classes} is unknown" in error.what:
        shift = f" If 0 is no class and ids go to {spec.classes}, set reduce_zero = true in the task's section."
    raise InvalidInput(error.what, f"The model has {spec.classes} classes. {error.why}", f"{error.fix}{shift}")


def _unseen(images: ImageSet, spec: ModelSpec) -> list[Remark]:
    """Return a remark if the masks of the sample have few of the model's classes, or no class at all."""
    some = spread(images.items, SAMPLE)
    seen = set[int]()
    for item in some:
        seen |= set(np.flatnonzero(np.bincount(class_map(item).reshape(-1), minlength=IGNORE + 1)[:IGNORE]).tolist())
    names = [Path(item.path).name for item in some]
    if not seen:
        raise InvalidInput(
            f"The masks of '{images.name}' have no class in {len(some)} masks: all pixels are ignored.",
            f"The first one is {some[0].pair}.",
            "Check which values mean which class.",
        )
    if spec.classes < 8 or 4 * len(seen) > spec.classes:
        return []
    text = f"{{count|mask|masks}} of a sample have only {len(seen)} of the model's {spec.classes} classes."
    return remark("note", "classes-unseen", names, text)
