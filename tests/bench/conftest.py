"""Lets the tests here import `bench_sample`, the report that they share, `boards`, the recorded machines, and
`boxes_sample`, what a detector finds."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent / folder) for folder in ("bench", "targets", "tasks/detect")]
