"""The HTML report in a real browser: drawn, marked, silent, and alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench_sample import nothing_inside, report

from edgewright.bench import html

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: install the system's chromium to test the HTML report")
    with playwright.sync_playwright() as p:
        opened = p.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def show(browser, tmp_path_factory):
    """Open a report; gives the page, what it requested beside itself, and what its console said. Opened once each."""
    pages = {}

    def run(make=report, width=1280, scheme="light"):
        if (make, width, scheme) not in pages:
            pages[make, width, scheme] = _open(browser, make(), tmp_path_factory.mktemp("page"), width, scheme)
        return pages[make, width, scheme]

    return run


def _open(browser, found, folder, width, scheme):
    path = folder / "report.html"
    html.write(found, path)
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    requests, said = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_function("document.documentElement.dataset.drawn === '2'", timeout=60_000)
    return page, [url for url in requests if url != path.as_uri()], said


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_drawn_without_network_or_complaint(show, width, scheme):
    page, requests, said = show(report, width, scheme)
    assert requests == []
    assert said == []
    assert page.locator("#pareto svg g.mark-symbol path").count() >= 10, "nine variants and the ring"
    assert page.locator("#latencies svg g.mark-rect path").count() >= 10
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_names_from_outside_do_not_run(show):
    page, _, _ = show()
    assert page.title().startswith("mobilenetv1_075 <script>")
    assert page.evaluate("document.querySelectorAll('img').length") == 0


def test_the_chosen_row_is_marked_and_failures_have_their_reason(show):
    page, _, _ = show()
    assert page.locator("tr.chosen").get_attribute("data-id") == "openvino-int8-nncf-mixed"
    assert page.locator("#verdict h2").inner_text() == "openvino-int8-nncf-mixed"
    assert "QLinearConv" in page.locator("tr.failed .why").first.inner_text()


def test_the_table_sorts_by_a_click_and_failures_stay_below(show):
    page, _, _ = show()
    page.get_by_role("button", name="Size").click()
    ids = page.locator("#variants tbody tr[data-id]").evaluate_all("rows => rows.map(row => row.dataset.id)")
    assert ids[0] == "onnxruntime-int8-per-tensor"
    page.get_by_role("button", name="Size").click()
    ids = page.locator("#variants tbody tr[data-id]").evaluate_all("rows => rows.map(row => row.dataset.id)")
    assert ids[0] in ("openvino-f32", "openvino-bf16")
    assert ids[-1] != "onnxruntime-int8-per-tensor"


def test_hovering_a_point_tells_what_it_is(show):
    page, _, _ = show()
    page.locator("#pareto svg g.mark-symbol path[aria-roledescription]").last.hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "variant" in page.locator("#vg-tooltip-element").inner_text()


def test_a_budget_that_nothing_meets_is_said_first(show):
    page, _, said = show(nothing_inside)
    assert said == []
    assert "Nothing is inside the budget" in page.locator("#verdict").inner_text()
    assert page.locator("tr.chosen").count() == 0
