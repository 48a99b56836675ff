"""What every test may ask for: the zoo of real weights and images, a quiet store."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent

# Read when Ultralytics is imported, by whichever test comes first: it must not install packages into the tests.
os.environ.setdefault("YOLO_AUTOINSTALL", "false")

# Read when torch is imported: two tests at once share the cores, and torch's threads must not spin on them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Nor the user's own key, which is made at first use; before any fixture, for those of modules need one too.
_config = tempfile.TemporaryDirectory(prefix="edgewright-tests-")
os.environ["XDG_CONFIG_HOME"] = _config.name


@pytest.fixture(scope="session")
def zoo() -> Path:
    """The folder of real weights and images; skips where `$EDGEWRIGHT_ZOO` does not name one."""
    root = os.environ.get("EDGEWRIGHT_ZOO")
    if not root or not Path(root, "weights").is_dir():
        pytest.skip("EDGEWRIGHT_ZOO does not name a folder with weights/ and images: real-input tests need it")
    return Path(root)


@pytest.fixture(autouse=True)
def _own_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never read or fill the user's store."""
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path_factory.mktemp("store")))


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the smallest real job (see tiny.py): ``images/``, ``tiny.toml``, and ``tiny`` as a source."""
    import importlib.util

    source = Path(__file__).parent / "tiny.py"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "tiny.py").write_text(source.read_text())
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    spec = importlib.util.spec_from_file_location("tiny_job", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "tiny.toml").write_text(module.SPEC)
    module.write_images(tmp_path / "images")
    return tmp_path


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout. Tests of it are in the group `wheel`, so that it is built once."""
    out = tmp_path_factory.mktemp("wheel")
    # A copy: building writes into the source folder.
    source = out / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=_ROOT, capture_output=True, check=True
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (_ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            if (_ROOT / name).is_symlink():
                (source / name).symlink_to((_ROOT / name).readlink())
            else:
                (source / name).write_bytes((_ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(out), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    return next(out.glob("*.whl"))
