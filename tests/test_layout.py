"""What ships: one import package, exactly these files, nothing generic, links intact."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("export", "quantize", "runtimes", "bench", "targets")


@pytest.mark.xdist_group("wheel")
def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    real = {
        path.relative_to(ROOT / "src").as_posix()
        for folder in [ROOT / "src/edgewright", *(ROOT / "src/edgewright" / name for name in FOLDERS)]
        for path in folder.rglob("*")
        if path.suffix in (".py", ".toml", ".typed", ".j2", ".json", ".safetensors", ".txt") or path.name == "py.typed"
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == real
    assert all(name.startswith("edgewright/") for name in names)


@pytest.mark.xdist_group("wheel")
def test_only_edgewright_is_a_top_level_name(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    top = next(n for n in archive.namelist() if n.endswith("top_level.txt"))
    assert archive.read(top).decode().split() == ["edgewright"]


def test_the_five_folders_are_links_into_the_package() -> None:
    for name in FOLDERS:
        link = ROOT / "src" / "edgewright" / name
        assert link.is_symlink()
        assert link.readlink() == Path("../..", name)


IMPORT_ALL = r"""
import importlib, pkgutil, re, sys
import edgewright
trains = {  # what wraps torch; nothing imports it first
    "edgewright.core.torch_losses", "edgewright.boxes.training",
} | {
    "edgewright.quantize." + name
    for name in (
        "autograd", "training.loop", "training.checkpoint", "qat.train", "qat.student", "qat.batches", "qat.loss",
        "distillation.train", "distillation.losses",
        "distillation.features", "distillation.augment", "distillation.supervision",
        "pruning.groups", "pruning.importance", "pruning.blocks", "pruning.sparsity",
    )  # fmt: skip
}
for found in pkgutil.walk_packages(edgewright.__path__, "edgewright."):
    if found.name not in trains and not re.fullmatch(r"edgewright\.tasks\.\w+\.training", found.name):
        importlib.import_module(found.name)
leaked = {"export", "quantize", "runtimes", "bench", "targets"} & set(sys.modules)
heavy = {
    "torch", "timm", "nncf", "onnx", "openvino", "onnxruntime", "sklearn", "scipy", "jinja2", "vl_convert",
} & set(sys.modules)
assert not leaked, leaked
assert not heavy, heavy
"""


def test_importing_everything_leaks_no_generic_name_and_loads_no_heavy_library() -> None:
    subprocess.run([sys.executable, "-c", IMPORT_ALL], check=True)


def test_the_public_surface_is_exactly_this() -> None:
    import edgewright

    assert edgewright.__all__ == ["EdgewrightError", "ModelSpec", "Session", "open", "optimize"]
    assert all(callable(getattr(edgewright, name)) for name in edgewright.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = edgewright.nothing


def test_nothing_reads_or_writes_pickles() -> None:
    sources = [p for f in ("src/edgewright", *FOLDERS) for p in (ROOT / f).rglob("*.py")]
    assert len(sources) > 40
    banned = ("pickle.load", "pickle.dump", "Unpickler(", "allow_pickle=True")
    assert [p for p in sources if any(word in p.read_text() for word in banned)] == []
