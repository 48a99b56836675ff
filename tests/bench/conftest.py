"""Lets the tests here import `bench_sample`, the report that they share, and `boards`, the recorded machines."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "targets")]
