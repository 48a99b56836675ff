"""The words for the parts of a data set: what a folder, a key or a column that is called so is for."""

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
"""What a split is for, and the names that it goes by: in any capitals, and with what `_AROUND` takes away."""

EVALUATE_ON = ("val", "eval", "test")
"""The roles to evaluate on, the first that there is."""

CALIBRATE_ON = ("calib", "train")
"""The roles to calibrate on, the first that there is."""

LEARN_FROM = ("train", "calib")
"""The roles to train on, the first that there is."""

_AROUND = re.compile(r"^(?:seg|images?|imgs?|data)[-_ ]|[-_ ]?(?:sets?|images?|imgs?|data|split)$|[-_]?(?:19|20)\d\d$")
"""What names have around the word: ``training_set``, ``seg_train``, ``val_images``, ``val2017``."""

_ROLE = {name: role for role, names in ROLES.items() for name in names}


def role(name: str) -> str | None:
    """The role of the split `name`; None if it is not the name of a split."""
    plain = name.casefold()
    return _ROLE.get(plain) or _ROLE.get(_AROUND.sub("", plain))


def first(names: Sequence[str], roles: Sequence[str]) -> list[str]:
    """The splits of `names` with the first of `roles` that any has: one, none, or several that mean the same."""
    return next((found for wanted in roles if (found := [name for name in names if role(name) == wanted])), [])
