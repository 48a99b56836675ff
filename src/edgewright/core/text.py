"""Make text from outside safe to print (labels, layer names, messages of libraries and devices).

A terminal acts on control characters and reorders text by bidirectional ones. Here they become visible escapes such as
``\\x1b``. The error handler `ENCODING_ERRORS` replaces characters that a stream cannot encode by similar ones.
"""

from __future__ import annotations

import codecs
import re

_CONTROLS = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""DEL and C1, marks and overrides of writing direction, line and paragraph separators."""

_UNPRINTABLE = re.compile(rf"[\x00-\x08\x0b-\x1f{_CONTROLS}\ud800-\udfff]")
_UNPRINTABLE_IN_JSON = re.compile(f"[{_CONTROLS}]")
_BREAK = re.compile(r"[\t\r\n][ \t\r\n]*")

ENCODING_ERRORS = "edgewright.similar"
"""Name of the error handler for streams: ``open(..., errors=ENCODING_ERRORS)``."""

_SIMILAR = {
    "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{MIDDLE DOT}": "-", "\N{BULLET}": "*",
    "\N{HORIZONTAL ELLIPSIS}": "...", "\N{MULTIPLICATION SIGN}": "x", "\N{PLUS-MINUS SIGN}": "+-",
    "\N{GREATER-THAN OR EQUAL TO}": ">=", "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{RIGHTWARDS ARROW}": "->", "\N{LEFTWARDS ARROW}": "<-", "\N{UPWARDS ARROW}": "^", "\N{DOWNWARDS ARROW}": "v",
    "\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"', "\N{RIGHT DOUBLE QUOTATION MARK}": '"', "\N{NO-BREAK SPACE}": " ",
}  # fmt: skip


def plain(text: str) -> str:
    """`text` with visible escapes for everything that a terminal would act on; newlines and tabs stay."""
    return _UNPRINTABLE.sub(lambda found: escape(found[0]), text)


def one_line(text: str) -> str:
    """`plain`, on one line: a label must not start a line that looks like one of ours."""
    return plain(_BREAK.sub(" ", text))


def plain_json(text: str) -> str:
    """JSON with ``\\u`` escapes for characters that a terminal would act on and that JSON itself does not escape."""
    return _UNPRINTABLE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def escape(character: str) -> str:
    """The escape of one character as Python writes it."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _similar(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_SIMILAR.get(c) or escape(c) for c in error.object[error.start : error.end]), error.end


codecs.register_error(ENCODING_ERRORS, _similar)
