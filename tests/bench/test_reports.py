"""Every report format: complete, escaped, valid against the shipped schema, within 100 columns."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from importlib import resources
from pathlib import Path

import jsonschema
import msgspec
import pytest
from bench_sample import EVIL, NAMES, evil, nothing_inside, only_built, report, sensitivities
from rich.console import Console

from edgewright.bench import console, html, markdown, report_json, results, sensitivity
from edgewright.core.errors import InvalidInput

SAMPLES = {
    "chosen": report,
    "nothing": nothing_inside,
    "built": only_built,
    "unlabelled": lambda: report(labelled=False),
}


@pytest.fixture(params=SAMPLES)
def sample(request):
    return SAMPLES[request.param]()


def plain(found, width=100, **options):
    out = io.StringIO()
    console.show(found, Console(file=out, width=width, highlight=False, **options))
    return out.getvalue()


def test_the_shipped_schema_is_up_to_date():
    shipped = resources.files("edgewright.schemas").joinpath("report.schema.json").read_bytes()
    assert json.loads(shipped) == json.loads(msgspec.json.encode(results.schema())), (
        "write it again: results.schema() -> src/edgewright/schemas/report.schema.json"
    )


def test_report_json_is_valid_and_comes_back_equal(sample, tmp_path):
    path = tmp_path / "report.json"
    report_json.write(sample, path)
    jsonschema.Draft202012Validator(results.schema()).validate(json.loads(path.read_bytes()))
    assert report_json.read(path) == sample


def test_absent_figures_are_absent_and_the_version_is_not():
    content = json.loads(report_json.render(only_built()))
    assert content["schema_version"] == 2
    assert "latency" not in content["measurements"][0]
    assert "null" not in report_json.render(report())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"schema_version": 99}', "version 99"),
        (b'{"schema_version": 1}', "missing required field"),
        (b"%PDF", "not valid"),
    ],
)
def test_what_is_no_report_is_refused(content, says, tmp_path):
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(InvalidInput, match=says):
        report_json.read(tmp_path / "report.json")
    with pytest.raises(InvalidInput, match="cannot be read"):
        report_json.read(tmp_path / "none.json")


def test_console_fits_100_columns_and_has_no_colour_without_a_terminal(sample):
    text = plain(sample)
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "\x1b" not in text
    for found in sample.measurements:
        assert found.id[:12] in text


def test_console_marks_the_choice_and_tells_failures():
    text = plain(report(evil=False))
    assert "> openvino-bf16               80.50" in text
    assert "failed:   onnxruntime-int8-nncf in latency: QLinearConv" in text
    assert "the CPU is used instead of the reference GPU" in text
    assert "\x1b[1;32m" in plain(report(), force_terminal=True, color_system="standard")


def test_console_does_not_read_markup_in_names():
    odd = msgspec.structs.replace(report().measurements[0], id="[red]x[/]")
    assert "[red]x[/]" in plain(msgspec.structs.replace(report(), measurements=(odd,), choice=None))


def test_markdown_is_one_table_whose_cells_hold(sample):
    text = markdown.render(sample)
    table = [line for line in text.splitlines() if line.startswith("|")]
    columns = {line.replace("\\|", "").count("|") for line in table}
    assert columns == {12}
    assert len(table) == 2 + len(sample.measurements) + bool(sample.reference)
    assert "<script" not in text
    assert "<img" not in text


def test_markdown_marks_the_choice():
    text = markdown.render(report(evil=False))
    assert "| :star: | **openvino-bf16** | 80.50 |" in text
    assert "<details>" in text


def test_markdown_without_a_choice_names_what_is_missed():
    assert "p95 &lt;= 1ms: 4.66 ms, missed by" in markdown.render(nothing_inside())


def test_every_report_tells_what_the_audit_found_and_what_passed():
    first, *rest = report(evil=False).measurements
    error = results.Finding(level="error", code="saturation", text="6.9 dB as the exact sums.")
    passed = results.Finding(level="ok", code="census", text="Layers ran as asked.")
    first = msgspec.structs.replace(first, findings=(error,), passed=(passed,))
    warning = results.Finding(level="warning", code="calibration-few", text="40 are few.")
    found = msgspec.structs.replace(report(evil=False), measurements=(first, *rest), findings=(warning,))
    page, text, screen = html.render(found), markdown.render(found), " ".join(plain(found).split())
    assert 'id="audit"' in page and "error: saturation" in page and "<dt>census</dt><dd>1 variant</dd>" in page
    assert f"error: **{first.id}**: saturation: 6.9 dB" in text and "passed: census: 1 variant" in text
    assert f"error: saturation: {first.id}: 6.9 dB" in screen and "warning: calibration-few: 40 are" in screen


def test_html_escapes_what_comes_from_outside(sample):
    page = html.render(sample)
    assert EVIL not in page
    assert "<img src=x" not in page
    assert "Content-Security-Policy" in page


def test_html_without_measurements_needs_no_plots():
    page = html.render(only_built())
    assert len(page) < 100_000
    assert "Latency was not measured" in page


def controls(text):
    """Characters that a terminal or a browser acts on."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in "\u202e\u2066"} - {"\n"}


def test_every_report_shows_names_literally():
    found = evil()
    screen, text, page = plain(found), markdown.render(found), html.render(found)
    assert controls(screen) == controls(text) == controls(page) - {"\t"} == set()
    assert max(map(len, screen.splitlines())) <= 100
    for name in ("[/red]", "[bold]x[/bold]", r"\x1b[31mred", r"\x9b31m", r"a\u202eb", ":smile:", r"\ud800"):
        assert f"\nfailed:   {name}: " in screen and f"<dd>{name}</dd>" in page, name
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 3 + len(found.measurements)


def test_the_table_of_sensitivities_shows_names_literally():
    out = io.StringIO()
    sensitivity.show(sensitivities(), Console(file=out, width=100))
    rows = [line for line in out.getvalue().splitlines() if re.search(r"\d\.\d\d +[+-]\d\.\d{3}", line)]
    assert len(rows) == len(NAMES) and controls(out.getvalue()) == set()
    assert max(map(len, rows)) <= 100, "the figures keep their place"
    for name in ("[/red]", "[bold]x[/bold]", r"\x1b[31mred", r"\x9b31m", r"a\u202eb", ":smile:", r"\ud800", "a b c"):
        assert any(row.startswith(f"{name} ") for row in rows), name


@pytest.mark.parametrize(
    ("name", "parted"),
    [
        ("@torvalds", "@&#8203;torvalds"),
        ("mail a@b.example", "mail a@&#8203;b.example"),
        ("o/r#12", r"o/r\#&#8203;12"),
        ("GH-12", "GH&#8203;-12"),
        ("https://evil.example", "https:&#8203;//evil.example"),
        ("www.evil.example", "www&#8203;.evil.example"),
        (":smile:", ":&#8203;smile:"),
        ("[a](b) ![c](d) `e` $f$", r"\[a\](b) \!\[c\](d) \`e\` \$f\$"),
        ("at 12:30 timm:resnet18 #a @ b", r"at 12:30 timm:resnet18 \#a @ b"),
    ],
)
def test_markdown_notifies_and_links_nobody(name, parted):
    found = msgspec.structs.replace(report(evil=False), model=results.ModelInfo(name=name, source=""))
    assert markdown.render(found).startswith(f"### edgewright: {parted} for ")


def test_a_page_names_its_scripts_and_allows_no_other():
    pages = (html.render(evil()), html.render(only_built()), html.sensitivity(sensitivities()))
    for page, scripts in zip(pages, (2, 1, 2)):
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
        rules = dict(rule.split(" ", 1) for rule in policy.replace("&#39;", "'").split("; "))
        assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
        assert re.fullmatch(r"('sha256-[\w+/]{43}='( |$))+", rules["script-src"])
        assert rules["script-src"].count("sha256") == scripts == page.count('<script type="module">')
        assert page.count("<script") == scripts + page.count('<script type="application/json"')


def test_sensitivities_without_times_have_no_page():
    found = sensitivities()
    layers = tuple(msgspec.structs.replace(row, int8_ms=None) for row in found.layers)
    assert html.sensitivity(msgspec.structs.replace(found, layers=layers)) is None


def test_a_report_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    plain = json.loads(report_json.render(report(evil=False)))
    twice = plain["measurements"][:1] * 2
    for change in ({"choice": {"why": "", "id": "none"}}, {"measurements": twice, "choice": None}):
        (tmp_path / "report.json").write_text(json.dumps({**plain, **change}))
        with pytest.raises(InvalidInput, match="contradicts itself"):
            report_json.read(tmp_path / "report.json")
