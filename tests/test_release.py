"""What a release says of itself: one version, notes, and workflows that GitHub reads."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import tomllib

import edgewright

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def release_notes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release_notes", ROOT / ".ci/release_notes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_is_written_once(release_notes: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert not re.search(r"^version:", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert release_notes.version() == edgewright.__version__


CHANGELOG = "# Changelog\n\n## Unreleased\n\n- new\n\n## 1.2.0 - 2026-11-30\n\n### Added\n- old\n\n## 1.1.0\n- older\n"


@pytest.mark.parametrize(
    ("heading", "text"), [("Unreleased", "- new"), ("1.2.0", "### Added\n- old"), ("1.1.0", "- older"), ("1.1", "")]
)
def test_the_notes_of_a_release_are_its_section_of_the_changelog(
    release_notes: ModuleType, heading: str, text: str
) -> None:
    assert release_notes.notes(CHANGELOG, heading) == text


def test_a_tag_that_is_not_the_version_stops_the_release(
    release_notes: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_notes, "ROOT", tmp_path)
    monkeypatch.setattr(release_notes, "version", lambda: "1.2.0")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    assert release_notes.main(["v99.0.0"]) == 1
    assert "v99.0.0" in capsys.readouterr().err
    assert release_notes.main(["v1.2.0"]) == 0 and "- old" in capsys.readouterr().out
    assert release_notes.main([]) == 0 and "- new" in capsys.readouterr().out
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG.replace("- new", ""))
    assert release_notes.main([]) == 1 and "Unreleased" in capsys.readouterr().err


def check_schema(kind: str, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{kind}", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True)


def test_github_reads_the_workflows(tmp_path: Path) -> None:
    workflows = sorted((ROOT / ".github/workflows").glob("*.yml"))
    assert workflows
    done = check_schema("github-workflows", *workflows)
    assert done.returncode == 0, done.stdout
    (tmp_path / "wrong.yml").write_text(workflows[0].read_text().replace("runs-on", "run-on"))
    assert check_schema("github-workflows", tmp_path / "wrong.yml").returncode == 1


def test_the_workflow_runs_what_a_developer_runs() -> None:
    assert "- run: .ci/run\n" in (ROOT / ".github/workflows/ci.yml").read_text()
    assert (ROOT / ".ci/run").read_text().splitlines()[-1].startswith("make test")
