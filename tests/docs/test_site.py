"""The documentation site builds without warnings, its links lead somewhere, its search finds the right page first."""

from __future__ import annotations

import html
import importlib.util
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tomllib

from edgewright import tasks
from edgewright.quantize.schemes import SCHEMES
from edgewright.targets import devices

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
CHROMIUM = Path("/usr/bin/chromium")
QUESTIONS = {
    "my INT8 model lost accuracy": "how-to/debug-lost-accuracy.html",
    "jetson without internet": "how-to/air-gapped-device.html",
    "fail the build when slower": "how-to/ci-github.html",
    "exit code of a failed gate": "reference/exit-codes.html",
    "how is latency measured": "explanation/latency.html",
    "raspberry pi": "how-to/raspberry-pi.html",
    "what does p95 mean": "glossary.html",
    "my error message: there is no file": "troubleshooting.html",
}

pytestmark = pytest.mark.xdist_group("site")


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


# --- the built site ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from a copy as `make docs` builds it."""
    if importlib.util.find_spec("zensical") is None:
        pytest.skip("zensical is not installed (extra edgewright[docs], Python 3.11 or newer)")
    work = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, work / "docs")
    shutil.copy(ROOT / "zensical.toml", work)
    begin = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"], cwd=work, capture_output=True, text=True
    )
    assert run.returncode == 0, re.sub(r"\x1b\[[0-9;]*m", "", run.stdout + run.stderr)
    assert "WARNING" not in run.stderr and "No issues found" in run.stdout + run.stderr
    assert time.monotonic() - begin < 60
    return work / "build" / "site"


def test_every_page_is_in_the_navigation(site: Path) -> None:
    linked = set(re.findall(r'href="(?:\./)?([^"#:]+)"', (site / "index.html").read_text(encoding="utf-8")))
    pages = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")}
    assert sorted(pages - linked) == []


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?((?:https?:)?//[^\"'\s>]+)", text)
        loaded += re.findall(r"<link\b[^>]*\bhref=[\"']?((?:https?:)?//[^\"'\s>]+)", text)
        assert loaded == [], page.relative_to(site)
        assert 'class="mermaid"' not in text, "the theme loads mermaid from a server"


@pytest.fixture(scope="module")
def browser(site: Path) -> Iterator[Any]:
    """Chromium with the site's first page, opened from the file system, without a network."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: install the system's chromium to test the search")
    with sync_api.sync_playwright() as p:
        opened = p.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        context = opened.new_context()
        context.set_offline(True)
        yield context
        opened.close()


FIRST_HIT = """() => {
  const first = root => {
    const link = root !== document && root.querySelector("a[href]")
    if (link) return link.getAttribute("href")
    for (const one of root.querySelectorAll("*")) {
      const found = one.shadowRoot && first(one.shadowRoot)
      if (found) return found
    }
    return null
  }
  return first(document)
}"""
"""The search is in a shadow tree."""


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_first_hit_answers_the_question(question: str, site: Path, browser: Any) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("/")
    page.wait_for_function("document.activeElement !== document.body")
    page.keyboard.insert_text(question)
    hit = page.wait_for_function(FIRST_HIT, timeout=10_000).json_value()
    assert f"/{QUESTIONS[question]}" in hit, hit
    assert [url for url in asked if url.startswith("http")] == [], "the search needs no network"
    page.close()


# --- links ------------------------------------------------------------------------------------------------------------


@cache
def prose(path: Path) -> str:
    """A page without its code."""
    text = re.sub(r"^(```+).*?^\1 *$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "code", text)


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a page, as GitHub names them."""
    text = re.sub(r"^(```+).*?^\1 *$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return frozenset([*found, *re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text)])


def links(path: Path) -> list[str]:
    """The targets of all links and pictures of a page."""
    text = prose(path)
    found = re.findall(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)", text)
    found += re.findall(r"^\[[^\]]+\]: *(\S+)", text, re.MULTILINE)
    return [html.unescape(target) for target in [*found, *re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", text)]]


def broken(path: Path, target: str) -> str:
    """What is wrong with a link of a page; empty where it leads somewhere."""
    if re.match(r"[a-z][a-z+.-]*:", target):
        return (
            ""
            if re.fullmatch(r"https://[\w.-]+\.[a-z]{2,}(?:[/?#]\S*)?|mailto:\S+@\S+", target)
            else "no https address"
        )
    name, _, anchor = target.partition("#")
    file = (path.parent / name).resolve() if name else path
    if not file.exists():
        return "there is no such file"
    if DOCS in path.parents and DOCS not in file.parents and file != DOCS:
        return "the site has only what is below docs/"
    if anchor and file.suffix == ".md" and anchor not in anchors(file):
        return f"{label(file)} has no such heading"
    return ""


@pytest.mark.parametrize("path", PAGES, ids=label)
def test_links_lead_somewhere(path: Path) -> None:
    found = {target: broken(path, target) for target in links(path)}
    assert {target: why for target, why in found.items() if why} == {}


@pytest.mark.parametrize("path", [path for path in PAGES if DOCS in path.parents], ids=label)
def test_a_page_has_one_title_and_a_description(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.match(r"---\n(?:.*\n)*?description: .+\n(?:.*\n)*?---\n", text), "begin the page with its description"
    assert len(re.findall(r"^# ", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)) == 1


# --- generated pages --------------------------------------------------------------------------------------------------

CHECK = """
import runpy, sys
sys.argv = ["docs/generate", "--check"]
sys.path.insert(0, "docs/generate")
try:
    runpy.run_path("docs/generate/__main__.py", run_name="__main__")
finally:
    assert not {"torch", "onnxruntime", "openvino"} & set(sys.modules), "a page needs a heavy library"
"""


def test_generated_pages_are_up_to_date() -> None:
    run = subprocess.run([sys.executable, "-c", CHECK], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


# --- the support matrix -----------------------------------------------------------------------------------------------

SUPPORT = tomllib.loads((Path(__file__).with_name("support.toml")).read_text(encoding="utf-8"))
NAMED = [row for rows in SUPPORT.values() for row in rows if "test" in row]


def test_the_support_matrix_has_what_is_offered_and_every_task() -> None:
    offered = {(runtime.name, p, "") for t in devices.every() for runtime in t.runtimes for p in runtime.precisions}
    offered |= {(scheme.runtime, "int8", scheme.name) for scheme in SCHEMES.values()}
    rows = [(row["task"], row["runtime"], row["precision"], row.get("scheme", "")) for row in SUPPORT["artifacts"]]
    assert len(set(rows)) == len(rows)
    assert set(rows) <= {(task, *one) for task in tasks.names() for one in offered}
    for task in tasks.names():
        assert {(task, "onnxruntime", "f32", ""), (task, "onnxruntime", "int8", "ort-x86-vnni")} <= set(rows)
    assert all("test" in row for row in SUPPORT["artifacts"])


@pytest.mark.parametrize("test", sorted({row["test"] for row in NAMED}))
def test_the_support_matrix_names_tests_that_exist(test: str) -> None:
    file, _, name = test.partition("::")
    assert (ROOT / file).is_file()
    assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")
