"""Names out of files stay in their folder; writes are whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgewright.core import files
from edgewright.core.errors import IntegrityError, InvalidInput, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(b"secret")
    inside = tmp_path / "model"
    (inside / "sub").mkdir(parents=True)
    (inside / "sub" / "weights.bin").write_bytes(b"weights")
    return inside


def test_open_contained_reads_a_file_below_the_folder(folder: Path) -> None:
    with files.open_contained(folder, "sub/weights.bin") as file:
        assert file.read() == b"weights"


@pytest.mark.parametrize("name", ["../secret", "sub/../../secret", "/etc/hostname", "", "a\0b", "..\\secret"])
def test_open_contained_refuses_names_that_leave(folder: Path, name: str) -> None:
    with pytest.raises(IntegrityError):
        files.open_contained(folder, name)


def test_open_contained_refuses_links(folder: Path) -> None:
    (folder / "soft").symlink_to(folder.parent / "secret")
    (folder / "softdir").symlink_to(folder.parent)
    os.link(folder.parent / "secret", folder / "hard")
    os.mkfifo(folder / "fifo")
    for name in ("soft", "softdir/secret", "hard", "fifo"):
        with pytest.raises(IntegrityError, match="Refused"):
            files.open_contained(folder, name)


def test_open_contained_says_what_is_missing(folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nothing\.bin"):
        files.open_contained(folder, "nothing.bin")


def test_write_keeps_the_old_content_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.json"
    files.write(target, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write(target, "new")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    final = tmp_path / "bundle"
    with pytest.raises(ValueError, match="stop"), files.new_folder(final) as folder:
        (folder / "half").write_bytes(b"x")
        raise ValueError("stop")
    assert os.listdir(tmp_path) == []
    for content in (b"1", b"2"):
        with files.new_folder(final) as folder:
            (folder / "whole").write_bytes(content)
    assert (final / "whole").read_bytes() == b"2"
    assert os.listdir(tmp_path) == ["bundle"]


@pytest.mark.parametrize(
    "folder", ["/proc/out", "/dev/null/out", "{tmp}/file/out", "{tmp}/file", "{tmp}/" + "x" * 300, "/sys/out"]
)
def test_a_folder_that_cannot_be_made_is_said_and_leaves_nothing(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written|is a file"):
        files.require_writable(Path(folder.format(tmp=tmp_path)), "Name another.")
    files.require_writable(tmp_path / "new" / "deep", "Name another.")
    assert os.listdir(tmp_path) == ["file"]


def test_an_output_file_must_not_be_a_folder(tmp_path: Path) -> None:
    files.require_writable_file(tmp_path / "new.onnx", "Name another.")
    with pytest.raises(UsageError, match="is a folder"):
        files.require_writable_file(tmp_path, "Name another.")
    assert os.listdir(tmp_path) == []


def test_links_of_data_are_followed_to_files_only(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "a.png").write_bytes(b"x")
    (data / "a.png").symlink_to(tmp_path / "a.png")
    assert files.linked_file(data, "a.png") == data / "a.png"
    (data / "null").symlink_to("/dev/zero")
    for name in ("null", "none.png"):
        with pytest.raises(InvalidInput, match="missing"):
            files.linked_file(data, name)
    with pytest.raises(IntegrityError):
        files.linked_file(data, "../a.png")
