"""Text from elsewhere: what a terminal would act on is visible, and every encoding takes it."""

from __future__ import annotations

import json

import pytest

from edgewright.core.text import ENCODING_ERRORS, one_line, plain, plain_json


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("a\x00b\x07c\x7fd", r"a\x00b\x07c\x7fd"),
        ("a\u202eb\u202c", r"a\u202eb\u202c"),
        ("\u061c\u200e\u200f\u2066\u2069", r"\u061c\u200e\u200f\u2066\u2069"),
        ("line\u2028line\u2029line\x85line", r"line\u2028line\u2029line\x85line"),
        ("\ud800 \udcff", r"\ud800 \udcff"),
        ("[/red] :smile: </script>", "[/red] :smile: </script>"),
        ("naïve 漢字 😀 −0.5 \N{ZERO WIDTH JOINER}", "naïve 漢字 😀 −0.5 \N{ZERO WIDTH JOINER}"),
    ],
)
def test_what_a_terminal_acts_on_is_visible_and_the_rest_stays(text: str, seen: str) -> None:
    assert plain(text) == one_line(text) == plain(seen) == seen


def test_layout_stays_in_plain_and_is_a_space_on_one_line() -> None:
    assert plain("a\n\tb") == "a\n\tb"
    assert one_line("a\nb\r\n   c\td\n") == "a b c d "
    assert one_line("  indented") == "  indented"


def test_json_keeps_its_content() -> None:
    names = ["\x1b[31m", "\x9b31m", "a\u202eb\u2028", "\x7f", "é"]
    text = plain_json(json.dumps(names, ensure_ascii=False))
    assert json.loads(text) == names
    assert text == r'["\u001b[31m", "\u009b31m", "a\u202eb\u2028", "\u007f", "é"]'


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r", "shift_jis", "utf-8", "utf-16"])
def test_every_encoding_takes_every_text(encoding: str) -> None:
    text = "−0.25 → … ≥ é 漢 😀 \ud800"
    found = text.encode(encoding, ENCODING_ERRORS).decode(encoding)
    if not encoding.startswith("utf"):
        assert not set(found) & set("😀\ud800")
    if encoding == "ascii":
        assert found == r"-0.25 -> ... >= \xe9 \u6f22 \U0001f600 \ud800"
