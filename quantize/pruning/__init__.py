"""Structured pruning: dependent channels (`groups`), their importance (`importance`), and the choice of widths
(`choice`)."""

from typing import Literal

Importance = Literal["fisher", "taylor", "l1", "l2"]
"""The measure of a channel's importance (see `importance`)."""

IS_OUTPUT = "the model's outputs come from it"
"""Why the last layers keep all channels: every model has such layers, so `edgewright prune` does not list them."""
