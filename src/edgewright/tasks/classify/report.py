"""Texts and pictures of a classifier for reports."""

from __future__ import annotations

HEADING = "Top-1"
TITLE = "Top-1 accuracy"
AGREEMENT = "Same answer as reference"
SHOWN = ("top5",)
GALLERY = ""
