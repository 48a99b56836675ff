"""Accuracies of schema 1 become named scores; bits of right and wrong become contributions of 100 and 0."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from edgewright.bench.report_json import parse, render
from edgewright.bench.report_upgrade import upgrade
from edgewright.bench.results import Report
from edgewright.core.errors import InvalidInput
from edgewright.tasks.scores import Accuracy, unpack

DELTA = {"value": -0.5, "low": -1.0, "high": 0.25, "verdict": "undecided", "margin": 1.0}


def accuracy(task: str | None, old: dict[str, Any]) -> Accuracy:
    """What becomes of an accuracy in a file of schema 1."""
    import msgspec

    model = {"name": "m", "source": "s", **({"task": task} if task else {})}
    said = {"model": model, "reference": {"accuracy": {"images": 3, **old}}}
    return msgspec.convert(upgrade(said)["reference"]["accuracy"], Accuracy)


def test_a_classifiers_bits_become_contributions() -> None:
    right = np.array([True, False, True])
    old = {
        "top1": 66.5, "top5": 99.0, "top1_interval": {"low": 60.0, "high": 70.0}, "delta": DELTA, "agreement": 98.0,
        "right": base64.b64encode(np.packbits(right).tobytes()).decode(),
    }  # fmt: skip
    found = accuracy(None, old)
    assert (found.primary, found.score, found.scores["top5"].value, found.agreement) == ("top1", 66.5, 99.0, 98.0)
    interval = found.scores["top1"].interval
    assert interval and (interval.low, interval.high) == (60.0, 70.0)
    assert found.delta and (found.delta.low, found.delta.confidence) == (-1.0, 0.95)
    assert found.contributions and unpack(found.contributions).tolist() == [100.0, 0.0, 100.0]


@pytest.mark.parametrize("right", ["oAAA", "A", "?", 3, ["oA=="]])
def test_bits_that_cannot_be_read_stay_so(right: Any) -> None:
    found = accuracy("classify", {"top1": 66.5, "right": right})
    assert found.contributions is not None
    with pytest.raises(ValueError):
        unpack(found.contributions)


def test_a_detectors_contributions_stay() -> None:
    found = accuracy("detect", {"map": 40.0, "ap50": 60.0, "map_small": 20.0, "delta": DELTA, "contributions": "AAAA"})
    assert {name: one.value for name, one in found.scores.items()} == {"map": 40.0, "ap50": 60.0, "map_small": 20.0}
    assert found.delta and found.delta.value == -0.5 and found.scores["ap50"].delta is None
    assert found.contributions == "AAAA"


def test_without_labels_there_is_no_score() -> None:
    found = accuracy("detect", {"agreement": 97.0})
    assert (found.primary, found.scores, found.score, found.agreement) == ("map", {}, None, 97.0)


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"schema_version": "1"}', b'{"measurements": 3}', b'{"model": 1}'])
def test_what_is_no_report_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="is not valid"):
        parse(content, "report.json")


def test_a_new_report_is_not_upgraded() -> None:
    from bench_sample import report

    found: Report = report()
    assert parse(render(found).encode(), "report.json") == found
