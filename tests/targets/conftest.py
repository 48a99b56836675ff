"""Lets the tests here and in tests/bench import `boards`, the recorded machines."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
