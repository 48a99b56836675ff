"""JUnit XML, as Jenkins, GitLab and Azure read it (the schema of Jenkins' xUnit plugin): ``junit.xml``."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from edgewright.bench import figures
from edgewright.bench.results import Measurement, Report
from edgewright.core.text import plain

from . import values

FILE = "junit.xml"


def render(report: Report) -> dict[str, str]:
    """Return a test suite for each variant with a test case for each term of its budget.

    A suite "data" has the errors of the images and the reference. A variant that was not measured is one skipped test
    case with the reason. An inconclusive term is skipped, too: it neither passes nor fails.
    """
    suites = [_data(report), *(_variant(found, report) for found in report.measurements)]
    cases = [case for suite in suites for case in suite.iter("testcase")]
    counts = {name: count for name, count in _counts(cases).items() if name != "skipped"}  # not in Jenkins' schema
    root = ET.Element("testsuites", {"name": _safe(f"edgewright: {values.title(report)}"), **counts})
    root.extend(suites)
    ET.indent(root, " ")
    return {FILE: f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'}


def _data(report: Report) -> ET.Element:
    cases = []
    for found in report.findings:
        if found.level in ("error", "warning"):
            case = _case("data", found.code, 0.0)
            _add(case, "failure" if found.level == "error" else "skipped", figures.sentence(found), found.code)
            cases.append(case)
    return _suite("data", report, cases or [_case("data", "images and reference", 0.0)])


def _variant(found: Measurement, report: Report) -> ET.Element:
    seconds = found.latency.duration_s or 0.0 if found.latency else 0.0
    cases = []
    if found.status != "ok":
        case = _case(found.id, found.status, 0.0)
        _add(case, "skipped", figures.reason(found, report) or found.status)
        cases.append(case)
    for number, term in enumerate(found.budget):
        case = _case(found.id, term.text, seconds if number == 0 else 0.0)
        status, why = values.outcome(term, found, report)
        if status != "passed":
            _add(case, "failure" if status == "failed" else "skipped", why, term.metric)
        cases.append(case)
    for finding in found.findings:
        if finding.level == "error":
            case = _case(found.id, finding.code, 0.0)
            kind = "failure" if values.ships(found, report) else "skipped"
            _add(case, kind, figures.sentence(finding), finding.code)
            cases.append(case)
    suite = _suite(found.id, report, cases or [_case(found.id, "measured", seconds)])
    properties = ET.Element("properties")
    for value in values.of(found, report):
        ET.SubElement(properties, "property", name=f"{value.name} ({value.unit})", value=f"{value.value:.6g}")
    if len(properties):
        suite.insert(0, properties)
    return suite


def _suite(name: str, report: Report, cases: list[ET.Element]) -> ET.Element:
    seconds = sum(float(case.get("time", 0)) for case in cases)
    about = {"name": _safe(name), **_counts(cases), "time": f"{seconds:.3f}", "timestamp": report.created[:19]}
    suite = ET.Element("testsuite", about)
    suite.extend(cases)
    return suite


def _case(variant: str, name: str, seconds: float) -> ET.Element:
    return ET.Element("testcase", classname=_safe(f"edgewright.{variant}"), name=_safe(name), time=f"{seconds:.3f}")


def _add(case: ET.Element, kind: str, text: str, type: str = "") -> None:
    about = {"message": _safe(text), **({"type": type} if kind == "failure" else {})}
    ET.SubElement(case, kind, about).text = _safe(text)


def _counts(cases: list[ET.Element]) -> dict[str, str]:
    found = {kind: sum(case.find(kind) is not None for case in cases) for kind in ("failure", "skipped")}
    return {
        "tests": str(len(cases)), "failures": str(found["failure"]), "errors": "0", "skipped": str(found["skipped"])
    }  # fmt: skip


def _safe(text: str) -> str:
    """Return text without characters that XML 1.0 forbids: they become visible escapes."""
    return "".join(c if c < "\ufffe" or c > "\uffff" else f"\\u{ord(c):04x}" for c in plain(text))
