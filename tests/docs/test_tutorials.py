"""Each tutorial runs as it is written: its shell and Python blocks in their order, in an empty folder and store."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import example_finder as finder
import pytest

TUTORIALS = [text for text in finder.texts() if finder._is_script(text)]
LIMIT_S = 1200
"""Most seconds for a block."""


def environment(folder: Path) -> dict[str, str]:
    """The variables for a block: this environment's programs first, and a store in `folder`."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return {**kept, "PATH": path, "EDGEWRIGHT_CACHE": str(folder / "store"), "COLUMNS": "120"}


def run_page(page: finder.Text, folder: Path) -> None:
    """Run the blocks of a page that have no ``not run``, in order, in the folder ``work`` of `folder`."""
    work = folder / "work"
    work.mkdir()
    programs = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
    for fence in finder.fenced(page):
        if fence.language not in programs or fence.mark == "not run":
            continue
        ended = subprocess.run(
            [*programs[fence.language], fence.body], cwd=work, env=environment(folder), timeout=LIMIT_S,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        print(fence.body, ended.stdout, sep="\n")
        if ended.returncode:
            end = "\n".join(ended.stdout.splitlines()[-15:])
            where = page.at(fence.span[0])
            pytest.fail(f"{where}: the block ends with exit code {ended.returncode}:\n{end}", pytrace=False)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.file)
def test_a_tutorial_runs_as_it_is_written(page: finder.Text, tmp_path: Path) -> None:
    if "[host,ultralytics]" in page.body and importlib.util.find_spec("ultralytics") is None:
        pytest.skip("the extra edgewright[ultralytics] is not installed")
    run_page(page, tmp_path)


def test_blocks_of_a_page_share_a_folder(tmp_path: Path) -> None:
    blocks = "```bash\nprintf 3 > n\n```\n\n<!-- not run: it fails -->\n```bash\nfalse\n```\n\n"
    blocks += "```python\nprint(int(open('n').read()) + 4)\n```\n\n```bash\ncat n\n```\n"
    run_page(finder.Text("page.md", 1, blocks, is_code=False), tmp_path)


def test_a_block_that_fails_is_named(tmp_path: Path) -> None:
    page = finder.Text("page.md", 1, "Text.\n\n```bash\necho so\nls missing | cat\n```\n", is_code=False)
    with pytest.raises(pytest.fail.Exception, match=r"page\.md:4: the block ends with exit code \d"):
        run_page(page, tmp_path)


def test_there_are_tutorials() -> None:
    assert len(TUTORIALS) >= 2
