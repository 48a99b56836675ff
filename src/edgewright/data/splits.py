"""The names of splits: the role that the name of a folder, key or column indicates."""

from __future__ import annotations

import re
from collections.abc import Sequence

ROLES = {
    "train": ("train", "training"),
    "calib": ("calib", "calibration"),
    "val": ("val", "valid", "validation", "dev"),
    "eval": ("eval", "evaluation"),
    "test": ("test", "testing"),
}
"""The role of a split, and its names, in any case and with the additions of `_AROUND`."""

EVALUATE_ON = ("val", "eval", "test")
"""The roles to evaluate on, in order of preference."""

CALIBRATE_ON = ("calib", "train")
"""The roles to calibrate on, in order of preference."""

LEARN_FROM = ("train", "calib")
"""The roles to train on, in order of preference."""

_AROUND = re.compile(r"^(?:seg|images?|imgs?|data)[-_ ]|[-_ ]?(?:sets?|images?|imgs?|data|split)$|[-_]?(?:19|20)\d\d$")
"""Additions around the word: ``training_set``, ``seg_train``, ``val_images``, ``val2017``."""

_ROLE = {name: role for role, names in ROLES.items() for name in names}


def role(name: str) -> str | None:
    """Return the role of the split `name`; None if it is not the name of a split."""
    plain = name.casefold()
    return _ROLE.get(plain) or _ROLE.get(_AROUND.sub("", plain))


def first(names: Sequence[str], roles: Sequence[str]) -> list[str]:
    """Return the splits in `names` with the first of `roles` that occurs. Several can have the same meaning."""
    return next((found for wanted in roles if (found := [name for name in names if role(name) == wanted])), [])
