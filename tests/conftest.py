"""What every test may ask for: the zoo of real weights and images, a quiet store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
