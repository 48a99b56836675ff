"""Sample files: arrays by name, and hostile files of both formats."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from edgewright.core import samples
from edgewright.core.errors import InvalidInput

ARRAYS = {
    "x": np.arange(6, dtype=np.float32).reshape(2, 3),
    "n": np.array(3, np.int64),
    "flags": np.array([True, False]),
    "turned": np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(3, 2)),
}


def test_both_formats_give_the_arrays_that_were_written(tmp_path: Path) -> None:
    samples.write(tmp_path / "a.npz", ARRAYS)
    save_file({name: array.copy(order="C") for name, array in ARRAYS.items()}, tmp_path / "b.safetensors")
    np.savez_compressed(tmp_path / "c.npz", **ARRAYS)
    for name in ("a.npz", "b.safetensors", "c.npz"):
        found = samples.read(tmp_path / name)
        assert found.keys() == ARRAYS.keys()
        for key, array in ARRAYS.items():
            assert found[key].dtype == array.dtype and np.array_equal(found[key], array)
    for name in ("a.npz", "b.safetensors"):
        (tmp_path / f"sent-{name[0]}").write_bytes((tmp_path / name).read_bytes())
        assert samples.is_sample(tmp_path / f"sent-{name[0]}")
        assert samples.read(tmp_path / f"sent-{name[0]}").keys() == ARRAYS.keys()
    assert samples.digest(tmp_path / "a.npz") == samples.digest(tmp_path / "b.safetensors")


class _Code:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("it ran",)


def _npy(header: str, content: bytes) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def _zip(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)


def _tensors(path: Path, header: object, content: bytes = b"") -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


def test_hostile_files_are_refused_and_run_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = {name: tmp_path / f"{name}.npz" for name in ("pickle", "huge", "short", "other", "bomb", "text", "names")}
    np.savez(paths["pickle"], x=np.array([_Code()], object))
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }"
    _zip(paths["huge"], "x.npy", _npy(header % (1 << 40), b""))
    _zip(paths["short"], "x.npy", _npy(header % 8, b"1234"))
    _zip(paths["other"], "../x.py", b"print('it ran')")
    _zip(paths["bomb"], "x.npy", _npy(header % ((samples.MOST_BYTES // 4) + 1), b""))
    paths["text"].write_bytes(b"PK\x03\x04 not a zip")
    _zip(paths["names"], "x.npy", _npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n."))
    for name, entry in {
        "overlap": {"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}},
        "negative": {"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}},
        "beyond": {"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}},
        "type": {"x": {"dtype": "CODE", "shape": [1], "data_offsets": [0, 1]}},
        "list": [1, 2],
        "empty": {},
    }.items():
        paths[f"st-{name}"] = tmp_path / f"{name}.safetensors"
        _tensors(paths[f"st-{name}"], entry)
    paths["st-header"] = tmp_path / "header.safetensors"
    paths["st-header"].write_bytes(struct.pack("<Q", 1 << 60))
    for name, path in paths.items():
        with pytest.raises(InvalidInput, match="not a usable sample") as caught:
            samples.read(path)
        assert path.name in str(caught.value), name
    assert "it ran" not in capsys.readouterr().out


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "folder.npz").mkdir()
    for name, said in (("none.npz", "does not exist"), ("folder.npz", "is a folder")):
        with pytest.raises(InvalidInput, match=said):
            samples.read(tmp_path / name)


def test_paths_of_samples_are_known_by_their_suffix() -> None:
    assert samples.is_sample("a.NPZ") and samples.is_sample(Path("b/c.safetensors"))
    assert not any(map(samples.is_sample, ("a.jpg", b"a.npz", io.BytesIO(), None)))
