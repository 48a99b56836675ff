"""Structured pruning: what hangs together (`groups`), what it is worth (`importance`), what goes (`choice`)."""

from typing import Literal

Importance = Literal["fisher", "taylor", "l1", "l2"]
"""What a channel is worth by (see `importance`)."""
