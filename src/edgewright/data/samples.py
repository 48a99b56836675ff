"""Read folders of sample files: the arrays of one sample by input name, an .npz or .safetensors file each."""

from __future__ import annotations

import os
from pathlib import Path

from edgewright.core.samples import is_sample

from . import listing
from .items import ImageSet, Item
from .remarks import remark


def paths(folder: Path) -> list[str]:
    """Return the sorted paths of the sample files in `folder`; empty if there are images, which come first."""
    found = listing.below(folder, deep=False)
    return [] if found.images else [path for path in found.others if is_sample(path)]


def present(folder: Path) -> bool:
    """Whether `folder` itself holds samples, and no images or folders."""
    return bool(paths(folder)) and not listing.folders(folder)


def read(root: Path, folder: Path, split: str) -> ImageSet:
    """Return the samples of `folder`, in the order of their names."""
    found = paths(folder)
    others = [path for path in listing.below(folder, deep=False).others if path not in found]
    left = [path for path in others if os.path.splitext(path)[1].lower() in (".npy", ".pt", ".pth", ".h5", ".bin")]  # noqa: PTH122
    text = "{count|file|files} next to the samples have another format and are not read."
    return ImageSet(
        name=root.name, split=split, items=tuple(Item(path, None) for path in found), classes=(),
        remarks=tuple(remark("warning", "files-left-out", [Path(path).name for path in left], text)),
    )  # fmt: skip
