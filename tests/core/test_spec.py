"""ModelSpec files: round trip, unknown fields, newer versions."""

from __future__ import annotations

import pytest

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, decode, encode
from edgewright.tasks.classify.spec import Classify

SPEC = ModelSpec(name="m", inputs=(Input(height=8, width=6),), task=Classify(classes=3, labels=("a", "b", "c")))


def test_round_trip() -> None:
    assert decode(encode(SPEC), ModelSpec, "spec.json") == SPEC


def test_shape_follows_the_layout() -> None:
    assert Input(height=8, width=6).shape(2) == (2, 3, 8, 6)
    assert Input(height=8, width=6, layout="NHWC").shape() == (1, 8, 6, 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not valid"),
        (encode(SPEC).replace(b'"classes"', b'"klasses"'), "klasses"),
        (encode(SPEC).replace(b'"schema_version": 2', b'"schema_version": 99'), "schema version 99"),
    ],
)
def test_what_is_wrong_is_named(content: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        decode(content, ModelSpec, "spec.json")
