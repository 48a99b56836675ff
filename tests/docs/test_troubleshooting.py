"""Every message on the page ``docs/troubleshooting.md`` is still in the code."""

from __future__ import annotations

import re

import example_finder as finder
import pytest

PAGE = (finder.ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^\| `([^`]+)` \|", PAGE.partition("## Results")[0], re.MULTILINE)
CODE = [text.body for text in finder.texts() if text.is_code]


def is_in_the_code(message: str) -> bool:
    """Whether a text in the code has these words in their order; ``...`` is what it puts in, or anything."""
    pattern = re.compile(".*?".join(re.escape(part) for part in re.split(r"\.\.\.", message)), re.DOTALL)
    return any(pattern.search(body) for body in CODE)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_in_the_code(message: str) -> None:
    assert is_in_the_code(message), f"no text in the code has {message!r}: correct docs/troubleshooting.md"


def test_the_page_has_the_messages_of_each_stage() -> None:
    assert len(MESSAGES) == len(set(MESSAGES)) >= 30
    assert not is_in_the_code("The Python package '...' is not here.")
