"""What reports call it."""

from __future__ import annotations

HEADING = "Colour error"
TITLE = "Colour error (levels)"
AGREEMENT = "Same colour as reference"
SHOWN: tuple[str, ...] = ()
GALLERY = ""
