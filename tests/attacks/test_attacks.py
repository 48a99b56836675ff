"""Nothing that came from elsewhere imports, opens or writes anything outside of what the user named."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .attacks import ATTACKS, Attack

ROOT = Path(__file__).parents[2]
DEVICE = Path(sys.prefix, "device-3.10", "bin", "python")
SHADOWED = (
    "json", "numpy", "msgspec", "typing", "onnx", "onnxruntime", "torch", "timm", "PIL", "rich", "typer", "scipy",
    "tmm", "safetensors", "yaml", "cv2", "tomllib", "importlib_metadata", "shellingham", "google",
)  # fmt: skip
"""Names of libraries, of which a module lies in the working directory. (What Python itself imports before any code of
ours, `sitecustomize` or `runpy` for `python -m`, is not ours to keep out.)"""
OPENED, CREATED = 0x20, 0x100
"""inotify's events for a file that was opened, and one that was made."""


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """The names of files in `folder` that any process opens or makes meanwhile, as the kernel reports them."""
    libc, seen = ctypes.CDLL(None), list[str]()
    handle = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(handle, os.fsencode(folder), OPENED | CREATED) >= 0
    try:
        yield seen
        data = b""
        while True:
            try:
                data += os.read(handle, 1 << 16)
            except BlockingIOError:
                break
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at + 12 : at + 16], sys.byteorder)
            seen.append(os.fsdecode(data[at + 16 : at + 16 + length].rstrip(b"\0")))
            at += 16 + length
    finally:
        os.close(handle)


def act(attack: Attack, tmp_path: Path, python: Path, *start: str) -> subprocess.CompletedProcess[str]:
    """Run the attack's command, and check that nothing outside was touched."""
    here, outside = tmp_path / "here", tmp_path / "outside"
    here.mkdir()
    outside.mkdir()
    for name in SHADOWED:
        (here / f"{name}.py").write_text(f"open({str(outside / ('imported-' + name))!r}, 'w')\n")
    words = attack.make(here, outside)
    before = {path.name for path in outside.iterdir()}
    env = {**os.environ, "HOME": str(tmp_path / "home"), "COLUMNS": "400"}
    if python == DEVICE:
        env["PYTHONPATH"] = str(ROOT / "src")
    with watched(outside) as seen:
        done = subprocess.run(
            [str(python), *start, *words], cwd=here, env=env, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    assert not [name for name in seen if name], seen
    assert {path.name for path in outside.iterdir()} == before
    return done


def require_refused(attack: Attack, done: subprocess.CompletedProcess[str]) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == attack.exit_code, said
    assert attack.says in " ".join(said.split()), said
    assert "Traceback" not in said


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_it_is_refused_and_touches_nothing_outside(attack: Attack, tmp_path: Path) -> None:
    require_refused(attack, act(attack, tmp_path, Path(sys.prefix, "bin", "edgewright")))


ON_DEVICES = [found for found in ATTACKS.values() if found.device]


@pytest.mark.parametrize("attack", ON_DEVICES, ids=[found.name for found in ON_DEVICES])
def test_on_a_device_with_an_old_runtime_too(attack: Attack, tmp_path: Path) -> None:
    if not DEVICE.exists():
        pytest.skip(f"{DEVICE} is missing: `make test` makes it where a Python 3.10 is installed")
    require_refused(attack, act(attack, tmp_path, DEVICE, "-m", "edgewright"))


def test_the_watch_sees_what_it_is_there_for(tmp_path: Path) -> None:
    """The check can fail: a file that is read or made is seen."""
    (tmp_path / "secret").write_text("x")
    with watched(tmp_path) as seen:
        (tmp_path / "secret").read_text()
        (tmp_path / "mark").write_text("")
    assert {"secret", "mark"} <= set(seen)


@pytest.mark.parametrize("entries", [":", ".:"])
def test_an_empty_entry_of_pythonpath_does_not_let_the_working_directory_in(tmp_path: Path, entries: str) -> None:
    attack = ATTACKS["modules_beside_a_downloaded_bundle"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", entries)
        require_refused(attack, act(attack, tmp_path, Path(sys.prefix, "bin", "edgewright")))
