"""Structured pruning: what hangs together (`groups`), what it is worth (`importance`), what goes (`choice`)."""
