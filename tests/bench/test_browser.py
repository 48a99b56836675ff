"""The HTML pages in a real browser: drawn, marked, silent, and alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench_sample import NAMES, evil, nothing_inside, report, sensitivities
from msgspec import structs

from edgewright.bench import html
from edgewright.bench.results import Report
from edgewright.tasks.scores import Interval

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
    """Open a page; gives it, what it requested beside itself, and what its console said. Opened once each."""
    pages = {}

    def run(make=report, width=1280, scheme="light"):
        if (make, width, scheme) not in pages:
            pages[make, width, scheme] = _open(browser, make(), tmp_path_factory.mktemp("page"), width, scheme)
        return pages[make, width, scheme]

    return run


def _open(browser, found, folder, width, scheme):
    path = folder / "page.html"
    text = html.render(found) if isinstance(found, Report) else html.sensitivity(found)
    path.write_text(text, encoding="utf-8")
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    requests, said = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    plots = text.count('class="chart"')
    page.wait_for_function(f"document.documentElement.dataset.drawn === '{plots}'", timeout=60_000)
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
    assert page.locator("tr.chosen").get_attribute("data-id") == "openvino-bf16"
    assert page.locator("#verdict h2").inner_text() == "openvino-bf16"
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
    assert "Nothing is within the budget" in page.locator("#verdict").inner_text()
    assert page.locator("tr.chosen").count() == 0


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_sensitivities_are_drawn_and_their_names_do_not_run(show, width, scheme):
    page, requests, said = show(sensitivities, width, scheme)
    assert (requests, said) == ([], [])
    assert page.title().startswith("int8 <script>") and page.locator("img").count() == 0
    assert page.locator("#sensitivity svg g.mark-symbol path").count() == len(NAMES)
    assert page.locator("main tbody tr").count() == len(NAMES)
    assert "</script><script>document.title='owned'</script>" in page.locator("main tbody").inner_text()
    assert r"a\u202eb" in page.locator("main tbody").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_sensitivities_sort_by_a_click_and_a_dot_has_its_name(show):
    page, _, _ = show(sensitivities, 1280, "dark")
    page.get_by_role("button", name="Saved ms").click()
    assert page.locator("main tbody tr td:last-child").first.inner_text() == "−0.050"
    page.locator("#sensitivity svg g.mark-symbol path").nth(1).hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "</script><script>" in page.locator("#vg-tooltip-element").inner_text()


def test_a_report_with_every_kind_of_name_is_drawn(show):
    page, requests, said = show(evil)
    assert (requests, said) == ([], [])
    assert page.title().startswith("mobilenetv1_075 <script>") and page.locator("img").count() == 0


@pytest.mark.parametrize("make", [report, sensitivities])
def test_the_policy_stops_a_script_that_is_not_ours(show, make):
    page, _, said = show(make, 1281)
    page.evaluate(
        """() => { for (const type of ["", "module"]) {
            const script = document.createElement("script");
            script.type = type; script.textContent = "document.title = 'owned'";
            document.body.append(script);
        } }"""
    )
    page.wait_for_timeout(100)
    assert page.title() != "owned"
    assert len(said) == 2 and all("Content Security Policy" in line for line in said)


def wide():
    """A report in which the interval of a median is far wider than the plot."""
    found = report()
    rows = [
        structs.replace(m, latency=structs.replace(m.latency, p50_interval_ms=Interval(low=0.01, high=1e4)))
        if m.status == "ok" and m.latency
        else m
        for m in found.measurements
    ]
    return structs.replace(found, measurements=tuple(rows))


def test_an_interval_wider_than_the_plot_leaves_it_its_width(show):
    page, _, _ = show(wide)
    frame = page.locator("#pareto .mark-group.role-frame path.background").first.bounding_box()
    assert frame["width"] > 800
