"""Reports for CI systems and benchmark tools: each is read here by the tool or by its schema."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import bench_sample
import jsonschema
import msgspec
import pytest
import xmlschema

from edgewright.bench import markdown
from edgewright.bench.formats import pull_request
from edgewright.bench.report_formats import FORMATS, render
from edgewright.bench.results import Finding, Report
from edgewright.core.errors import UsageError
from edgewright.core.statistics import Verdict

ENTRIES = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["name", "value", "unit"],
        "properties": {
            "name": {"type": "string"},
            "value": {"type": "number"},
            "unit": {"type": "string"},
            "range": {"type": ["string", "number"]},
            "extra": {"type": "string"},
        },
    },
}
"""What github-action-benchmark reads of ``customSmallerIsBetter`` and ``customBiggerIsBetter`` (its src/extract.ts)."""


JUNIT = """\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
 <xs:simpleType name="seconds"><xs:restriction base="xs:string">
  <xs:pattern value="([0-9]{1,3}(,[0-9]{3})*|[0-9]+)?([.][0-9]{0,3})?"/>
 </xs:restriction></xs:simpleType>
 <xs:complexType name="reason" mixed="true">
  <xs:attribute name="message"/><xs:attribute name="type"/>
 </xs:complexType>
 <xs:complexType name="case">
  <xs:choice minOccurs="0" maxOccurs="unbounded">
   <xs:element name="skipped" type="reason"/><xs:element name="failure" type="reason"/>
   <xs:element name="system-out" type="xs:string"/>
  </xs:choice>
  <xs:attribute name="name" use="required"/><xs:attribute name="classname"/><xs:attribute name="time"/>
 </xs:complexType>
 <xs:complexType name="suite">
  <xs:choice minOccurs="0" maxOccurs="unbounded">
   <xs:element name="properties"><xs:complexType><xs:sequence>
    <xs:element name="property" minOccurs="0" maxOccurs="unbounded"><xs:complexType>
     <xs:attribute name="name" use="required"/><xs:attribute name="value" use="required"/>
    </xs:complexType></xs:element>
   </xs:sequence></xs:complexType></xs:element>
   <xs:element name="testcase" type="case"/>
  </xs:choice>
  <xs:attribute name="name" use="required"/><xs:attribute name="tests" use="required"/>
  <xs:attribute name="failures" use="required"/><xs:attribute name="errors" use="required"/>
  <xs:attribute name="skipped"/><xs:attribute name="timestamp"/><xs:attribute name="time" type="seconds"/>
 </xs:complexType>
 <xs:element name="testsuites"><xs:complexType>
  <xs:sequence><xs:element name="testsuite" type="suite" minOccurs="0" maxOccurs="unbounded"/></xs:sequence>
  <xs:attribute name="name"/><xs:attribute name="tests"/><xs:attribute name="failures"/><xs:attribute name="errors"/>
  <xs:attribute name="time" type="seconds"/>
 </xs:complexType></xs:element>
</xs:schema>
"""
"""What Jenkins' xUnit plugin accepts (its junit-10.xsd) of the elements that we write."""


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "evil"])
def sample(request: pytest.FixtureRequest) -> Report:
    return bench_sample.report(evil=request.param)


def only(report: Report, name: str) -> str:
    (text,) = render(report, [name]).values()
    return text


def cases(report: Report) -> dict[tuple[str, str], ET.Element]:
    root = ET.fromstring(only(report, "junit"))
    return {(case.get("classname", ""), case.get("name", "")): case for case in root.iter("testcase")}


def with_verdict(report: Report, verdict: Verdict) -> Report:
    """`report`, of which the chosen variant has this verdict on its accuracy."""
    assert report.chosen and report.chosen.accuracy and report.chosen.accuracy.delta
    accuracy = report.chosen.accuracy
    score = accuracy.scores[accuracy.primary]
    delta = msgspec.structs.replace(report.chosen.accuracy.delta, verdict=verdict)
    scores = {**accuracy.scores, accuracy.primary: msgspec.structs.replace(score, delta=delta)}
    chosen = msgspec.structs.replace(report.chosen, accuracy=msgspec.structs.replace(accuracy, scores=scores))
    rows = tuple(chosen if row.id == chosen.id else row for row in report.measurements)
    return msgspec.structs.replace(report, measurements=rows)


def test_every_format_is_a_pure_function_with_files_of_its_own(sample: Report) -> None:
    found = [name for format in FORMATS for name in render(sample, [format])]
    assert len(found) == len(set(found))
    assert render(sample, FORMATS) == render(sample, FORMATS)


def test_an_unknown_format_is_refused_with_a_similar_one() -> None:
    with pytest.raises(UsageError) as error:
        render(bench_sample.report(), ["junitxml"])
    assert "junit" in error.value.fix


def test_junit_has_a_case_for_each_term_and_variant(sample: Report) -> None:
    root = ET.fromstring(only(sample, "junit"))
    suites = list(root)[1:]
    assert len(suites) == len(sample.measurements)
    for found, suite in zip(sample.measurements, suites):
        names = [case.get("name") for case in suite.iter("testcase")]
        assert {term.text for term in found.budget} <= set(names)
        assert int(suite.get("tests", "")) == len(names)
        assert int(suite.get("skipped", "")) == len(list(suite.iter("skipped")))
    assert int(root.get("failures", "")) == len(list(root.iter("failure")))


def test_junit_fits_the_schema_of_jenkins(sample: Report) -> None:
    xmlschema.XMLSchema(JUNIT).validate(only(sample, "junit"))


def test_junit_fails_only_for_the_variant_that_ships() -> None:
    report = bench_sample.nothing_inside()
    assert report.choice and report.choice.nearest
    failed = {name for (name, _), case in cases(report).items() if case.find("failure") is not None}
    assert failed == {f"edgewright.{report.choice.nearest}"}
    fine = bench_sample.report(evil=False)
    assert not any(case.find("failure") is not None for case in cases(with_verdict(fine, "not_worse")).values())


def test_junit_skips_what_is_not_confirmed() -> None:
    report = with_verdict(bench_sample.report(evil=False), "undecided")
    assert report.choice
    term = cases(report)[f"edgewright.{report.choice.id}", "top1 >= -1.0"]
    skipped = term.find("skipped")
    assert skipped is not None and "Inconclusive" in skipped.get("message", "")
    confirmed = cases(with_verdict(report, "not_worse"))[f"edgewright.{report.choice.id}", "top1 >= -1.0"]
    assert confirmed.find("skipped") is None


def test_a_summary_and_a_comment_stay_below_the_limits() -> None:
    report = bench_sample.report()
    many = tuple(msgspec.structs.replace(report.measurements[0], id=f"{number} {'ü' * 100}") for number in range(6000))
    large = msgspec.structs.replace(report, measurements=many, choice=None)
    for name, most in (("github-summary", 1024 * 1024), ("pull-request", 64 * 1024)):
        text = only(large, name)
        assert len(text.encode()) < most
        assert "report.json has everything" in text
    assert only(report, "github-summary") == markdown.render(report)
    assert only(report, "pull-request").startswith(pull_request.MARK)


def test_annotations_are_one_line_each_and_cannot_start_a_command_of_their_own(sample: Report) -> None:
    lines = only(sample, "github-annotations").splitlines()
    assert lines
    for line in lines:
        level, _, rest = line.removeprefix("::").partition(" title=")
        title, _, text = rest.partition("::")
        assert level in ("error", "warning", "notice") and title and text
        assert ":" not in title and "," not in title


def test_annotations_say_what_fails() -> None:
    report = bench_sample.nothing_inside()
    text = only(report, "github-annotations")
    assert report.choice and report.choice.misses
    assert "::error title=edgewright%3A no variant is chosen::" in text


def test_gitlab_metrics_are_openmetrics(sample: Report) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    families = {family.name: family for family in text_string_to_metric_families(only(sample, "gitlab-metrics"))}
    found = {s.labels["variant"]: s.value for s in families["edgewright_p50_seconds"].samples}
    for measured in sample.measurements:
        if measured.status == "ok" and measured.latency and measured.latency.p50_ms and measured.id.isascii():
            assert found[measured.id] == pytest.approx(measured.latency.p50_ms / 1e3, rel=1e-5)


def test_code_quality_keeps_fingerprints_and_names_a_path(sample: Report) -> None:
    wrong = Finding(level="error", code="calibration-leak", text="The sets share <b>an image</b>.")
    sample = msgspec.structs.replace(sample, findings=(wrong,))
    found: list[dict[str, Any]] = json.loads(only(sample, "gitlab-codequality"))
    assert found[0]["check_name"] == "edgewright/calibration-leak"
    for entry in found:
        assert entry["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert entry["location"]["path"] and entry["location"]["lines"]["begin"] == 1
    later = msgspec.structs.replace(sample, created="2030-01-01T00:00:00+00:00")
    again = json.loads(only(later, "gitlab-codequality"))
    assert [entry["fingerprint"] for entry in again] == [entry["fingerprint"] for entry in found]


def test_pytest_benchmark_compares_our_rows(tmp_path: Path) -> None:
    report = bench_sample.report(evil=False)
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(only(report, "pytest-benchmark"))
    measured = [m.id for m in report.measurements if m.status == "ok" and m.latency]
    for options in ((), ("--between=median,min",), ("--group-by=param",), ("--group-by=fullname",)):
        command = [sys.executable, "-m", "pytest_benchmark", "compare", "a.json", "b.json", *options]
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert all(id in found.stdout for id in measured), found.stdout + found.stderr
        assert "warning" not in found.stderr.lower()


def test_pytest_benchmark_has_every_field_of_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_own(benchmark):\n    benchmark(sum, range(10))\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "--benchmark-json=own.json", "test_own.py"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, env=alone)
    own = json.loads((tmp_path / "own.json").read_text())
    ours = json.loads(only(bench_sample.report(), "pytest-benchmark"))
    assert set(ours) == set(own)
    assert set(own["benchmarks"][0]) <= set(ours["benchmarks"][0])
    assert set(own["benchmarks"][0]["stats"]) - {"data"} <= set(ours["benchmarks"][0]["stats"])
    assert set(own["machine_info"]) == set(ours["machine_info"])


def test_statistics_for_pytest_benchmark_are_those_of_the_report() -> None:
    report = bench_sample.report(evil=False)
    found = {one["name"]: one["stats"] for one in json.loads(only(report, "pytest-benchmark"))["benchmarks"]}
    for measured in report.measurements:
        if measured.status == "ok" and (latency := measured.latency) and latency.p50_ms and latency.mean_ms:
            stats = found[measured.id]
            assert stats["median"] == pytest.approx(latency.p50_ms / 1e3)
            assert stats["mean"] == pytest.approx(latency.mean_ms / 1e3) and stats["rounds"] == latency.samples
            assert stats["min"] <= stats["q1"] <= stats["median"] <= stats["q3"] <= stats["max"]


def test_benchmark_action_reads_both_files(sample: Report) -> None:
    found = render(sample, ["benchmark-action"])
    assert set(found) == {"smaller-is-better.json", "bigger-is-better.json"}
    for text in found.values():
        jsonschema.validate(json.loads(text), ENTRIES)
    names = [entry["name"] for entry in json.loads(found["smaller-is-better.json"])]
    assert len(names) == len(set(names)) and any("loss + 1" in name for name in names)


def test_bencher_has_latency_in_nanoseconds_with_its_interval() -> None:
    report = bench_sample.report(evil=False)
    assert report.chosen and report.chosen.latency and report.chosen.latency.p50_ms
    name = f"{report.model.name}/{report.target.name}/{report.chosen.id}"
    metric = json.loads(only(report, "bencher"))[name]["latency"]
    assert metric["value"] == pytest.approx(report.chosen.latency.p50_ms * 1e6)
    assert metric["lower_value"] <= metric["value"] <= metric["upper_value"]
