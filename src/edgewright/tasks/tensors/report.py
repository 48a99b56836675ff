"""Texts for the reports of a model of any outputs. There are no pictures, because the arrays have no known meaning."""

from __future__ import annotations

HEADING = "SQNR"
TITLE = "SQNR to the float model"
AGREEMENT = "Same answer as reference"
SHOWN = ("cosine", "largest_difference")
GALLERY = ""
